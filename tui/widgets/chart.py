"""The loss chart: train points, a smoothed line and held-out marks, in braille, as pure functions.

Not a plotting library: one x axis in steps, one y axis in loss, three layers.
A terminal cell holds 2 x 4 braille dots; 10,000 points at 80 x 24 take a few milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tui.widgets.braille import Canvas, polyline
from tui.widgets.columns import Column, decimate, finite, smooth, x_at
from tui.widgets.picture import Line

GUTTER = 5
"""Cells at the left for labels of up to four; the same for most runs, so that the chart does not jump."""

LOG_FROM = 12.0
"""Highest over lowest loss from which the y axis is logarithmic: below it linear reads better."""


@dataclass(frozen=True)
class Series:
    """What is drawn. A loss that is None or not finite is marked on the axis."""

    steps: Sequence[int] = ()
    loss: Sequence[float | None] = ()
    held: Sequence[tuple[int, float | None]] = ()
    total: int | None = None


@dataclass(frozen=True)
class Range:
    """The y axis: loss values at the bottom and the top, on a linear or a logarithmic scale."""

    low: float
    high: float
    log: bool

    def at(self, value: float, dots: int) -> int:
        """Dot row of a value, 0 at the top; what lies outside is drawn on the edge."""
        low, high = self.low, self.high
        if self.log:
            top = math.log(high)
            share = (top - math.log(max(value, low))) / (top - math.log(low))
        else:
            share = (high - value) / (high - low)
        return round(min(max(share, 0.0), 1.0) * (dots - 1))


def draw(series: Series, width: int, height: int) -> list[Line]:
    """The chart in exactly `height` lines of exactly `width` cells."""
    if width <= 0 or height <= 0:
        return []
    rows = max(height - (2 if height >= 7 else 1 if height >= 4 else 0), 1)
    steps, losses = in_order(series)
    end = x_end(steps, series.held, series.total)
    wide = max(width - GUTTER, 1) * 2
    columns = decimate(steps, losses, end, wide)
    span = y_range(columns, [v for _, v in series.held if finite(v)])
    if span is None:
        return waiting(width, height)
    ticks = y_ticks(span, rows) if width >= 16 else []
    gutter = max(GUTTER, *(len(label) + 1 for _, label in ticks)) if ticks else 0
    cells = width - gutter
    if cells * 2 != wide:
        columns = decimate(steps, losses, end, cells * 2)

    canvas = Canvas(cells, rows)
    scatter(canvas, columns, span)
    line = [(x, span.at(value, rows * 4)) for x, value in smooth(columns, cells * 2)]
    polyline(canvas, line, "smooth")
    held = [
        (x_at(step, end, cells * 2), span.at(v, rows * 4))
        for step, v in sorted(series.held, key=lambda one: one[0])
        if v is not None and finite(v)
    ]
    polyline(canvas, held, "held")
    canvas.marks(held)
    bad = {c.x // 2 for c in columns if c.bad} | {
        x_at(step, end, cells * 2) // 2 for step, v in series.held if not finite(v)
    }
    for x in bad:
        canvas.put(x, rows - 1, "×", "bad")

    lines = framed(canvas, span, ticks, gutter)
    if height - rows >= 1:
        lines += x_axis(end, series.total, gutter, cells, ruled=height - rows == 2)
    return lines


def in_order(series: Series) -> tuple[Sequence[int], Sequence[float | None]]:
    """Steps and losses at one length, sorted by step only where they are not (bisection needs it)."""
    n = min(len(series.steps), len(series.loss))
    steps, losses = series.steps[:n], series.loss[:n]
    if all(a <= b for a, b in pairwise(steps)):
        return steps, losses
    order = sorted(range(n), key=steps.__getitem__)
    return [steps[i] for i in order], [losses[i] for i in order]


def x_end(steps: Sequence[int], held: Sequence[tuple[int, float | None]], total: int | None) -> int:
    """Last step of the x axis: the run's end once half of it is done, before that what is known and a bit."""
    last = max([1, *steps[-1:], *(step for step, _ in held)])
    if total and last < total:
        return total if last * 2 >= total else min(total, max(10, math.ceil(last * 1.25)))
    return last


def y_range(columns: Sequence[Column], held: Sequence[float | None]) -> Range | None:
    """Spans the lines in full and all but the wildest train points; a constant gets room on both sides."""
    core = [c.mean for c in columns if c.mean is not None] + [v for v in held if v is not None]
    raw = sorted(v for c in columns for v in (c.low, c.high) if v is not None)
    if raw:
        cut = len(raw) // 50
        core += [raw[cut], raw[-1 - cut]]
    if not core:
        return None
    low, high = min(core), max(core)
    if low > 0 and high / low >= LOG_FROM:
        return Range(low / 1.05, high * 1.05, log=True)
    room = (high - low) * 0.05 or abs(high) * 0.1 or 0.5
    low, high = low - room if low <= 0 or low - room > 0 else 0.0, high + room
    return Range(low, high, log=False)


def scatter(canvas: Canvas, columns: Sequence[Column], span: Range) -> None:
    """The train points: each column's extremes, joined where the points lie dense."""
    dots = canvas.height * 4
    for column in columns:
        if column.low is not None and column.high is not None:
            canvas.column(column.x, span.at(column.high, dots), span.at(column.low, dots), "train")


def y_ticks(span: Range, rows: int) -> list[tuple[int, str]]:
    """(row, label) of the y axis, top to bottom, as many as are read with ease."""
    if span.log:
        first, last = math.floor(math.log10(span.low)), math.ceil(math.log10(span.high))
        bases = (1, 2, 5) if last - first <= 3 else (1,)
        values = [b * 10.0**e for e in range(first, last + 1) for b in bases if abs(e) < 300]
    else:
        step = nice((span.high - span.low) / (min(max(rows * 0.45, 2), 6) + 1))
        values = multiples(step, span)
        if len(values) < 2 and rows >= 5:
            values = multiples(nice(step / 3), span)
    values = [v for v in values if span.low <= v <= span.high] or [span.high]
    labels: list[tuple[int, str]] = []
    taken = -2
    for value in sorted(values, reverse=True):
        row = span.at(value, rows * 4) // 4
        if row > taken or not labels:
            labels.append((row, number(value)))
            taken = row
    return labels


def multiples(step: float, span: Range) -> list[float]:
    start = math.ceil(span.low / step)
    return [v for i in range(20) if (v := (start + i) * step) <= span.high]


def nice(step: float) -> float:
    """The next of 1, 2, 5 x a power of ten."""
    power = 10.0 ** math.floor(math.log10(step)) if step > 0 else 1.0
    return next((m * power for m in (1, 2, 5, 10) if m * power >= step * 0.999), step)


def number(value: float) -> str:
    """A loss in at most seven characters."""
    if value and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.4g}" if abs(value) >= 1 else f"{value:.2g}"


def framed(canvas: Canvas, span: Range, ticks: list[tuple[int, str]], gutter: int) -> list[Line]:
    labels = dict(ticks)
    if not gutter:
        return [canvas.row(row) for row in range(canvas.height)]
    return [
        [
            (labels.get(row, "").rjust(gutter - 1), "label"),
            ("┤" if row in labels else "│", "axis"),
            *canvas.row(row),
        ]
        for row in range(canvas.height)
    ]


def x_axis(end: int, total: int | None, gutter: int, cells: int, *, ruled: bool) -> list[Line]:
    """The rule with its ticks, the steps under it; at the right the run's last step where that is beyond."""
    rest = f"… {total:,}" if total and total > end else ""
    room = cells - (len(rest) + 1 if rest else 0)
    step = max(int(nice(end / max(cells // 12, 1))), 1)
    rule, labels = ["─"] * cells, [" "] * cells
    for value in range(0, end + 1, step):
        x, text = x_at(value, end, cells * 2) // 2, f"{value:,}"
        left = min(max(x - len(text) // 2, 0), cells - len(text))
        free = left >= 0 and left + len(text) <= room
        if free and all(c == " " for c in labels[max(left - 1, 0) : left + len(text) + 1]):
            labels[left : left + len(text)] = text
            rule[x] = "┬"
    if rest and len(rest) <= cells:
        labels[-len(rest) :] = rest
    corner = [(" " * (gutter - 1) + "└", "axis")] if gutter else []
    lines: list[Line] = [[*corner, ("".join(rule), "axis")]] if ruled else []
    return [*lines, [(" " * gutter, ""), ("".join(labels), "label")]]


def waiting(width: int, height: int) -> list[Line]:
    text = "the first step has not come yet"[:width]
    lines: list[Line] = [[(" " * width, "")] for _ in range(height)]
    left = (width - len(text)) // 2
    lines[height // 2] = [(" " * left, ""), (text, "soft"), (" " * (width - left - len(text)), "")]
    return lines
