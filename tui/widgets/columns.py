"""Many points in few columns: decimation that keeps the extremes, and a smooth line through what is left."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

MOST = 1e200
"""What is beyond is treated as no number: sums with it would overflow."""
BANDWIDTH = 0.06
"""Half of the smoothing window, as a share of the columns."""
NEIGHBOURS = 4
"""Columns with points on either side that the window reaches at least."""


@dataclass(frozen=True)
class Column:
    """The points of one column. `low`, `high` and `mean` are None where none is a number."""

    x: int
    count: int
    low: float | None
    high: float | None
    mean: float | None
    bad: bool
    """At least one was no number."""


def finite(value: float | None) -> bool:
    return value is not None and -MOST < value < MOST


def x_at(step: int, end: int, dots: int) -> int:
    """The column of a step, when the last of `dots` columns is the step `end`."""
    return min(max(step * (dots - 1) // end, 0), dots - 1)


def decimate(steps: Sequence[int], values: Sequence[float | None], end: int, dots: int) -> list[Column]:
    """The columns that have points, left to right. `steps` must rise. It works on slices, at C speed."""
    columns, start, n = [], 0, len(steps)
    while start < n:
        x = x_at(steps[start], end, dots)
        limit = -(-(x + 1) * end // (dots - 1)) if x < dots - 1 else 0
        stop = max(bisect_left(steps, limit, start), start + 1) if limit else n
        part = values[start:stop]
        good = [v for v in part if v is not None and -MOST < v < MOST]
        if good:
            mean = sum(good) / len(good)
            columns.append(Column(x, len(good), min(good), max(good), mean, len(good) < len(part)))
        else:
            columns.append(Column(x, 0, None, None, None, True))
        start = stop
    return columns


def smooth(columns: Sequence[Column], dots: int) -> list[tuple[int, float]]:
    """(x, value) of a line through the columns' means, without the lag of a running mean.

    Local linear regression with tricube weights (Cleveland 1979), each column weighing as its points;
    a value never leaves the range of those it is made from.
    """
    known = [(c.x, c.mean, c.count) for c in columns if c.mean is not None]
    if not known:
        return []
    spacing = (known[-1][0] - known[0][0]) / len(known)
    reach = max(BANDWIDTH * dots, NEIGHBOURS * spacing, 1.0)
    line, first = [], 0
    for x, _, _ in known:
        while known[first][0] < x - reach:
            first += 1
        w_sum = wx = wy = wxx = wxy = 0.0
        low, high = MOST, -MOST
        for i in range(first, len(known)):
            at, value, count = known[i]
            away = at - x
            if away >= reach:
                break
            weight = count * (1 - (abs(away) / reach) ** 3) ** 3
            if weight <= 0:
                continue
            w_sum += weight
            wx += weight * away
            wy += weight * value
            wxx += weight * away * away
            wxy += weight * away * value
            low, high = min(low, value), max(high, value)
        spread = w_sum * wxx - wx * wx
        fitted = (wxx * wy - wx * wxy) / spread if spread > 1e-9 * w_sum * w_sum else wy / w_sum
        line.append((x, min(max(fitted, low), high)))
    return line
