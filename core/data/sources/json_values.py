"""Any JSON file as rows: a line each, one list, objects one after another, or lists within one object."""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from core.data.sources.json_lines import is_json, json_lines, no_row
from core.data.sources.json_window import Window
from core.data.sources.lines import APART, Marks, lines
from core.data.sources.packed import DataFile
from core.data.sources.source import Row, Source
from core.data.sources.splits import held_out_name, is_split, same_split
from core.errors import UserError

SMALL = 4 << 20
"""Characters up to which one object that holds everything is looked at whole."""

Values = Callable[[Window, bool], Iterator[Any]]
"""Of a window, and whether it stands at the file's beginning rather than before a later row: the rows."""


def open_json(file: DataFile, split: str) -> Source:
    """The file's rows; `split` names the list that is meant where one object holds several.

    UserError: it is not JSON, or holds no rows.
    """
    with file.open() as stream:
        window = Window(file, stream)
        first = window.peek()
        if first == "[":
            return _source(file, _in_list)
        if first == "":
            return Source(file.name, rows=lambda: iter(()), size=file.size, count=0)
        if first != "{":
            begins = window.text[window.at :][:20]
            why = f"it begins with {begins.rstrip()!r}"
            raise UserError(f"{file.name} is not JSON", why, "give a list or one object a line")
        if _has_whole_lines(window):
            several = len(list(islice((1 for *_, text in lines(file) if not text.isspace()), 2))) > 1
            if several:
                return json_lines(file)
        try:
            found = window.take(SMALL)
        except OverflowError:
            inside = _large(file, split)
        else:
            if window.peek():
                return _source(file, _one_after_another)
            inside = _small(found, file, split)
    return _source(file, _one_after_another) if inside is None else _lists(file, *inside)


def _has_whole_lines(window: Window) -> bool:
    """Whether one of the first three lines is an object in itself."""
    while window.text.count("\n", window.at) < 3 and len(window.text) < SMALL and window.more():
        pass
    head = window.text[window.at :].split("\n", 3)[:3]
    return any(is_json(line) for line in head if line.startswith("{"))


def _source(file: DataFile, values: Values, splits: tuple[str, ...] = ()) -> Source:
    marks = Marks()

    def passing(number: int) -> Iterator[Row]:
        row, offset, line = marks.before(number)
        kind: type | None = None
        with file.open() as stream:
            window = Window(file, stream, offset, line)
            try:
                for value in values(window, row == 1):
                    kind = kind or (dict if isinstance(value, dict) else str)
                    if not isinstance(value, kind):
                        raise no_row(file, row, value)
                    if row >= number:
                        yield value if isinstance(value, dict) else {"text": value}
                    row += 1
                    if row % APART == 1:
                        marks.note(row, *window.place())
            except OverflowError:
                raise window.too_long() from None

    return Source(
        file.name,
        rows=lambda: passing(1),
        size=file.size,
        place=file.place,
        jump=passing,
        splits=splits,
        eval=held_out_name(splits),
    )


def _in_list(window: Window, begins: bool) -> Iterator[Any]:
    """The values of a list that is the whole file."""
    if begins:
        window.skip("[")
    yield from _values(window)
    if window.peek():
        raise window.broken(json.JSONDecodeError("Extra data", window.text, window.at))


def _values(window: Window) -> Iterator[Any]:
    """The values up to the list's end, from behind its bracket or behind any of its values."""
    if window.peek() == "]":
        window.skip("]")
        return
    if window.peek() == ",":
        window.skip(",")
    while True:
        window.peek()
        yield window.take()
        if window.peek() == "]":
            window.skip("]")
            return
        if window.peek() != ",":
            raise window.broken(json.JSONDecodeError("Expecting ',' delimiter", window.text, window.at))
        window.skip(",")


def _one_after_another(window: Window, begins: bool) -> Iterator[Any]:
    """Objects that are printed over several lines, with nothing, commas or blanks between them."""
    while character := window.peek():
        if character == ",":
            window.skip(",")
        else:
            yield window.take()


# ---- lists within one object ----


def _lists(file: DataFile, key: str, splits: tuple[str, ...]) -> Source:
    """The rows in the list under a key of the one object that is the file."""

    def inside(window: Window, begins: bool) -> Iterator[Any]:
        if not begins:
            yield from _values(window)
            return
        for name in _keys(window):
            if name == key and window.peek() == "[":
                window.skip("[")
                yield from _values(window)
                return
            _pass_over(window)

    return _source(file, inside, splits)


def _keys(window: Window) -> Iterator[str]:
    """The keys of the object at which the window stands; each one's value must be read before the next."""
    window.peek()
    window.skip("{")
    while window.peek() == '"':
        key = window.take()
        window.peek()
        window.skip(":")
        window.peek()
        yield key
        if window.peek() == ",":
            window.skip(",")
            window.peek()
    window.skip("}")


def _pass_over(window: Window) -> bool:
    """Read a value and forget it; whether it was a list of rows."""
    if window.peek() != "[":
        window.take()
        return False
    window.skip("[")
    return {_is_row(value) for value in _values(window)} == {True}


def _small(found: Any, file: DataFile, split: str) -> tuple[str, tuple[str, ...]] | None:
    """The key under which the rows lie and the splits beside them; None: the object is itself a row."""
    lists = [key for key, value in found.items() if _are_rows(value)]
    if any(isinstance(value, list) and value and _is_turn(value[0]) for value in found.values()):
        return None  # a conversation, with its tools perhaps
    asked = [key for key in lists if same_split(key, split)]
    for key in (*asked, "data", "rows", *(lists if len(lists) == 1 else ())):
        if key in lists:
            return key, tuple(lists) if key in asked else ()
    if any(map(is_split, lists)):
        has = f"it has {', '.join(lists)}"
        raise UserError(f"{file.name} has no split {split}", has, "name one of them as split")
    if any(isinstance(value, str | list) for value in found.values()):
        return None
    keys = ", ".join(list(found)[:5]) + (", …" if len(found) > 5 else "")
    raise UserError(
        f"{file.name} holds no rows", f"it is one object with the keys {keys}", "give a list of rows"
    )


def _are_rows(value: Any) -> bool:
    """A list of objects, but not one of turns: a conversation is itself a row."""
    if not isinstance(value, list) or not value:
        return False
    return all(map(_is_row, value))


def _is_row(value: Any) -> bool:
    return isinstance(value, dict) and not _is_turn(value)


def _is_turn(value: Any) -> bool:
    return isinstance(value, dict) and bool({"role", "from"} & value.keys())


def _large(file: DataFile, split: str) -> tuple[str, tuple[str, ...]] | None:
    """As `_small` for a file too large to hold: of several lists the first under a name that says so."""
    lists: list[str] = []
    with file.open() as stream:
        window = Window(file, stream)
        try:
            for key in _keys(window):
                asked, begins = same_split(key, split), window.peek()
                if (asked or key in ("data", "rows")) and begins == "[":
                    return key, (key,) if asked else ()
                if _pass_over(window):
                    lists.append(key)
        except OverflowError:
            raise window.too_long() from None
    if len(lists) == 1:
        return lists[0], ()
    if not lists:
        return None
    raise UserError(
        f"{file.name} is one large object",
        f"which of its lists is meant is not clear: {', '.join(lists[:5])}",
        "write its rows as a list or one a line",
    )
