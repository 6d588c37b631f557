"""Tables as text: CSV, TSV and their like, one record at a time."""

import csv
from collections.abc import Iterator
from typing import Any

from core.data.sources.lines import LONGEST, Marks, Place, lines
from core.data.sources.packed import DataFile
from core.data.sources.source import Row, Source
from core.errors import UserError


class _Feed:
    """Lines for the csv module; `kept` holds those of the record that is being read."""

    def __init__(self, file: DataFile, begin: Place):
        _, offset, line = begin
        self._lines = lines(file, offset, line)
        self._again: list[tuple[int, int, str]] = []
        self.kept: list[tuple[int, int, str]] = []
        self.line, self.ended, self._size = line, False, 0

    def begin(self) -> None:
        """A new record begins with the next line."""
        self.kept, self._size = [], 0

    def again(self) -> None:
        """Give the lines of this record once more."""
        self._again = [*self.kept, *self._again]
        self.begin()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        found = self._again.pop(0) if self._again else next(self._lines, None)
        if found is None:
            self.ended = True
            raise StopIteration
        self.kept.append(found)
        _, self.line, text = found
        self._size += len(text)
        if self._size > LONGEST:
            raise csv.Error(f"a quote that is opened there is not closed within {LONGEST >> 20} MiB")
        return text


class _Records:
    """The records of a table from a row on; `feed` holds the lines of the newest."""

    def __init__(self, file: DataFile, begin: Place, separator: str):
        self.feed, self._file, self._separator = _Feed(file, begin), file, separator
        self._reader = self._read(strict=True)

    def _read(self, *, strict: bool) -> Any:
        return csv.reader(self.feed, delimiter=self._separator, strict=strict)

    def next(self, width: int | None = None) -> list[str] | None:
        """The fields of the next record, [] for an empty line, None at the end.

        Stray quotes within a field are harmless where the record still has all of its columns.
        """
        self.feed.begin()
        try:
            values: list[str] | None = next(self._reader, None)
        except csv.Error as error:
            what = f"{self._file.name} line {self.feed.line} is not a table's row"
            broken = UserError(what, str(error), "mend the quotes there")
            values = self._leniently(broken)
            if width is not None and len(values) != width:
                raise broken from None
        if values and width is not None and len(values) != width:
            raise UserError(
                f"{self._file.name} line {self.feed.line} has {len(values)} fields",
                f"the first line names {width} columns, separated by {self._separator!r}",
                "quote fields that hold the separator or a line end",
            )
        return values

    def _leniently(self, broken: UserError) -> list[str]:
        """The same record once more, with quotes that stand anywhere."""
        if self.feed.ended:
            raise broken from None
        self.feed.again()
        try:
            values: list[str] | None = next(self._read(strict=False), None)
        except csv.Error:
            values = None
        if values is None or self.feed.ended:
            raise broken from None
        self._reader = self._read(strict=True)
        return values


def open_table(file: DataFile) -> Source:
    """The rows of a table whose first line names the columns. UserError: it names one twice."""
    csv.field_size_limit(LONGEST)
    head = next((text for _, _, text in lines(file)), "")
    separator = max(",;\t|", key=head.count)
    names = [name.strip() for name in _Records(file, (1, 0, 1), separator).next() or []]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"{file.name} names a column twice", twice[0] or "(no name)", "rename one of them")
    marks = Marks()

    def passing(number: int) -> Iterator[Row]:
        begin = marks.before(number)
        row, records = begin[0], _Records(file, begin, separator)
        if row == 1:
            records.next()
        while (values := records.next(len(names))) is not None:
            if not values:
                continue  # an empty line
            offset, line, _ = records.feed.kept[0]
            marks.note(row, offset, line)
            if row >= number:
                yield dict(zip(names, values, strict=True))
            row += 1

    return Source(file.name, lambda: passing(1), file.size, place=file.place, jump=passing)
