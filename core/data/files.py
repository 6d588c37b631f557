"""Reads one data file into rows: JSON, JSONL, CSV, TSV, Parquet and text, each also gzipped.

Standard library alone, but for Parquet: importing pandas or pyarrow costs seconds.
"""

import codecs
import contextlib
import csv
import gzip
import io
import json
import zlib
from pathlib import Path
from typing import Any

from core.errors import UserError

Row = dict[str, Any]

KINDS = {
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "table",
    ".tsv": "table",
    ".parquet": "parquet",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
}
READABLE = "JSON, JSONL, CSV, TSV, Parquet or text"


def kind_of(path: Path) -> str | None:
    """json, table, parquet or text by the name, looking through .gz; None: not a data file's name."""
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return KINDS.get(name.suffix.lower())


def read_file(path: Path, split: str = "train") -> list[Row]:
    """The file's rows as dicts. UserError names the file and the line of what cannot be read."""
    kind = kind_of(path)
    if kind is None:
        raise UserError(
            f"{path.name} is of a kind that cannot be read",
            f"its name ends in {path.suffix or 'nothing'}",
            f"give {READABLE}",
        )
    if path.stat().st_size == 0:
        raise _empty(path)
    if kind == "parquet":
        rows = _parquet(path)
    else:
        text = _decode(_bytes(path), path)
        if not text.strip():
            raise _empty(path)
        if kind == "json":
            rows = _json(text, path, split)
        else:
            rows = _table(text, path) if kind == "table" else [{"text": text}]
    if not rows:
        raise _empty(path)
    return rows


def _empty(path: Path) -> UserError:
    return UserError(f"{path.name} is empty", "it has 0 rows", "give a file with at least one row")


def _bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path.name} cannot be read", str(error), "check the file") from None


def _decode(raw: bytes, path: Path) -> str:
    """Text with \\n line ends and no byte-order mark."""
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path.name} is not UTF-8 text",
            f"line {line} holds the byte 0x{raw[error.start]:02x}",
            f"convert it, for instance iconv -f latin1 -t utf8 {path.name}",
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


# ---- JSON: one list, one object a line, or objects one after another ----


def _json(text: str, path: Path, split: str) -> list[Row]:
    start = text.lstrip()[:1]
    if start == "[":
        return _rows(_whole(text, path), path)
    if start != "{":
        raise UserError(
            f"{path.name} is not JSON",
            f"it begins with {text.lstrip()[:20]!r}",
            "give a list or one object a line",
        )
    # an object a line, unless none of the first lines is whole: then objects are spread over several lines
    if not any(_is_json(line) for line in text.strip().split("\n", 3)[:3] if line.startswith("{")):
        objects = _one_after_another(text, path)
        return _rows(objects if len(objects) > 1 else _inside(objects[0], path, split), path)
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if len(lines) == 1:
        return _rows(_inside(json.loads(lines[0][1]), path, split), path)
    rows: list[Any] = []
    broken: list[tuple[int, str]] = []
    for number, line in lines:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            broken.append((number, f"{_said(error)} at column {error.colno}"))
    if broken:
        number, why = broken[0]
        more = f" (and {len(broken) - 1:,} more)" if len(broken) > 1 else ""
        raise UserError(f"{path.name} line {number} is not JSON{more}", why, "mend or remove the line")
    return _rows(rows, path)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


def _said(error: json.JSONDecodeError) -> str:
    return error.msg[0].lower() + error.msg[1:]


def _whole(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path.name} line {error.lineno} is not JSON",
            f"{_said(error)} at column {error.colno}",
            "mend the file there",
        ) from None


def _one_after_another(text: str, path: Path) -> list[Any]:
    """Objects that are pretty-printed over several lines, with nothing, commas or blanks between them."""
    decoder, at = json.JSONDecoder(), 0
    objects: list[Any] = []
    while True:
        while at < len(text) and text[at] in " \t\n,":
            at += 1
        if at == len(text):
            return objects
        try:
            found, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{path.name} line {error.lineno} is not JSON",
                f"{_said(error)} at column {error.colno}",
                "mend the file there",
            ) from None
        objects.append(found)


def _inside(found: dict[str, Any], path: Path, split: str) -> list[Any]:
    """The rows within one object: the list under the split's name, under `data`, or the only list of rows."""
    lists = {key: value for key, value in found.items() if _are_rows(value)}
    for key in (split, "data", "rows", "train"):
        if key in lists:
            return lists[key]
    if len(lists) == 1:
        return next(iter(lists.values()))
    if any(isinstance(value, str | list) for value in found.values()):
        return [found]  # a file with a single row
    keys = ", ".join(list(found)[:5]) + (", …" if len(found) > 5 else "")
    raise UserError(
        f"{path.name} holds no rows", f"it is one object with the keys {keys}", "give a list of rows"
    )


def _are_rows(value: Any) -> bool:
    """A list of objects, but not one of turns: a conversation is itself a row."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(item, dict) and not {"role", "from"} & item.keys() for item in value)


def _rows(values: list[Any], path: Path) -> list[Row]:
    if all(isinstance(value, dict) for value in values):
        return values
    if all(isinstance(value, str) for value in values):
        return [{"text": value} for value in values]
    # a list may mix; the first row sets what is expected
    expected = dict if isinstance(values[0], dict) else str
    row = next(number for number, value in enumerate(values, 1) if not isinstance(value, expected))
    raise UserError(
        f"{path.name} row {row} is no row",
        f"it is {json.dumps(values[row - 1], ensure_ascii=False)[:40]}",
        "give a list of objects with the same keys, or of strings",
    )


# ---- tables ----


def _table(text: str, path: Path) -> list[Row]:
    csv.field_size_limit(2**31 - 1)
    rows, broken = _fields(text, path, strict=True)
    # stray quotes within a field are harmless where every row still has all of its columns
    if broken and broken.why != "unexpected end of data":
        with contextlib.suppress(UserError):
            rows, broken = _fields(text, path, strict=False)
    if broken:
        raise broken
    return rows


def _fields(text: str, path: Path, *, strict: bool) -> tuple[list[Row], UserError | None]:
    """The rows, and what the csv module could not read. UserError: rows of another width than the first."""
    head = text.split("\n", 1)[0]
    separator = max(",;\t|", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=strict)
    rows: list[Row] = []
    try:
        names = [name.strip() for name in next(reader)]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise UserError(
                f"{path.name} names a column twice", twice[0] or "(no name)", "rename one of them"
            )
        for values in filter(None, reader):
            if len(values) != len(names):
                raise UserError(
                    f"{path.name} line {reader.line_num} has {len(values)} fields",
                    f"the first line names {len(names)} columns, separated by {separator!r}",
                    "quote fields that hold the separator or a line end",
                )
            rows.append(dict(zip(names, values, strict=True)))
    except csv.Error as error:
        what = f"{path.name} line {reader.line_num} is not a table's row"
        return rows, UserError(what, str(error), "mend the quotes there")
    return rows, None


def _parquet(path: Path) -> list[Row]:
    import pyarrow.parquet

    try:
        rows: list[Row] = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path.name} is not a Parquet file", str(error), "check the file") from None
    return rows
