"""The field for a path, URL or Hub id: completes paths, and its up and down keys move in the list below."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input

from tui.widgets.sources import completions


class PathSuggester(Suggester):
    """Shows how a half-typed path would go on; the right arrow takes it."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        if not value or "://" in value:
            return None
        found = await asyncio.to_thread(completions, value, Path.cwd())
        return next((one.shown for one in found if one.shown.startswith(value)), None)


class SourceField(Input):
    """Says `Down` when the list below is to move."""

    class Down(Message):
        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", "Down the list", show=False),
        Binding("up", "move(-1)", "Up the list", show=False),
    ]

    def __init__(self, value: str, *, term: str, placeholder: str, id: str | None = None) -> None:
        super().__init__(
            value,
            placeholder=placeholder,
            suggester=PathSuggester(),
            select_on_focus=True,
            compact=True,
            id=id,
        )
        self.term = term

    def action_move(self, by: int) -> None:
        self.post_message(self.Down(by))
