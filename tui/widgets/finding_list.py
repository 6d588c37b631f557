"""What was left out or mended, which can be taken back, and the findings as a list to walk through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual import on
from textual.content import Content
from textual.events import Resize
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui.remedies import WORDS
from tui.widgets.report_view import finding_line, in_order


def called(code: str) -> str:
    """What a finding's code means, in few words."""
    from core.glossary import term

    known = term(code)
    return known.name.lower() if known else code.replace("_", " ")


class FindingList(OptionList):
    """Enter on a finding says `Opened`, on what was done about one `TakenBack`."""

    class Opened(Message):
        def __init__(self, finding: Mapping[str, Any]) -> None:
            super().__init__()
            self.finding = finding

    class TakenBack(Message):
        def __init__(self, kind: str, code: str) -> None:
            super().__init__()
            self.kind, self.code = kind, code

    DEFAULT_CSS = """
    FindingList { background: $background; scrollbar-size-vertical: 1; padding: 0; }
    FindingList > .option-list--option { padding: 0; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, compact=True)
        self._findings: list[Mapping[str, Any]] = []
        self._taken: list[tuple[str, str]] = []
        self._drawn: tuple[Any, ...] | None = None

    @property
    def term(self) -> str:
        """The glossary's word for the marked finding, where it has one."""
        from core.glossary import term

        marked = self.marked
        return str(marked["code"]) if marked and term(str(marked.get("code"))) else "findings"

    @property
    def marked(self) -> Mapping[str, Any] | None:
        place = (self.highlighted or 0) - len(self._taken)
        return self._findings[place] if 0 <= place < len(self._findings) else None

    def show(self, findings: Sequence[Mapping[str, Any]], taken: Sequence[tuple[str, str]]) -> None:
        self._findings, self._taken = in_order(findings), list(taken)
        self._draw()

    def on_resize(self, event: Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        width = self.scrollable_content_region.width - 1
        state = (width, self._findings, self._taken)
        if width < 8 or state == self._drawn:
            return
        self._drawn = state
        marked = self.highlighted
        lines = [
            Content.styled(f"✓ {WORDS[kind]}: {called(code)} ⏎", "$text-success").truncate(
                width, ellipsis=True
            )
            for kind, code in self._taken
        ]
        lines += [self._line(one, width) for one in self._findings]
        if not self._findings:
            lines.append(Content.styled("✓ nothing wrong was found", "$text-success"))
        self.set_options(Option(line) for line in lines)
        self.highlighted = min(marked or 0, len(lines) - 1)

    @staticmethod
    def _line(finding: Mapping[str, Any], width: int) -> Content:
        if not finding.get("remedies"):
            return finding_line(finding, width)
        return finding_line({**finding, "todo": f"{finding.get('todo') or 'a key mends it'} ⏎"}, width)

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        place = event.option_index
        if place < len(self._taken):
            self.post_message(self.TakenBack(*self._taken[place]))
        elif place < len(self._taken) + len(self._findings):
            self.post_message(self.Opened(self._findings[place - len(self._taken)]))
