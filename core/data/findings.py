"""What is noteworthy or wrong in a dataset, gathered row by row and told once each."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from core.data.wordings import SAYS, Severity

SHOWN_ROWS = 1_000
"""How many row numbers a finding carries; `count` says how many there are."""


@dataclass(frozen=True)
class Remedy:
    """What one key press does about a finding: `change` maps keys of the spec to values.

    A key of a part is written with a dot (`data.drop`). A list (of `data.drop`, `data.mend`) is added to
    the one that is there, anything else takes its place.
    """

    label: str
    """What it does, in few words: "leave them out"."""
    change: dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """`rows` are numbers from 1 in the order of the source; `stop` means that a run must not start."""

    severity: Severity
    code: str
    message: str
    rows: tuple[int, ...] = ()
    todo: str = ""
    count: int = 0
    """Rows that it is about; 0 where it is about the whole."""
    remedies: tuple[Remedy, ...] = ()
    source: str = ""
    """Name of the source that the rows are of, where there are several."""

    def to_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "rows": list(self.rows),
            "remedies": [asdict(remedy) for remedy in self.remedies],
        }


@dataclass
class Noted:
    """Rows of one code: how many, and the numbers of the first SHOWN_ROWS, so that memory stays bounded."""

    detail: str = ""
    """Of the first of them."""
    count: int = 0
    rows: dict[int, None] = field(default_factory=dict)
    last: int = 0

    def add(self, row: int) -> bool:
        """False where the row is known: it may be noted several times, mostly in a row."""
        if row == self.last or row in self.rows:
            return False
        self.count, self.last = self.count + 1, row
        if len(self.rows) < SHOWN_ROWS:
            self.rows[row] = None
        return True


@dataclass
class Tally:
    """Counts rows of one source by code while data is read; `findings` then says each code once.

    `source`: its name, where there are several: it then stands before the numbers of rows.
    """

    source: str = ""
    noted: dict[str, Noted] = field(default_factory=dict)
    said: list[Finding] = field(default_factory=list)
    left_out: Noted = field(default_factory=Noted)
    left_out_codes: Counter[str] = field(default_factory=Counter)
    mended: Noted = field(default_factory=Noted)
    mended_codes: Counter[str] = field(default_factory=Counter)
    offered: dict[str, tuple[Remedy, ...]] = field(default_factory=dict)

    def note(self, code: str, row: int, detail: str = "") -> None:
        """A finding about a row; `code` is one of SAYS. The detail of the first row is told."""
        if code not in self.noted:
            self.noted[code] = Noted(detail)
        self.noted[code].add(row)

    def note_all(self, code: str, rows: Iterable[int], count: int, detail: str = "") -> None:
        """`count` rows at once, of which `rows` are some; together with those noted before."""
        noted = self.noted.setdefault(code, Noted(detail))
        before = noted.count
        for row in rows:
            noted.add(row)
        noted.count = before + count

    def leave_out(self, code: str, row: int) -> None:
        """A row that is left out because the spec's `data.drop` names the code."""
        if self.left_out.add(row):
            self.left_out_codes[code] += 1

    def mend(self, code: str, row: int) -> None:
        """A row whose text was mended because the spec's `data.mend` names the code."""
        self.mended.add(row)
        self.mended_codes[code] += 1

    def offer(self, code: str, *remedies: Remedy) -> None:
        """Remedies of a code that only the caller can know, such as a length that keeps all rows whole."""
        self.offered[code] = remedies

    def say(
        self,
        severity: Severity,
        code: str,
        message: str,
        todo: str = "",
        *,
        rows: Iterable[int] = (),
        count: int = 0,
        remedies: tuple[Remedy, ...] = (),
    ) -> None:
        """A finding about the whole dataset, or one with words of its own."""
        shown = tuple(rows)[:SHOWN_ROWS]
        self.said.append(Finding(severity, code, message, shown, todo, count, remedies, self.source))

    def findings(self, total: int) -> list[Finding]:
        """Worst first. `total`: how many rows there are in all."""
        told = [self._tell(code, noted, total) for code, noted in self.noted.items()]
        told += self._as_asked(self.left_out, "left_out", "left out as asked", self.left_out_codes)
        told += self._as_asked(self.mended, "mended", "mended as asked", self.mended_codes)
        order = {"stop": 0, "warn": 1, "info": 2}
        return sorted([*self.said, *told], key=lambda finding: order[finding.severity])

    def _tell(self, code: str, noted: Noted, total: int) -> Finding:
        words, n = SAYS[code], noted.count
        rows = sorted(noted.rows)
        message = words.message.format(
            n=f"{n:,}",
            total=f"{total:,}",
            share=share(n, total),
            where=name_rows(rows, count=n, source=self.source),
            detail=noted.detail,
            s="" if n == 1 else "s",
            es="es" if n == 1 else "",
            es1="s" if n == 1 else "",
            ve="s" if n == 1 else "ve",
            are="is" if n == 1 else "are",
            they="it" if n == 1 else "they",
        )
        remedies = (*self.offered.get(code, ()), *remedies_of(code))
        return Finding(words.severity, code, message, tuple(rows), words.todo, n, remedies, self.source)

    def _as_asked(self, noted: Noted, code: str, done: str, codes: Counter[str]) -> list[Finding]:
        if not noted.count:
            return []
        each = ", ".join(f"{name} {n:,}" for name, n in codes.most_common())
        message = f"{noted.count:,} row{'' if noted.count == 1 else 's'} {done}: {each}"
        rows = tuple(sorted(noted.rows))
        return [Finding("info", code, message, rows, "", noted.count, (), self.source)]


def remedies_of(code: str) -> tuple[Remedy, ...]:
    """What a key press can do about rows of this code; mending stands before leaving out."""
    words = SAYS[code]
    mend = (Remedy(words.mend, {"data.mend": [code]}),) if words.mend else ()
    return (*mend, Remedy(words.drop, {"data.drop": [code]})) if words.drop else mend


def share(count: int, total: int) -> str:
    """`4.3%`; never 0.0% of something, never 100.0% of less than all."""
    part = min(count / max(total, 1), 1.0)
    if 0 < part < 0.001:
        return "under 0.1%"
    return "over 99.9%" if 0.9995 <= part < 1 else f"{part:.1%}"


def name_rows(rows: list[int], shown: int = 5, *, count: int | None = None, source: str = "") -> str:
    """Row numbers in few words: `row 3`, `rows 7 to 11`, `rows 1, 4, 9 and 12 more`, `b.jsonl row 3`.

    `count`: how many there are where `rows` holds only some.
    """
    count = len(rows) if count is None else count
    name = f"{source} " if source else ""
    if not rows:
        return f"{name}{count:,} rows"
    if count == 1:
        return f"{name}row {rows[0]:,}"
    if count == len(rows) > 2 and rows[-1] - rows[0] == count - 1:
        return f"{name}rows {rows[0]:,} to {rows[-1]:,}"
    first = ", ".join(f"{row:,}" for row in rows[:shown])
    more = count - min(len(rows), shown)
    return f"{name}rows {first}" + (f" and {more:,} more" if more > 0 else "")
