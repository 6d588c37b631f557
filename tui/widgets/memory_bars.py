"""What each method needs of the card's memory: stacked bars, one a method, drawn against the card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content

from core.numbers import gib

PARTS: dict[str, str] = {
    "weights": "$primary",
    "quantization": "$primary-darken-2",
    "adapters": "$success",
    "gradients": "$warning",
    "optimizer": "$error",
    "kept": "$primary-lighten-3",
    "live": "$primary-lighten-2",
    "loss": "$accent-darken-3",
    "temporary": "$accent",
    "context": "$foreground-darken-3",
    "fragments": "$foreground-darken-2",
}
"""The parts in the order they are stacked, each with its theme colour."""
TOGETHER = {
    "weights": "weights quantization",
    "activations": "kept live",
    "other": "temporary context fragments",
}
"""What the legend says of several parts in one word."""

EIGHTHS = " ▏▎▍▌▋▊▉"
NAME, FIGURE, VERDICT = 8, 10, 14
"""Widths of the columns around a bar, in cells."""

FURTHEST = 2.0
"""A bar longer than this many cards is cut, so that one method far too large does not flatten the rest."""


@dataclass(frozen=True)
class Bar:
    """One method: its name as shown, bytes by part, and whether the plan says that it fits."""

    name: str
    parts: dict[str, int]
    fits: bool
    note: str = ""

    @property
    def total(self) -> int:
        return sum(self.parts.get(part, 0) for part in PARTS)


def memory_bars(bars: Sequence[Bar], room: int | None, width: int) -> list[Content]:
    """One line a bar, each `width` cells: name, bar, total, verdict. `room`: bytes free on the card."""
    length = max(width - NAME - FIGURE - VERDICT - 2, 8)
    largest = max([bar.total for bar in bars] + [room or 1])
    scale = min(largest * 1.02, (room or largest) * FURTHEST)
    return [_line(bar, room, scale, length, width) for bar in bars]


def _line(bar: Bar, room: int | None, scale: float, length: int, width: int) -> Content:
    verdict = ("fits", "$text-success") if bar.fits else ("does not fit", "$text-error")
    return Content.assemble(
        (f"{bar.name:<{NAME}}", "bold"),
        stacked(bar.parts, room, scale, length),
        (f"{gib(bar.total):>{FIGURE}}", "bold"),
        "  ",
        verdict,
        (f" {bar.note}" if bar.note else "", "$foreground 60%"),
    ).truncate(width, ellipsis=True)


def stacked(parts: dict[str, int], room: int | None, scale: float, length: int) -> Content:
    """The bar alone, `length` cells for `scale` bytes; `│` stands where the card is full."""
    ends: list[tuple[float, str]] = []
    reach = 0.0
    for part, colour in PARTS.items():
        reach += parts.get(part, 0) / scale * length
        ends.append((reach, colour))
    wall = min(int(room / scale * length), length - 1) if room else None
    cells = [_cell(ends, x, wall == x, cut=reach > length and x == length - 1) for x in range(length)]
    return Content.assemble(*cells)


def _cell(ends: Sequence[tuple[float, str]], x: int, wall: bool, cut: bool) -> tuple[str, str]:
    inside = [(end, colour) for end, colour in ends if end > x]
    under = inside[0][1] if inside else ""
    if wall:
        return "│", f"bold $text on {under}" if under else "bold $foreground"
    if not inside:
        return "·" if not x % 4 else " ", "$foreground 20%"
    end = inside[0][0]
    if cut:
        return "▶", f"$text on {under}"
    if end >= x + 1:
        return "█", under
    eighth = EIGHTHS[int((end - x) * 8)]
    after = next((colour for later, colour in inside if later - end > 1 / 8), "")
    if eighth == " ":
        return ("█", after) if after else (" ", "")
    return eighth, f"{under} on {after}" if after else under


def legend() -> Content:
    """What the colours mean, on one line."""
    word = {part: name for name, parts in TOGETHER.items() for part in parts.split()}
    pieces: list[tuple[str, str] | str] = []
    names = [word.get(part, part) for part in PARTS]
    for place, colour in enumerate(PARTS.values()):
        pieces.append(("█", colour))
        if names[place : place + 2] != [names[place]] * 2:
            pieces.append((f"{names[place]} ", "$foreground 60%"))
    return Content.assemble(*pieces)


def table(bars: Sequence[Bar], rows: Sequence[tuple[str, Sequence[str]]], width: int) -> list[Content]:
    """The same as figures: a column a method, a line a part, then further `rows` of (name, cells)."""
    first, column = 16, max(min((width - 16) // max(len(bars), 1), 16), 9)
    lines = [_row(" " * first, [bar.name for bar in bars], column, "bold")]
    for part, colour in PARTS.items():
        if not any(bar.parts.get(part) for bar in bars):
            continue
        label = Content.assemble(("▌ ", colour), (f"{part:<{first - 2}}", "$foreground 60%"))
        lines.append(_row(label, [_figure(bar.parts.get(part, 0)) for bar in bars], column))
    total = Content.styled(f"{'  total':<{first}}", "bold")
    lines.append(_row(total, [gib(bar.total) for bar in bars], column, "bold"))
    for name, cells in rows:
        label = Content.styled(f"{'  ' + name:<{first}}", "$foreground 60%")
        lines.append(_row(label, cells, column))
    return lines


def _figure(value: int) -> str:
    return gib(value) if value else "–"


def _row(label: Content | str, cells: Sequence[str], column: int, style: str = "") -> Content:
    return Content.assemble(label, *[(f"{cell:>{column}}", style) for cell in cells])
