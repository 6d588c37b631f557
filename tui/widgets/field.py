"""One choice on one line: its name, a short input, and what it means or costs beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Label, Static


class Dial(Input):
    """An input whose up and down keys go through sensible values."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "turn(1)", "More", show=False),
        Binding("down", "turn(-1)", "Less", show=False),
    ]

    def __init__(self, value: str, values: Sequence[str], **given: Any) -> None:
        super().__init__(value, compact=True, select_on_focus=True, **given)
        self.values = list(values)
        self.term = ""
        self.auto = ""
        """What stands here when nothing is chosen, so that the keys start from there."""

    def action_turn(self, by: int) -> None:
        """The next sensible value above or below; leaves the field where it has none."""
        if not self.values:
            self.screen.focus_previous() if by > 0 else self.screen.focus_next()
            return
        self.value = turned(self.value or self.auto, self.values, by)
        self.cursor_position = len(self.value)


def turned(value: str, values: Sequence[str], by: int) -> str:
    """The neighbour of `value` in `values`, also when it lies between two of them; the ends stay."""
    if value in values:
        return values[min(max(list(values).index(value) + by, 0), len(values) - 1)]
    try:
        here = float(value)
        sizes = [(float(one), one) for one in values]
    except ValueError:
        return values[0] if by > 0 else values[-1]
    beyond = [one for size, one in sorted(sizes) if (size > here if by > 0 else size < here)]
    if not beyond:
        return value
    return beyond[0] if by > 0 else beyond[-1]


class Field(Horizontal):
    """A labelled dial. `key` is the dotted choice that it sets; an empty value leaves it to the plan."""

    class Changed(Message):
        """The text was changed by a person."""

        def __init__(self, field: Field, value: str) -> None:
            super().__init__()
            self.field, self.value = field, value

        @property
        def control(self) -> Field:
            return self.field

    DEFAULT_CSS = """
    Field { height: 1; }
    Field > Label { width: 13; color: $text-muted; }
    Field > Dial { width: 12; }
    Field > .hint { width: 1fr; height: 1; padding-left: 1; color: $foreground 60%;
                    text-wrap: nowrap; text-overflow: ellipsis; }
    Field:focus-within > Label { color: $text-primary; text-style: bold; }
    """

    def __init__(
        self,
        key: str,
        label: str,
        *,
        term: str,
        value: str = "",
        auto: str = "auto",
        hint: str = "",
        values: Sequence[str] = (),
        id: str | None = None,
    ) -> None:
        super().__init__(id=id or "field-" + key.replace(".", "-").replace("_", "-"))
        self.key, self._label, self._term, self._value, self._auto = key, label, term, value, auto
        self._hint, self._values = hint, values
        self.refused = ""
        """Why what stands there cannot be taken; one cannot go on before it is mended."""

    def compose(self) -> ComposeResult:
        yield Label(self._label)
        dial = Dial(self._value, self._values, placeholder=self._auto)
        dial.term = self._term
        yield dial
        yield Static(self._hint, markup=False, classes="hint")

    @on(Input.Changed)
    def _tell(self, event: Input.Changed) -> None:
        event.stop()
        if event.value.strip() != self._value:
            self._value = event.value.strip()
            self.post_message(self.Changed(self, self._value))

    @property
    def dial(self) -> Dial:
        return self.query_one(Dial)

    @property
    def value(self) -> str:
        return self._value

    @property
    def problem(self) -> str:
        """Why one cannot go on, in a line; empty where one can."""
        known = self.refused.startswith(self._label)
        return self.refused if known or not self.refused else f"{self._label}: {self.refused}"

    def load(self, value: str) -> None:
        """Shows a value without telling anyone."""
        self._value, self.refused = value, ""
        self.dial.value = value

    def auto(self, value: str) -> None:
        """What the plan takes when nothing is chosen here."""
        self.dial.auto = value
        self.dial.placeholder = f"{value} (auto)" if value.strip("–") else value or "auto"

    def refuse(self, why: str) -> None:
        """Says beside the input why its value cannot be taken; empty: it can."""
        self.refused = why
        self.hint(why, "stop" if why else "")

    def hint(self, text: str, severity: str = "") -> None:
        """The words beside the input. Severity "stop" is for a value that is refused."""
        style = {"stop": "$text-error", "warn": "$text-warning"}.get(severity, "$foreground 60%")
        self.query_one(".hint", Static).update(Content.styled(text or self._hint, style))


def number(text: str) -> int | float | str | None:
    """What was typed, as the spec wants it: nothing, a whole number, a number, or the words as they are."""
    if not text or text == "auto":
        return None
    try:
        return int(text.replace(",", "").replace("_", ""))
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text
