"""The sources of a run under each other, where there are several: what each is and how much it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from core.numbers import count, number
from tui.source_choice import short
from tui.widgets.report_view import FORMATS, sure

BESIDE = 54
"""Cells of all columns but that of the names."""


def source_line(
    place: int, source: str, weight: float, about: Mapping[str, Any] | None, complete: bool, width: int
) -> Content:
    """`1  train.jsonl     Alpaca · 98 % sure     999 rows   × 2`; `about` is None until it was read."""
    room = min(max(width - BESIDE, 12), 40)
    name = short(source)
    name = name if len(name) <= room else "…" + name[1 - room :]
    pieces: list[tuple[str, str] | str] = [(f"{place + 1} ", "$foreground 60%"), f"{name:<{room}}  "]
    if about:
        kind = str(about.get("format") or "unknown")
        found = FORMATS.get(kind, "not recognised")
        told = f"{found} · {sure(float(about.get('confidence') or 0))}" if kind in FORMATS else found
        rows = f"{count(about.get('rows'))} rows" if complete else ""
        pieces.append(f"{told:<32}{rows:>12}")
    pieces.append((f"  × {number(weight)}", "$text-primary" if weight != 1 else "$foreground 60%"))
    return Content.assemble(*pieces)


class SourceList(OptionList):
    """The marked one is the one that the fields below are about."""

    DEFAULT_CSS = """
    SourceList { height: auto; max-height: 4; background: $background; scrollbar-size-vertical: 1; }
    """
    term = "mixture"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, compact=True)

    def show(self, lines: Sequence[Content], marked: int) -> None:
        """Puts the lines there without a word about the marked one."""
        with self.prevent(OptionList.OptionHighlighted):
            if len(lines) == self.option_count:
                for place, line in enumerate(lines):
                    self.replace_option_prompt_at_index(place, line)
            else:
                self.set_options(Option(line) for line in lines)
            self.highlighted = marked if lines else None
