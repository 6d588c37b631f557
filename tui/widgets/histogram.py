"""How long the rows are: a small histogram of token counts, with the length limit drawn in it."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from core.numbers import count

BLOCKS = " ▁▂▃▄▅▆▇█"


def histogram(
    edges: Sequence[float], counts: Sequence[int], width: int, height: int, limit: float | None = None
) -> list[Content]:
    """`height` lines of at most `width` cells; the last one is the axis in tokens.

    `edges` has one more entry than `counts`. Bars beyond `limit` are drawn in the colour of a warning,
    since those rows are cut there; `│` stands at the limit.
    """
    if len(edges) != len(counts) + 1 or not any(counts) or height < 2 or width < 8:
        return [Content.styled("no lengths yet", "$foreground 60%")]
    columns = _columns(edges, counts, width)
    tallest = max(columns)
    low, high = float(edges[0]), float(edges[-1])
    wall = None
    if limit is not None and low < limit < high:
        wall = min(int((limit - low) / (high - low) * len(columns)), len(columns) - 1)
    rows = height - 1
    lines = []
    for row in range(rows):
        floor = (rows - 1 - row) * 8
        cells: list[tuple[str, str]] = []
        for x, value in enumerate(columns):
            filled = value / tallest * rows * 8
            if value > 0 and filled < 1:
                filled = 1  # one row among thousands is still seen
            block = BLOCKS[max(0, min(8, round(filled) - floor))]
            beyond = limit is not None and low + (x + 0.5) / len(columns) * (high - low) > limit
            if x == wall and block == " ":
                cells.append(("│", "$warning"))
            else:
                cells.append((block, "$warning" if beyond else "$primary"))
        lines.append(Content.assemble(*cells))
    lines.append(_axis(low, high, limit if wall is not None else None, wall, len(columns)))
    return lines


def _columns(edges: Sequence[float], counts: Sequence[int], width: int) -> list[float]:
    """Counts spread over cells: a bin takes several cells, or several bins share one."""
    if len(counts) <= width:
        return [float(counts[x * len(counts) // width]) for x in range(width)]
    shared = [0.0] * width
    for index, value in enumerate(counts):
        shared[index * width // len(counts)] += value
    return shared


def _axis(low: float, high: float, limit: float | None, wall: int | None, width: int) -> Content:
    left, right = count(low), f"{count(high)} tokens"
    line = list(f"{left}{' ' * max(width - len(left) - len(right), 1)}{right}")
    mark = (0, 0)
    if limit is not None and wall is not None:
        text = f"↑ {count(limit)}"
        start = wall
        if start > len(left) and start + len(text) < len(line) - len(right):
            line[start : start + len(text)] = text
            mark = (start, start + len(text))
    axis = Content.styled("".join(line), "$foreground 60%")
    return axis.stylize("$text-warning", *mark) if mark[1] else axis
