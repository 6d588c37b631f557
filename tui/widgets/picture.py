"""A widget that shows what a pure function drew: lines of (text, role), each role a theme colour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

Line = list[tuple[str, str]]
"""One row of cells: pieces of text, each with its role ("" is plain text)."""

Draw = Callable[[int, int], Sequence[Line]]
"""(width, height) in cells -> at most `height` lines."""

ROLES = ("train", "smooth", "held", "axis", "label", "bar", "track", "strong", "soft", "good", "warn", "bad")


def nothing(width: int, height: int) -> list[Line]:
    return []


class Picture(Widget):
    """Shows the last drawing given to `show`; draws again only when that or the size changes."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"picture--{role}" for role in ROLES}
    DEFAULT_CSS = """
    Picture {
        & > .picture--train { color: $primary 45%; }
        & > .picture--smooth { color: $primary; text-style: bold; }
        & > .picture--held { color: $warning; text-style: bold; }
        & > .picture--axis { color: $foreground 30%; }
        & > .picture--label { color: $foreground 60%; }
        & > .picture--bar { color: $primary; }
        & > .picture--track { color: $foreground 15%; }
        & > .picture--strong { color: $foreground; text-style: bold; }
        & > .picture--soft { color: $foreground 60%; }
        & > .picture--good { color: $success; }
        & > .picture--warn { color: $warning; }
        & > .picture--bad { color: $error; text-style: bold; }
    }
    """

    def __init__(self, draw: Draw = nothing, *, id: str | None = None, classes: str | None = None) -> None:
        self._styles: dict[str, Style] = {}
        super().__init__(id=id, classes=classes)
        self._draw = draw
        self._drawn: tuple[tuple[int, int], Sequence[Line]] | None = None

    def show(self, draw: Draw) -> None:
        """Takes a new drawing and repaints the rows that differ: a chart changes little from step to step."""
        self._draw = draw
        size = self.size.width, self.size.height
        if self._drawn is None or self._drawn[0] != size:
            self._drawn = None
            self.refresh()
            return
        before, after = self._drawn[1], draw(*size)
        self._drawn = size, after
        pairs = enumerate(zip_longest(before, after))
        rows = [Region(0, y, size[0], 1) for y, (old, new) in pairs if old != new]
        if rows:
            self.refresh(*rows)

    def render_line(self, y: int) -> Strip:
        size = self.size.width, self.size.height
        if self._drawn is None or self._drawn[0] != size:
            self._drawn = size, self._draw(*size)
        lines = self._drawn[1]
        base = self.rich_style
        if y >= len(lines):
            return Strip.blank(size[0], base)
        segments = [Segment(text, self._role(role, base)) for text, role in lines[y] if text]
        return Strip(segments).adjust_cell_length(size[0], base)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles.clear()

    def _role(self, role: str, base: Style) -> Style:
        if not role:
            return base
        if role not in self._styles:  # the theme's answer takes 0.1 ms, and a chart asks a hundred times
            self._styles[role] = self.get_component_rich_style(f"picture--{role}")
        return self._styles[role]

    @property
    def lines(self) -> list[str]:
        """What is drawn at the present size, as plain text: for tests and for copying."""
        drawn = self._draw(self.size.width, self.size.height)
        return ["".join(text for text, _ in line) for line in drawn]
