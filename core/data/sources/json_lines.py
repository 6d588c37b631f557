"""JSON with one object a line."""

import json
from collections.abc import Iterator
from typing import Any

from core.data.sources.lines import Marks, Place, lines
from core.data.sources.packed import DataFile
from core.data.sources.source import Row, Source
from core.errors import UserError

LOOK_ON = 16 << 20
"""Characters after a broken line in which further ones are counted."""


def json_lines(file: DataFile) -> Source:
    """The rows of a file that holds an object on each line; blank lines are none."""
    marks = Marks()
    return Source(
        file.name,
        rows=lambda: _rows(file, marks, (1, 0, 1)),
        size=file.size,
        place=file.place,
        jump=lambda number: _from(file, marks, number),
    )


def _from(file: DataFile, marks: Marks, number: int) -> Iterator[Row]:
    begin = marks.before(number)
    for row, value in enumerate(_rows(file, marks, begin), begin[0]):
        if row >= number:
            yield value


def _rows(file: DataFile, marks: Marks, begin: Place) -> Iterator[Row]:
    row, offset, line = begin
    rest = lines(file, offset, line)
    for offset, line, text in rest:
        if text.isspace():
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _broken(file, line, error, rest) from None
        if type(value) is not dict:
            raise no_row(file, row, value)
        marks.note(row, offset, line)
        yield value
        row += 1


def _broken(file: DataFile, line: int, error: Exception, rest: Iterator[tuple[int, int, str]]) -> UserError:
    more, looked = 0, 0
    for _, _, text in rest:
        more += not (text.isspace() or is_json(text))
        looked += len(text)
        if looked > LOOK_ON:
            break
    at_least = "at least " if looked > LOOK_ON else ""
    others = f" (and {at_least}{more:,} more)" if more else ""
    return UserError(f"{file.name} line {line} is not JSON{others}", said(error), "mend or remove the line")


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def said(error: Exception, column: int | None = None) -> str:
    """The library's words for what is wrong, and the column where it is."""
    if not isinstance(error, json.JSONDecodeError):
        return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return f"{error.msg[0].lower()}{error.msg[1:]} at column {column or error.colno}"


def no_row(file: DataFile, row: int, value: Any) -> UserError:
    return UserError(
        f"{file.name} row {row} is no row",
        f"it is {json.dumps(value, ensure_ascii=False)[:40]}",
        "give a list of objects with the same keys, or of strings",
    )
