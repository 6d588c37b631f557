"""One finding opened: its rows, what it means, and a key for each remedy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui.widgets.report_view import MARKS

MOST_ROWS = 40
"""Row numbers that are listed; the rest is counted."""

Chosen = tuple[str, Any]
"""("remedy", the remedy) or ("look", (a row's number, its source's))."""


def row_numbers(finding: Mapping[str, Any]) -> str:
    """The rows that it is about: `rows 17, 44, 90 and 1,204 more`."""
    rows = [int(row) for row in finding.get("rows") or ()]
    if not rows:
        return "it is about the data as a whole"
    more = max(int(finding.get("count") or 0), len(rows)) - len(rows[:MOST_ROWS])
    named = ", ".join(f"{row:,}" for row in rows[:MOST_ROWS])
    return f"row{'s' if len(rows) > 1 else ''} {named}" + (f" and {more:,} more" if more > 0 else "")


class FindingPane(ModalScreen["Chosen | None"]):
    """Gives back what was chosen, or None when it was only looked at."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "leave it"),
        *(Binding(str(number), f"take({number})", show=False) for number in range(1, 10)),
        Binding("v", "look", "view the first row"),
    ]
    DEFAULT_CSS = """
    FindingPane { align: center middle; background: $background 60%; }
    FindingPane #box {
        width: 76; max-width: 96%; height: auto; max-height: 90%; padding: 1 2; background: $surface;
        border: round $primary; border-title-color: $primary; border-subtitle-color: $text-muted;
    }
    FindingPane Static { height: auto; }
    FindingPane #means { margin-top: 1; color: $foreground 75%; }
    FindingPane #rows { margin-top: 1; color: $foreground 75%; }
    FindingPane #choices { height: auto; margin-top: 1; background: $surface; }
    """

    def __init__(self, finding: Mapping[str, Any]) -> None:
        super().__init__()
        self._finding = finding
        self._remedies = list(finding.get("remedies") or ())[:9]

    def compose(self) -> ComposeResult:
        from core.glossary import term

        mark, colour = MARKS[str(self._finding.get("severity", "info"))]
        means = term(str(self._finding.get("code")))
        with VerticalScroll(id="box", can_focus=False) as box:
            box.border_title = means.name if means else "finding"
            box.border_subtitle = "esc leaves it as it is"
            message = str(self._finding.get("message", ""))
            yield Static(Content.assemble((f"{mark} ", f"bold {colour}"), (message, "bold")))
            todo = "" if self._remedies and means else _sentence(str(self._finding.get("todo") or ""))
            words = " ".join(filter(None, [means.text if means else "", todo]))
            if words:
                yield Static(words, id="means", markup=False)
            yield Static(row_numbers(self._finding), id="rows", markup=False)
            yield OptionList(*self._choices(), id="choices", compact=True, markup=False)

    def _choices(self) -> list[Option]:
        found = [
            Option(f"{number}  {remedy['label']}", id=f"take-{number}")
            for number, remedy in enumerate(self._remedies, 1)
        ]
        if self._finding.get("rows"):
            found.append(Option("v  view the first of them as the model sees it", id="look"))
        return [*found, Option("esc  leave it as it is", id="leave")]

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        name = str(event.option.id)
        if name.startswith("take-"):
            self.action_take(int(name.removeprefix("take-")))
        elif name == "look":
            self.action_look()
        else:
            self.action_leave()

    def action_take(self, number: int) -> None:
        if number <= len(self._remedies):
            self.dismiss(("remedy", self._remedies[number - 1]))

    def action_look(self) -> None:
        if self._finding.get("rows"):
            self.dismiss(("look", (int(self._finding["rows"][0]), int(self._finding.get("source") or 0))))

    def action_leave(self) -> None:
        self.dismiss(None)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""
