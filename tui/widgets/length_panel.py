"""What a length does to the rows: the histogram with the length marked, and a sentence with the numbers.

Pure functions of a report's `lengths`; nothing is read again when the length changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textual.content import Content

from core.numbers import count
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


def longer(lengths: Mapping[str, Any] | None, length: int) -> int | None:
    """How many rows have more tokens than `length`; None where only the histogram is known."""
    table = (lengths or {}).get("table")
    return None if table is None else sum(rows for edge, rows in table if edge > length)


def length_picture(lengths: Mapping[str, Any] | None, width: int, height: int, limit: int | None) -> Content:
    """The histogram, its last line the axis."""
    if not lengths:
        return Content.styled("token lengths need a model's tokenizer", "$foreground 60%")
    shape = lengths["histogram"]
    return Content("\n").join(histogram(shape["edges"], shape["counts"], width, max(height, 2), limit))


def length_sentence(
    lengths: Mapping[str, Any] | None, length: int | None, long: str = "cut", keeping: str = ""
) -> Content:
    """One sentence: how many rows are too long, how long the longest are, what keeping them costs.

    `keeping`: "1.8 GiB", the memory that the longest row takes beyond what `length` takes; "" unknown.
    """
    if not lengths:
        return Content("")
    rows, longest, p99 = lengths["count"], lengths["max"], lengths["p99"]
    if length is None:
        half, most = count(lengths["p50"]), count(lengths["p95"])
        told = f"half ≤ {half} · 95 % ≤ {most} · p99 {count(p99)} · longest {count(longest)}"
        return Content.styled(told, "$foreground 60%")
    over = longer(lengths, length)
    if longest <= length:
        return Content.assemble(("✓ ", "$text-success"), f"every row fits: the longest has {count(longest)}")
    many = f"{over:,} of {rows:,} rows ({over / rows:.1%})" if over is not None else "some rows"
    pieces: list[tuple[str, str] | str] = [
        (many.replace("%)", " %)"), "bold $text-warning"),
        f" are longer than {length:,}; p99 is {p99:,}, the longest {longest:,}",
    ]
    if keeping:
        pieces.append(f"; keeping them all costs {keeping}")
    return Content.assemble(*pieces)
