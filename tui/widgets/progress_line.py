"""One line that says what is being done: the stage, how far, and for how long. Nothing when all is quiet."""

from __future__ import annotations

import time
from collections.abc import Callable

from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static

from core.errors import UserError
from core.numbers import count, duration

BAR = 20
STAGES = {
    "read": "reading the data",
    "tokenizer": "loading the tokenizer",
    "tokenise": "counting tokens",
    "machine": "looking at this machine",
    "model": "reading the model's shape",
    "data": "reading the data",
    "compile": "compiling the layers",
}
"""What a job's words for its stages mean to a person."""

SHOWN_AFTER = 2.0
"""Seconds from which on the time taken is said; before that it would only flicker."""


def progress_text(stage: str, done: int, total: int | None, seconds: float) -> Content:
    """`stage ━━━━━━╺━━━━━━━━━ 450 of 999 · 3 s`; without a total only what is done."""
    pieces: list[tuple[str, str] | str] = [(f"{STAGES.get(stage, stage)}  ", "$text-primary")]
    if total:
        filled = round(min(done / total, 1.0) * BAR)
        pieces += [("━" * filled, "$primary"), ("━" * (BAR - filled), "$foreground 20%")]
        pieces.append((f" {count(done)} of {count(total)}", "$foreground 60%"))
    elif done:
        pieces.append((f"{count(done)} so far", "$foreground 60%"))
    if seconds >= SHOWN_AFTER:
        pieces.append((f" · {duration(seconds)}", "$foreground 60%"))
    return Content.assemble(*pieces)


def refusal(error: UserError) -> Content:
    """An error where there is room for all of it: what, why and what to do, each on its own line."""
    lines = [Content.styled(f"✗ {error.what}", "bold $text-error")]
    if error.why:
        lines.append(Content(f"  {error.why}"))
    if error.todo:
        lines.append(Content.assemble(("  → ", "bold $text-success"), error.todo))
    if error.log:
        lines.append(Content.styled(f"  details: {error.log}", "$foreground 60%"))
    return Content("\n").join(lines)


class ProgressLine(Static):
    """Keeps its line whether it shows something or not, so that nothing below it jumps."""

    DEFAULT_CSS = "ProgressLine { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }"

    def __init__(self, *, id: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(id=id)
        self._clock = clock
        self._since: float | None = None
        self._last: tuple[str, int, int | None] = ("", 0, None)
        self._ticking: Timer | None = None

    def progress(self, stage: str, done: int = 0, total: int | None = None) -> None:
        """Something is being done; called as often as one likes, drawn twice a second."""
        fresh = self._since is None or stage != self._last[0]
        if self._since is None:
            self._since = self._clock()
            self._ticking = self.set_interval(0.5, self._draw)
        self._last = (stage, done, total)
        if fresh:
            self._draw()

    def say(self, text: str, severity: str = "") -> None:
        """It is over, and this came of it."""
        self.quiet()
        style = {"good": "$text-success", "warn": "$text-warning", "stop": "$text-error"}.get(
            severity, "$foreground 60%"
        )
        self.update(Content.styled(text, style))

    def quiet(self) -> None:
        """Nothing is being done."""
        if self._ticking is not None:
            self._ticking.stop()
        self._since = self._ticking = None
        self.update("")

    @property
    def busy(self) -> bool:
        return self._since is not None

    def _draw(self) -> None:
        if self._since is not None:
            self.update(progress_text(*self._last, self._clock() - self._since))
