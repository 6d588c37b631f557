"""The lines of a text file, one at a time, with where each begins, so that one can come back to it."""

import codecs
import io
from bisect import bisect_right
from collections.abc import Iterator
from functools import partial

from core.data.sources.packed import DataFile
from core.errors import UserError

LONGEST = 256 << 20
"""Bytes of the longest row that is read."""
HEAD = 1 << 16
APART = 1_000

Place = tuple[int, int, int]
"""A row's number from 1, the byte at which it begins and the line on which it stands, from 1."""


class Marks:
    """Where every thousandth row begins, noted by whichever pass comes by."""

    def __init__(self) -> None:
        self._places: list[Place] = [(1, 0, 1)]

    def note(self, row: int, offset: int, line: int) -> None:
        if row - self._places[-1][0] >= APART and offset >= 0:
            self._places.append((row, offset, line))

    def before(self, row: int) -> Place:
        """The nearest known place at or before a row."""
        return self._places[bisect_right(self._places, row, key=lambda place: place[0]) - 1]


def encoding(head: bytes) -> str:
    """The encoding of a text by its byte-order mark; UTF-8 where it has none."""
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"


def lines(file: DataFile, offset: int = 0, line: int = 1) -> Iterator[tuple[int, int, str]]:
    """(byte at which it begins, number from 1, text with a \\n) of each line from a known place on.

    The byte is -1 where lines cannot be found again by it: in UTF-16, and where \\r alone ends a line.
    UserError: bytes that are no text, by line, or a line that is too long.
    """
    with file.open() as stream:
        head = stream.read(HEAD)
        wide = encoding(head) != "utf-8"
        if wide or (b"\r" in head and b"\n" not in head):
            stream.seek(0)
            text = io.TextIOWrapper(stream, "utf-16" if wide else "utf-8-sig")
            try:
                yield from ((-1, number, one) for number, one in enumerate(text, 1))
            except UnicodeDecodeError as error:
                what = f"{file.name} is not text in the encoding that its first bytes name"
                raise UserError(what, str(error), "write it as UTF-8") from None
            return
        stream.seek(offset)
        if offset == 0 and head.startswith(codecs.BOM_UTF8):
            offset = len(stream.read(len(codecs.BOM_UTF8)))
        for raw in iter(partial(stream.readline, LONGEST), b""):
            if len(raw) == LONGEST:
                raise too_long(file, line)
            try:
                one = raw.decode()
            except UnicodeDecodeError as error:
                raise not_text(file, line, error) from None
            if one.endswith("\r\n"):
                one = one[:-2] + "\n"
            if "\r" not in one:
                yield offset, line, one
            else:
                for number, part in enumerate(io.StringIO(one, newline=None)):
                    line += number > 0
                    yield (-1 if number else offset), line, part
            offset += len(raw)
            line += 1


def not_text(file: DataFile, line: int, error: UnicodeDecodeError) -> UserError:
    """The error for bytes that are no UTF-8; `line` is the one on which the decoded bytes begin."""
    line += error.object.count(b"\n", 0, error.start)
    return UserError(
        f"{file.name} is not UTF-8 text",
        f"line {line} holds the byte 0x{error.object[error.start]:02x}",
        f"convert it, for instance iconv -f latin1 -t utf8 {file.inner.name}",
    )


def too_long(file: DataFile, line: int) -> UserError:
    return UserError(
        f"{file.name} line {line:,} is longer than {LONGEST >> 20} MiB",
        "a row of that size cannot be learned from",
        "write one row a line",
    )
