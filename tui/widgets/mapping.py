"""The screen that turns any columns into any format, with three rows shown as they would become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Footer, Input, Label, Select, Static

from core.errors import UserError
from tui.roles import FORMATS, ROLES, family, mistake, placeholders
from tui.widgets.turn_view import turn_lines

SHOWN = 3
"""Rows that are shown as they would become."""

HINTS = {
    "format": "what a row shall become",
    "instruction": "words before each question; with {column} in it, the question is made from it",
    "fill": "what stands for this name in double braces, in every row",
}


class MappingScreen(ModalScreen["dict[str, Any] | None"]):
    """Gives back format, columns, instruction and fill; {} for "as recognised"; None when left as it was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "leave it"),
        Binding("ctrl+n", "use", "use these", priority=True),
        Binding("ctrl+r", "recognised", "as recognised", priority=True),
        Binding("pagedown", "scroll(3)", "scroll rows", key_display="PgDn"),
        Binding("pageup", "scroll(-3)", show=False),
    ]
    DEFAULT_CSS = """
    MappingScreen { align: center middle; background: $background 60%; }
    MappingScreen #box {
        width: 110; max-width: 100%; height: 36; max-height: 100%; padding: 0 1;
        border: round $primary; background: $surface; border-title-color: $text-primary;
    }
    MappingScreen .line { height: 1; }
    MappingScreen .line > Label { width: 12; color: $text-muted; }
    MappingScreen .line > Select { width: 26; }
    MappingScreen .line > Input { width: 1fr; }
    MappingScreen #roles { layout: grid; grid-size: 2; grid-rows: 1; height: auto; }
    MappingScreen #fills { layout: grid; grid-size: 2; grid-rows: 1; grid-gutter: 0 2; height: auto; }
    MappingScreen .line:focus-within > Label { color: $text-primary; text-style: bold; }
    MappingScreen #hint { height: 1; color: $foreground 60%; text-wrap: nowrap; text-overflow: ellipsis; }
    MappingScreen #problem { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    MappingScreen #become { height: 1fr; min-height: 3; scrollbar-size-vertical: 1;
                            border-top: solid $border-blurred; }
    MappingScreen #become Static { height: auto; }
    MappingScreen .buttons { height: 1; }
    MappingScreen Button { margin-right: 2; }
    """

    def __init__(
        self,
        name: str,
        columns: Mapping[str, str | None],
        head: Sequence[dict[str, Any]],
        found: str | None,
        chosen: Mapping[str, Any],
    ) -> None:
        """`columns`: name -> role as recognised; `found`: the format; `chosen`: a SourceSpec's keys."""
        super().__init__()
        self._source, self._head, self._chosen = name, list(head), dict(chosen)
        self._names = list(columns)
        roles = chosen.get("columns") or {role: column for column, role in columns.items() if role}
        self._roles = {role: column for role, column in roles.items() if column in self._names}
        self._format = family(chosen.get("format")) or family(found) or "completion"
        self._fills = list(dict.fromkeys([*placeholders(head), *(chosen.get("fill") or {})]))

    # -- the form

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            box.border_title = f"what each column of {self._source} is"
            with Horizontal(classes="line"):
                yield Label("becomes")
                yield Select(
                    [(name, key) for key, (name, *_) in FORMATS.items()],
                    value=self._format,
                    allow_blank=False,
                    compact=True,
                    id="format",
                )
            yield Container(*self._role_lines(), id="roles")
            with Horizontal(classes="line"):
                yield Label("instruction")
                yield Input(
                    self._chosen.get("instruction") or "",
                    placeholder="none · Summarise the following conversation.",
                    compact=True,
                    id="instruction",
                )
            with Container(id="fills"):
                for place, name in enumerate(self._fills):
                    with Horizontal(classes="line"):
                        yield Label("{{" + name + "}}", markup=False)
                        yield Input(
                            (self._chosen.get("fill") or {}).get(name, ""),
                            placeholder="left as it is",
                            compact=True,
                            id=f"fill-{place}",
                        )
            yield Static(id="hint", markup=False)
            with VerticalScroll(id="become", can_focus=False):
                yield Static()
            yield Static(id="problem")
            with Horizontal(classes="buttons"):
                yield Button("Use these", variant="primary", id="use", compact=True)
                yield Button("As recognised", id="recognised", compact=True)
                yield Button("Leave it", id="leave", compact=True)
        yield Footer(compact=True)

    def _role_lines(self) -> Iterator[Widget]:
        """Every role once; those that the format does not have are not displayed."""
        for role in ROLES:
            select: Select[str] = Select(
                [(name, name) for name in self._names],
                value=self._roles.get(role, Select.NULL),
                prompt="–",
                compact=True,
                id=f"role-{role}",
            )
            yield Horizontal(Label(role), select, classes="line", id=f"line-{role}")

    def on_mount(self) -> None:
        self._offer_roles()
        self._show()

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def _offer_roles(self) -> None:
        for role in ROLES:
            self.query_one(f"#line-{role}").display = role in FORMATS[self._target][1]

    @property
    def _target(self) -> str:
        return str(self.query_one("#format", Select).value)

    def chosen(self) -> dict[str, Any]:
        """The keys of a source's spec, as the form stands; what is empty is left out."""
        columns = {}
        for role in FORMATS[self._target][1]:
            value = self.query_one(f"#role-{role}", Select).value
            if isinstance(value, str):
                columns[role] = value
        fill = {name: self.query_one(f"#fill-{place}", Input).value for place, name in enumerate(self._fills)}
        found = {
            "format": self._target,
            "columns": columns,
            "instruction": self.query_one("#instruction", Input).value.strip(),
            "fill": {name: words for name, words in fill.items() if words},
        }
        return {key: value for key, value in found.items() if value}

    # -- what comes of it

    @on(Select.Changed)
    @on(Input.Changed)
    def _changed(self) -> None:
        self._offer_roles()
        self._show()

    def _show(self) -> None:
        if not self.is_mounted:
            return
        chosen = self.chosen()
        wrong = mistake(self._target, chosen.get("columns", {}), chosen.get("instruction", ""))
        rows: list[dict[str, Any]] = []
        if not wrong:
            rows, wrong = self._become(chosen)
        self.query_one("#use", Button).disabled = bool(wrong) and not rows
        text, style = (f"✗ {wrong}", "$text-error") if wrong else ("✓ ready", "$text-success")
        self.query_one("#problem", Static).update(Content.styled(text, style))
        become = self.query_one("#become")
        room = become.scrollable_content_region
        most = max(1, room.height // max(sum(len(row["turns"]) or 1 for row in rows), 1))
        lines = turn_lines(rows, max(room.width, 20), most)
        become.query_one(Static).update(Content("\n").join(lines))

    def _become(self, chosen: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str]:
        """The first rows as they would become, and what is wrong in one line."""
        from core.data.formats.mapping import preview
        from core.spec import SourceSpec

        try:
            rows = preview(self._head[:SHOWN], SourceSpec(source=self._source, **chosen))
        except UserError as error:
            return [], error.line()
        return rows, next((f"row {row['row']}: {row['problem']}" for row in rows if row.get("problem")), "")

    def on_descendant_focus(self) -> None:
        field = str(getattr(self.focused, "id", "") or "")
        kind, _, role = field.partition("-")
        self.query_one("#hint", Static).update(ROLES.get(role, "") if kind == "role" else HINTS.get(kind, ""))

    @property
    def term(self) -> str:
        return "columns"

    # -- keys

    def action_scroll(self, rows: int) -> None:
        self.query_one("#become").scroll_relative(y=rows, animate=False)

    @on(Button.Pressed, "#use")
    def action_use(self) -> None:
        if not self.query_one("#use", Button).disabled:
            self.dismiss(self.chosen())

    @on(Button.Pressed, "#recognised")
    def action_recognised(self) -> None:
        self.dismiss({})

    @on(Button.Pressed, "#leave")
    def action_leave(self) -> None:
        self.dismiss(None)
