"""What a length does to the rows: the histogram with the length marked, and a sentence with the numbers.

From a report's `lengths` alone; nothing is read again when the length changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from core.data.lengths import longer_than
from core.numbers import count, percent
from tui.widgets.histogram import histogram

LONG = {
    "cut": "cut: they lose their end",
    "drop": "drop: they are left out",
    "split": "split: trained in pieces",
}
"""What can be done with rows that are too long, and what it means."""


OF_LENGTH = (
    "cut",
    "cut_to_nothing",
    "dropped_long",
    "split_long",
    "split_text",
    "pieces_left_out",
    "end_absent",
)
"""Codes of findings that hold for one length alone."""


class LengthPicture(Static):
    """The histogram, drawn for whatever room there is."""

    term = "length"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: tuple[Mapping[str, Any] | None, int | None] | None = None

    def show(self, lengths: Mapping[str, Any] | None, limit: int | None) -> None:
        self._shown = (lengths, limit)
        self._draw()

    def on_resize(self, event: Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        if self._shown is not None and self.size.height:
            lengths, limit = self._shown
            self.update(length_picture(lengths, max(self.size.width - 1, 8), self.size.height, limit))


def length_picture(lengths: Mapping[str, Any] | None, width: int, height: int, limit: int | None) -> Content:
    """The histogram, its last line the axis."""
    if not lengths:
        return Content.styled(
            "no lengths yet: they need a tokenizer, and rows that can be read", "$foreground 60%"
        )
    shape = lengths["histogram"]
    return Content("\n").join(histogram(shape["edges"], shape["counts"], width, max(height, 2), limit))


def length_sentence(
    told: Mapping[str, Any] | None, lengths: Mapping[str, Any] | None, length: int | None, long: str
) -> Content:
    """How many rows are too long, what keeping them would cost, and what is done with them instead.

    `told`: of `core.plan.length.at_length`; without it what the lengths alone say of the chosen one.
    """
    if not lengths:
        return Content("")
    if told is None and length is None:
        spread = " · ".join(f"{name} ≤ {count(lengths[key])}" for name, key in SPREAD)
        return Content.styled(f"{spread} · longest {count(lengths['max'])}", "$foreground 60%")
    if told is None:
        over, share = longer_than({"lengths": lengths}, int(length or 0))
        many = f"{over:,} of {lengths['count']:,} rows ({100 * share:.1f} %)"
        return Content.assemble((many, "bold"), f" are longer than {length:,}; p99 is {lengths['p99']:,}")
    if not told["rows_longer"]:
        return Content.assemble(("✓ ", "bold $text-success"), told["sentence"])
    many, are, rest = told["sentence"].partition(" are " if told["rows_longer"] > 1 else " is ")
    done = next((one for one in told["choices"] if one["long"] == long), None)
    return Content.assemble(
        (many, "bold $text-warning"), are, rest, (_done(done, told) if done else "", "$foreground 60%")
    )


SPREAD = (("half", "p50"), ("95 %", "p95"), ("99 %", "p99"))


def _done(choice: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    """What one way with long rows does, in numbers."""
    lost = choice["tokens_lost"]
    total = choice["tokens"] + lost
    share = f" ({percent(lost / total)})" if total else ""
    if choice["long"] == "cut":
        return f" · cutting loses {count(lost)} tokens{share}"
    if choice["long"] == "drop":
        return f" · dropping leaves {count(choice['rows'])} rows, loses {count(lost)} tokens{share}"
    return f" · splitting makes {count(choice['rows'])} pieces of {count(told['rows'])} rows"
