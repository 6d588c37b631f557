"""What is noteworthy or wrong in a dataset, gathered row by row and told once each."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["stop", "warn", "info"]

SHOWN_ROWS = 1_000
"""How many row numbers a finding carries; `count` says how many there are."""


@dataclass(frozen=True)
class Remedy:
    """What one key press does about a finding: `change` maps keys of the spec to values.

    A list (of `data.drop`, `data.mend`) is added to the one that is there, anything else takes its place.
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

    def to_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "rows": list(self.rows),
            "remedies": [asdict(remedy) for remedy in self.remedies],
        }


# code -> severity, message of {n} rows ({s}: plural ending, {detail}: of the first such row), what to do
SAYS: dict[str, tuple[Severity, str, str]] = {
    "other_schema": (
        "stop",
        "{n} row{s} ({where}) do{es} not have the columns of the rest: {detail}",
        "keep one kind of row in a file",
    ),
    "no_answer": (
        "warn",
        "{n} row{s} ({where}) teach{es} nothing and {are} left out: {detail}",
        "fill in the answers or drop the rows",
    ),
    "not_text": (
        "warn",
        "{n} row{s} ({where}) hold{es1} something that is not text and {are} left out: {detail}",
        "write it as text or drop the rows",
    ),
    "number_as_text": ("info", "{n} row{s} ({where}) hold{es1} a number, which is read as text", ""),
    "bad_turns": (
        "warn",
        "{n} row{s} ({where}) {are} left out, their turns cannot be read: {detail}",
        "mend or drop the rows",
    ),
    "duplicate": (
        "warn",
        "{n} row{s} repeat{es1} an earlier row word for word ({where})",
        "drop the repeats, or they count twice",
    ),
    "placeholder": (
        "warn",
        "{n} row{s} ({where}) hold{es1} a placeholder such as {detail}",
        "replace it, or the model learns to say it",
    ),
    "special_token_in_text": (
        "warn",
        "{n} row{s} ({where}) hold{es1} the special token {detail} typed as text",
        "remove it, or it is read as the end or start of a turn",
    ),
    "unknown_characters": (
        "warn",
        "{n} row{s} ({where}) hold{es1} characters that this tokenizer does not know",
        "choose a model whose tokenizer covers the language",
    ),
    "system_folded": (
        "info",
        "this template takes no system message: in {n} row{s} it opens the first question instead",
        "",
    ),
    "template_refused": (
        "warn",
        "{n} row{s} ({where}) {are} left out, the template does not take them: {detail}",
        "mend the rows or choose another template",
    ),
    "no_mask": (
        "warn",
        "{n} row{s} ({where}) {are} left out, what is to be learned cannot be told apart: {detail}",
        "choose another template",
    ),
    "cut": (
        "warn",
        "{n} of {total} rows ({share}) are longer than {detail} tokens and lose their end ({where})",
        "raise the length to keep them whole",
    ),
    "cut_to_nothing": (
        "warn",
        "{n} row{s} ({where}) {are} left out: within {detail} tokens nothing is left to learn",
        "raise the length",
    ),
    "split_text": (
        "info",
        "{n} text{s} longer than {detail} tokens {are} trained in consecutive pieces; nothing is lost",
        "",
    ),
}


@dataclass
class Tally:
    """Counts rows by code while data is read; `findings` then says each code once."""

    rows: dict[str, list[int]] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    said: list[Finding] = field(default_factory=list)

    def note(self, code: str, row: int, detail: str = "") -> None:
        self.rows.setdefault(code, []).append(row)
        self.details.setdefault(code, detail)

    def say(self, severity: Severity, code: str, message: str, todo: str = "") -> None:
        """A finding about the whole dataset rather than about rows of it."""
        self.said.append(Finding(severity, code, message, (), todo))

    def findings(self, total: int) -> list[Finding]:
        """Worst first. `total`: how many rows there are in all."""
        told = [self._tell(code, rows, total) for code, rows in self.rows.items()]
        order = {"stop": 0, "warn": 1, "info": 2}
        return sorted([*self.said, *told], key=lambda finding: order[finding.severity])

    def _tell(self, code: str, rows: list[int], total: int) -> Finding:
        severity, message, todo = SAYS[code]
        distinct = sorted(set(rows))
        n = len(distinct)
        words = {
            "s": "" if n == 1 else "s",
            "es": "es" if n == 1 else "",
            "es1": "s" if n == 1 else "",
            "are": "is" if n == 1 else "are",
        }
        said = message.format(
            n=f"{n:,}",
            total=f"{total:,}",
            share=f"{n / max(total, 1):.1%}",
            where=name_rows(distinct),
            detail=self.details[code],
            **words,
        )
        return Finding(severity, code, said, tuple(distinct[:SHOWN_ROWS]), todo, n)


def name_rows(rows: list[int], shown: int = 5) -> str:
    """Row numbers in few words: `row 3`, `rows 7 to 11`, `rows 1, 4, 9 and 12 more`."""
    if len(rows) == 1:
        return f"row {rows[0]:,}"
    if len(rows) > 2 and rows[-1] - rows[0] == len(rows) - 1:
        return f"rows {rows[0]:,} to {rows[-1]:,}"
    first = ", ".join(f"{row:,}" for row in rows[:shown])
    return f"rows {first}" + (f" and {len(rows) - shown:,} more" if len(rows) > shown else "")
