"""A canvas of braille dots, 2 x 4 a cell, in layers: what charts are drawn on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

from tui.widgets.picture import Line

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Braille bits by (row, column) within one cell: Unicode block 2800."""

LAYERS = ("train", "held", "smooth")
"""From the back to the front; a cell shows the dots of its front layer alone, so that lines stay crisp."""


class Canvas:
    """Braille dots in layers, and single characters above them."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.dots = {layer: [0] * (width * height) for layer in LAYERS}
        self.above: dict[int, tuple[str, str]] = {}

    def dot(self, x: int, y: int, layer: str) -> None:
        self.dots[layer][(y >> 2) * self.width + (x >> 1)] |= DOTS[y & 3][x & 1]

    def column(self, x: int, top: int, bottom: int, layer: str) -> None:
        for y in range(top, bottom + 1):
            self.dot(x, y, layer)

    def put(self, x: int, row: int, character: str, role: str) -> None:
        self.above[row * self.width + x] = character, role

    def marks(self, points: Iterable[tuple[int, int]]) -> None:
        """Squares of 2 x 2 dots, as near as one cell allows to where the points lie."""
        for x, y in points:
            self.put(x >> 1, y >> 2, ("⠛", "⠶", "⠶", "⣤")[y & 3], "held")

    def row(self, row: int) -> Line:
        cells = (self._cell(i) for i in range(row * self.width, (row + 1) * self.width))
        return [
            ("".join(character for character, _ in same), role)
            for role, same in groupby(cells, key=lambda cell: cell[1])
        ]

    def _cell(self, i: int) -> tuple[str, str]:
        if i in self.above:
            return self.above[i]
        for layer in reversed(LAYERS):
            if bits := self.dots[layer][i]:
                return chr(0x2800 + bits), layer
        return " ", ""


def polyline(canvas: Canvas, points: Sequence[tuple[int, int]], layer: str) -> None:
    """Joins points (dot x rising, dot y) so that no gap shows, however steep."""
    for x, y in points[:1]:
        canvas.dot(x, y, layer)
    for (x0, y0), (x1, y1) in pairwise(points):
        before = y0
        for x in range(x0 + 1, x1 + 1):
            y = y0 + round((y1 - y0) * (x - x0) / (x1 - x0))
            nearer = before + (y > before) - (y < before)
            canvas.column(x, min(nearer, y), max(nearer, y), layer)
            before = y
        if x1 == x0:
            canvas.column(x1, min(y0, y1), max(y0, y1), layer)
