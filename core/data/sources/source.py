"""What every source of rows looks like to the rest: passes over rows that are never all in memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from core.data.findings import Finding

Row = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """An opened source. Nothing of it is held in memory but where some of its rows begin."""

    name: str
    """What to call it in a message: a file's name, a Hub id, an address."""
    rows: Callable[[], Iterator[Row]]
    """A fresh pass over all rows. UserError, in the middle of the pass, names the place of what is broken."""
    size: int | None = None
    """Bytes on disk, for progress; None: unknown."""
    count: int | None = None
    """Rows, where that is known without a pass."""
    place: Callable[[], int] | None = None
    """Bytes of `size` that the newest pass has come to; where it was left, if it was."""
    jump: Callable[[int], Iterator[Row]] | None = None
    """A pass that begins at a row (from 1) without reading all before it; None: this kind has none."""
    dropped_column: str | None = None
    """An index column that a spreadsheet or pandas left behind; it is not in the rows."""
    splits: tuple[str, ...] = ()
    """The splits that lie in the source or beside it, with the one that is read; empty: it has none."""
    eval: str | None = None
    """What `data.eval` should be to hold out the source's own split: a split's name, or a file's path."""

    findings: Callable[[], tuple[Finding, ...]] = tuple
    """What the newest pass found out about the source itself, such as pages that could not be fetched."""

    def start(self, number: int) -> Iterator[Row]:
        """The rows from `number` on, counted from 1, by the shortest way there is."""
        if number <= 1 or self.jump is None:
            return islice(self.rows(), max(0, number - 1), None)
        return self.jump(number)

    def row(self, number: int) -> Row | None:
        """One row by its number from 1, or None where the source ends before it."""
        return next(self.start(number), None)
