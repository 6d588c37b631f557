"""The drawer of chat settings: system prompt, sampling, stop texts, and which checkpoint speaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Label, Select, TextArea

from tui.widgets.field import Field

if TYPE_CHECKING:
    from core.chat.talk import Settings

RESULT = 0
"""The Select's value for the run's result: no checkpoint has step 0."""


class ChatSettings(VerticalScroll):
    """Hidden until asked for. `settings` and `system` read it; wrong numbers raise UserError."""

    DEFAULT_CSS = """
    ChatSettings {
        display: none; dock: right; layer: above; width: 46; max-width: 100%; height: 100%; margin: 0 0 1 0;
        padding: 1 2; background: $panel; border: round $primary; border-title-color: $primary;
        border-subtitle-color: $text-muted;
    }
    ChatSettings.-open { display: block; }
    ChatSettings TextArea { height: 4; margin-bottom: 1; background: $surface; }
    ChatSettings #stop { height: 3; }
    ChatSettings Field, ChatSettings Select { margin-bottom: 1; }
    """

    def compose(self) -> ComposeResult:
        yield Label("system prompt")
        system = TextArea(id="system", compact=True)
        system.term = "system_prompt"  # type: ignore[attr-defined]
        yield system
        yield Field(
            "temperature", "temperature", term="temperature", auto="0.7", hint="0 = likeliest",
            values=("0", "0.3", "0.7", "1.0", "1.3"),
        )  # fmt: skip
        yield Field("top_p", "top-p", term="top_p", auto="0.95", values=("0.5", "0.8", "0.9", "0.95", "1"))
        yield Field(
            "max_tokens",
            "most tokens",
            term="max_tokens",
            auto="512",
            values=("64", "128", "256", "512", "2048"),
        )
        yield Label("stop at these texts, one a line")
        stop = TextArea(id="stop", compact=True)
        stop.term = "stop_strings"  # type: ignore[attr-defined]
        yield stop
        yield Label("checkpoint")
        which: Select[int] = Select(
            [("the result", RESULT)], value=RESULT, allow_blank=False, compact=True, id="which"
        )
        which.term = "checkpoint"  # type: ignore[attr-defined]
        yield which

    def on_mount(self) -> None:
        self.border_title = "settings"
        self.border_subtitle = "f2 or esc closes"

    def offer(self, steps: Sequence[int], loaded: int | None, *, result: bool) -> None:
        """The checkpoints that can be spoken to, newest first."""
        name = "the result" if result else "the newest"
        options = [(name, RESULT), *((f"step {step:,}", step) for step in sorted(steps, reverse=True))]
        which = self.query_one("#which", Select)
        with self.prevent(Select.Changed):
            which.set_options(options)
            which.value = loaded or RESULT

    @property
    def system(self) -> str:
        return self.query_one("#system", TextArea).text.strip()

    def settings(self) -> Settings:
        """What stands here. UserError: a value that is no number, or out of range."""
        from core.chat.talk import Settings
        from core.errors import UserError

        given: dict[str, float] = {}
        for name, kind in (("temperature", float), ("top_p", float), ("max_tokens", int)):
            text = self.query_one(f"#field-{name.replace('_', '-')}", Field).value
            try:
                if text:
                    given[name] = kind(text)
            except ValueError:
                label = name.replace("_", " ")
                raise UserError(
                    f"{label} is {text}", "it should be a number", "change it in the settings"
                ) from None
        stop = tuple(line for line in self.query_one("#stop", TextArea).text.splitlines() if line)
        return Settings(**given, stop=stop)  # type: ignore[arg-type]
