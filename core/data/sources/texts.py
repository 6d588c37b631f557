"""Plain text and Markdown as rows: a small file is one row, a large one is read in pieces."""

from collections.abc import Iterator

from core.data.findings import Finding
from core.data.sources.lines import Marks, lines
from core.data.sources.packed import DataFile
from core.data.sources.source import Row, Source

WHOLE = 1 << 20
"""Bytes up to which a text is one row."""
PIECE = 1 << 16
"""Characters of a large text's row, from which on it ends at the next blank line."""
MOST = 2 * PIECE


def open_text(file: DataFile) -> Source:
    """A text as one row, or, where it is longer than `WHOLE`, as rows that joined give the same text.

    Such a row ends at the first blank line after `PIECE` characters, or else at the last line that keeps it
    under `MOST`, or, in a line that long, anywhere. Line ends become \\n.
    """
    marks = Marks()
    large = file.size > WHOLE
    if not large:
        size = 0
        for _, _, text in lines(file):
            size += len(text.encode())
            if size > WHOLE:
                large = True
                break

    def passing(number: int) -> Iterator[Row]:
        row, offset, line = marks.before(number)
        for at, number_of_line, piece in _pieces(file, offset, line) if large else _whole(file):
            marks.note(row, at, number_of_line)
            if row >= number and not piece.isspace():
                yield {"text": piece}
            row += not piece.isspace()

    def findings() -> tuple[Finding, ...]:
        about = (
            f"{file.name} is read in pieces of about {PIECE >> 10} thousand characters, cut at blank lines"
        )
        return (Finding("info", "text_pieces", f"{about}; each is a text of its own"),) if large else ()

    return Source(file.name, lambda: passing(1), file.size, place=file.place, jump=passing, findings=findings)


def _whole(file: DataFile) -> Iterator[tuple[int, int, str]]:
    if text := "".join(text for _, _, text in lines(file)):
        yield 0, 1, text


def _pieces(file: DataFile, offset: int, line: int) -> Iterator[tuple[int, int, str]]:
    kept: list[str] = []
    size, begin = 0, (offset, line)
    for at, number, text in lines(file, offset, line):
        if kept and (
            size + len(text) > MOST or (size >= PIECE and kept[-1].isspace() and not text.isspace())
        ):
            yield *begin, "".join(kept)
            kept, size = [], 0
        if not kept:
            begin = at, number
        while len(text) > MOST:
            yield *begin, text[:MOST]
            text, begin = text[MOST:], (-1, number)
        kept.append(text)
        size += len(text)
    if kept:
        yield *begin, "".join(kept)
