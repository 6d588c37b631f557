"""A small dialog that asks one thing, and lets Escape mean no."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static


class Ask(ModalScreen[bool]):
    """Yes or no. The focus starts on no, so that Enter by habit does no harm."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape", "answer(False)", "no"),
        Binding("left,right,up,down", "app.focus_next", show=False),
    ]
    AUTO_FOCUS = "#no"
    DEFAULT_CSS = """
    Ask { align: center middle; background: $background 60%; }
    Ask #box {
        width: 64; max-width: 94%; height: auto; padding: 1 2; background: $surface; border: round $primary;
        border-title-color: $primary;
    }
    Ask #buttons { height: 1; margin-top: 1; align-horizontal: right; }
    Ask Button { min-width: 8; margin-left: 2; background: $panel; color: $foreground; }
    Ask Button:focus { background: $primary; color: $background; background-tint: transparent; }
    """

    def __init__(self, title: str, text: str, yes: str = "Yes", no: str = "No") -> None:
        super().__init__()
        self._heading, self._text, self._yes, self._no = title, text, yes, no

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            box.border_title = self._heading
            yield Static(self._text, markup=False)
            with Horizontal(id="buttons"):
                yield Button(self._no, id="no", compact=True)
                yield Button(self._yes, id="yes", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)
