"""What a preference run comes to: chosen and rejected reward as two lines, margin and accuracy as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.runs.events import Eval
from core.runs.history import History
from tui.widgets.braille import Canvas, polyline
from tui.widgets.chart import GUTTER, Range, framed, waiting, x_axis, x_end, y_ticks
from tui.widgets.columns import decimate, finite, smooth
from tui.widgets.gpu_panel import clip
from tui.widgets.picture import Line
from tui.widgets.run_numbers import MISSING, shape

LATEST = 20
"""Steps whose mean is the number that is shown: one batch alone is noise."""
SPARK = 16
"""Cells of a small history."""
LINES = (("chosen", "smooth"), ("rejected", "held"))
"""What a line shows, and the role that it is drawn in."""


@dataclass(frozen=True)
class Rewards:
    """By step, each list one entry a step; None where a step told nothing of it."""

    steps: Sequence[int] = ()
    chosen: Sequence[float | None] = ()
    rejected: Sequence[float | None] = ()
    margin: Sequence[float | None] = ()
    accuracy: Sequence[float | None] = ()
    held: Eval | None = None
    """The last look at the held-out rows that told rewards."""
    total: int | None = None


def rewards(history: History, steps: Sequence[int]) -> Rewards:
    """`steps`: the numbers of the history's steps."""
    told = history.steps
    return Rewards(
        steps,
        [one.reward_chosen for one in told],
        [one.reward_rejected for one in told],
        [one.margin for one in told],
        [one.accuracy for one in told],
        next((one for one in reversed(history.evals) if one.margin is not None), None),
        history.steps_total,
    )


def draw(seen: Rewards, width: int, height: int) -> list[Line]:
    """At most `height` lines of `width` cells: the numbers, and under them the lines where there is room."""
    lines = [clip(one, width) for one in numbers(seen, width)][:height]
    room = height - len(lines)
    return [*lines, *picture(seen, width, room)] if room >= 3 else lines


def numbers(seen: Rewards, width: int) -> list[Line]:
    """margin 0.82 ▁▂▃▅▆   accuracy 84 % ▃▅▆▆   held out 0.71, 78 %"""
    margin, accuracy = latest(seen.margin), latest(seen.accuracy)
    first: Line = [("margin ", "label"), (reward(margin), "strong"), _spark(seen.margin)]
    if accuracy is not None:
        second: Line = [("accuracy ", "label"), (share(accuracy), "strong"), _spark(seen.accuracy)]
    else:
        second = []
    third: Line = []
    if seen.held is not None:
        right = f", {share(seen.held.accuracy)}" if seen.held.accuracy is not None else ""
        third = [("held out ", "label"), (f"{reward(seen.held.margin)}{right}", "held")]
    parts = [part for part in (first, second, third) if part]
    line: Line = []
    lines = [line]
    used = 0
    for part in parts:
        size = sum(len(text) for text, _ in part)
        if used and used + 3 + size > width:
            line, used = [], 0
            lines.append(line)
        if used:
            line.append(("   ", ""))
            used += 3
        line += part
        used += size
    return lines


def picture(seen: Rewards, width: int, height: int) -> list[Line]:
    """Both lines over the run's steps, and a rule at 0, where neither answer has moved."""
    rows = max(height - (2 if height >= 7 else 1 if height >= 4 else 0), 1)
    end = x_end(seen.steps, (), seen.total)
    known = [v for values in (seen.chosen, seen.rejected) for v in values if v is not None and finite(v)]
    if not known:
        return waiting(width, height)
    span = _range(known)
    ticks = y_ticks(span, rows) if width >= 16 else []
    gutter = max(GUTTER, *(len(label) + 1 for _, label in ticks)) if ticks else 0
    cells = max(width - gutter, 1)
    canvas = Canvas(cells, rows)
    if span.low < 0 < span.high:
        for x in range(0, cells * 2, 3):
            canvas.dot(x, span.at(0.0, rows * 4), "train")
    for (_, layer), values in reversed(list(zip(LINES, (seen.chosen, seen.rejected), strict=True))):
        columns = decimate(seen.steps, values, end, cells * 2)
        polyline(canvas, [(x, span.at(v, rows * 4)) for x, v in smooth(columns, cells * 2)], layer)
    lines = framed(canvas, span, ticks, gutter)
    if height - rows >= 1:
        lines += x_axis(end, seen.total, gutter, cells, ruled=height - rows == 2)
    return lines


def latest(values: Sequence[float | None]) -> float | None:
    """The mean of what the latest steps told."""
    known = [v for v in values[-LATEST:] if v is not None]
    return sum(known) / len(known) if known else None


def reward(value: float | None) -> str:
    """With its sign: a margin below 0 means the wrong answers are preferred."""
    if value is None:
        return MISSING
    return f"{value:+.2f}" if abs(value) >= 0.005 else "0"


def share(value: float | None) -> str:
    return MISSING if value is None else f"{value * 100:.0f} %"


def _spark(values: Sequence[float | None]) -> tuple[str, str]:
    drawn = shape([v for v in values if v is not None], SPARK)
    return (f" {drawn}" if drawn else "", "train")


def _range(known: list[float]) -> Range:
    """All but the wildest batches; and 0, from which rewards are counted, where it is not far from them."""
    ordered = sorted(known)
    cut = len(ordered) // 50
    low, high = ordered[cut], ordered[-1 - cut]
    if max(low, -high) < high - low:
        low, high = min(low, 0.0), max(high, 0.0)
    room = (high - low) * 0.05 or 0.5
    return Range(low - room, high + room, log=False)
