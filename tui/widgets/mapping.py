"""A dialog that says by hand which column is the prompt, the completion and so on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Label, Select, Static

ROLES: dict[str, str] = {
    "prompt": "what is asked",
    "completion": "the answer, which is learned",
    "input": "more, put after the prompt",
    "system": "how to behave",
    "messages": "a whole conversation",
    "text": "plain text, all learned",
}
"""Every role a column can play, and what it means."""

WHOLE = ("messages", "text")
"""Roles that stand alone: such a column is the whole row."""


def mistake(columns: Mapping[str, str]) -> str:
    """What is wrong with a mapping of role to column, in one line; "" when it can be used."""
    if not columns:
        return "Choose at least a prompt and a completion, or messages, or text."
    whole = [role for role in WHOLE if role in columns]
    if whole and len(columns) > 1 and set(columns) - {whole[0], "system"}:
        return f"A {whole[0]} column is a whole row: leave the other roles empty."
    if not whole and not {"prompt", "completion"} <= set(columns):
        missing = "completion" if "prompt" in columns else "prompt"
        return f"A {missing} is missing: without it there is {_without(missing)}."
    twice = [name for name in columns.values() if list(columns.values()).count(name) > 1]
    return f'Column "{twice[0]}" plays two roles: one is enough.' if twice else ""


def _without(role: str) -> str:
    return "nothing to learn" if role == "completion" else "nothing to answer to"


class ColumnMapping(ModalScreen[dict[str, str] | None]):
    """Gives back role -> column, {} for "as recognised", or None when left as it was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave it as it was"),
        Binding("ctrl+n", "use", "Use"),
    ]
    DEFAULT_CSS = """
    ColumnMapping { align: center middle; }
    ColumnMapping > Vertical {
        width: 74; max-width: 96%; height: auto; padding: 1 2;
        border: round $primary; background: $surface; border-title-color: $text-primary;
    }
    ColumnMapping .role { height: 1; }
    ColumnMapping .role > Label { width: 12; }
    ColumnMapping .role > Select { width: 26; }
    ColumnMapping .role > .meaning { width: 1fr; padding-left: 2; color: $text-muted; height: 1; }
    ColumnMapping #example { height: 3; margin-top: 1; color: $foreground 60%; }
    ColumnMapping #mistake { height: 1; color: $text-error; }
    ColumnMapping .buttons { height: 1; margin-top: 1; }
    ColumnMapping Button { margin-right: 2; }
    """

    def __init__(
        self, names: Sequence[str], columns: Mapping[str, str], sample: Sequence[Mapping[str, Any]]
    ) -> None:
        super().__init__()
        self._names = list(names)
        self._columns = {role: name for role, name in columns.items() if name in self._names}
        self._sample = list(sample)

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = "what each column is"
            for role, meaning in ROLES.items():
                with Horizontal(classes="role"):
                    yield Label(role)
                    yield Select(
                        [(name, name) for name in self._names],
                        value=self._columns.get(role, Select.NULL),
                        prompt="–",
                        compact=True,
                        id=f"role-{role}",
                    )
                    yield Static(meaning, classes="meaning")
            yield Static(id="example")
            yield Static(id="mistake")
            with Horizontal(classes="buttons"):
                yield Button("Use these", variant="primary", id="use", compact=True)
                yield Button("As recognised", id="recognised", compact=True)
                yield Button("Leave it", id="leave", compact=True)

    def on_mount(self) -> None:
        self._tell()

    def chosen(self) -> dict[str, str]:
        """role -> column, as the dialog stands."""
        found = {}
        for role in ROLES:
            value = self.query_one(f"#role-{role}", Select).value
            if isinstance(value, str):
                found[role] = value
        return found

    @on(Select.Changed)
    def _tell(self) -> None:
        columns = self.chosen()
        self.query_one("#mistake", Static).update(mistake(columns))
        self.query_one("#use", Button).disabled = bool(mistake(columns))
        row = self._sample[0] if self._sample else {}
        shown = [
            Content.assemble((f"{role}: ", "bold"), " ".join(str(row.get(name, "")).split())).truncate(
                66, ellipsis=True
            )
            for role, name in columns.items()
        ]
        self.query_one("#example", Static).update(Content("\n").join(shown[:3]))

    @on(Button.Pressed, "#use")
    def action_use(self) -> None:
        columns = self.chosen()
        if not mistake(columns):
            self.dismiss(columns)

    @on(Button.Pressed, "#recognised")
    def _recognised(self) -> None:
        self.dismiss({})

    @on(Button.Pressed, "#leave")
    def action_leave(self) -> None:
        self.dismiss(None)
