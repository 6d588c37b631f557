"""The dials of the Data step: the length and what becomes of longer rows, the held-out rows, each source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Label, Select

from tui import find_out, source_choice
from tui.widgets.field import Field, number
from tui.widgets.length_panel import LONG

if TYPE_CHECKING:
    from tui.journey import Journey

SHARES = ("0", "0.02", "0.05", "0.1", "0.2")
LENGTHS = ("128", "256", "512", "1024", "2048", "4096", "8192", "16384", "32768")
PACKING = {"off": "one at a time, padded", "on": "packed: several in one"}
"""What can be done with rows shorter than the length."""
OF_SOURCE = ("data.limit", "data.weight", "data.config", "data.split")
"""Dials that are about the marked source alone."""


class DataDials(Vertical):
    class Changed(Message):
        """A choice was changed; `of_length`: nothing needs to be read again for it."""

        def __init__(self, of_length: bool) -> None:
            super().__init__()
            self.of_length = of_length

    DEFAULT_CSS = """
    DataDials { height: auto; }
    DataDials .pair { height: 1; }
    DataDials .pair > * { width: 1fr; margin-right: 1; }
    DataDials .choice { height: 1; }
    DataDials .choice Label { width: 13; color: $text-muted; }
    DataDials .choice Select { width: 27; }
    DataDials .choice:focus-within Label { color: $text-primary; text-style: bold; }
    """

    def __init__(self, journey: Journey) -> None:
        super().__init__()
        self._journey = journey
        self._which = 0

    def compose(self) -> ComposeResult:
        with Horizontal(classes="pair"):
            yield self._dial("length", "length", "length", "auto", "tokens a row", LENGTHS)
            with Horizontal(classes="choice"):
                yield Label("longer rows")
                yield self._select("long", [(words, key) for key, words in LONG.items()])
        with Horizontal(classes="pair"):
            yield self._dial("data.eval", "held out", "held-out", "0.05", "of the rows, or a file", SHARES)
            with Horizontal(classes="choice"):
                yield Label("short rows")
                yield self._select("packing", [(words, key) for key, words in PACKING.items()])
        with Horizontal(classes="pair", id="of-source"):
            limits, weights = ("100", "1000", "10000"), ("0.1", "0.25", "0.5", "1", "2", "3", "5")
            yield self._dial("data.limit", "rows at most", "limit", "all", "for a first try", limits)
            yield self._dial("data.weight", "weight", "mixture", "1", "2: each row twice an epoch", weights)
        with Horizontal(classes="pair", id="of-hub"):
            yield self._dial("data.config", "configuration", "configuration", "default", "of the Hub set")
            yield self._dial("data.split", "split", "split", "train", "or train[:1000]")

    def _select(self, name: str, choices: list[tuple[str, str]]) -> Select[str]:
        select: Select[str] = Select(
            choices, value=self._chosen(name), allow_blank=False, compact=True, id=name
        )
        select.term = name  # type: ignore[attr-defined]
        return select

    def _chosen(self, name: str) -> str:
        """What stands in one of the lists."""
        if name == "long":
            return str(self._journey.get("data.long") or "cut")
        return "on" if self._journey.get("packing") else "off"

    def _dial(
        self, key: str, label: str, term: str, auto: str, hint: str, values: tuple[str, ...] = ()
    ) -> Field:
        return Field(key, label, term=term, value=self._text(key), auto=auto, hint=hint, values=values)

    def _text(self, key: str) -> str:
        if key in OF_SOURCE:
            chosen = source_choice.get(self._journey, self._which, key.removeprefix("data."))
        else:
            chosen = self._journey.get(key)
        return "" if chosen is None else str(chosen)

    def on_mount(self) -> None:
        self.load(0)

    def first(self) -> Field:
        """The first dial that is about the marked source."""
        weight = self.query_one("#field-data-weight", Field)
        return weight if weight.display else self.query_one("#field-data-limit", Field)

    def load(self, which: int) -> None:
        """Shows the choices as they are, those of a source for the marked one."""
        self._which = which
        several = source_choice.count(self._journey) > 1
        hub = source_choice.on_hub(str(source_choice.get(self._journey, which, "source") or ""))
        shown = {"data.weight": several, "data.config": hub, "data.split": hub}
        for field in self.query(Field):
            field.display = shown.get(field.key, True)
            if field.value != self._text(field.key):
                field.load(self._text(field.key))
        self.query_one("#of-hub").display = hub
        for name in ("long", "packing"):
            self.query_one(f"#{name}", Select).value = self._chosen(name)

    def tell(self, report: Mapping[str, Any]) -> None:
        """The hints that rest on what was found."""
        told = find_out.at_length(self._journey, dict(report)) if not self._journey.get("length") else None
        if told:
            self.query_one("#field-length", Field).auto(str(told["length"]))
        own = report.get("has_eval_split")
        field = self.query_one("#field-data-eval", Field)
        if own and field.value != str(own):
            field.hint(f"e takes its own: {source_choice.short(str(own))}")
        elif field.value == "":
            field.hint("")

    def hold_out(self, own: str) -> None:
        """The set's own split is held out."""
        field = self.query_one("#field-data-eval", Field)
        field.dial.value = own

    @on(Field.Changed)
    def _dialled(self, event: Field.Changed) -> None:
        event.stop()
        key, value = event.field.key, number(event.value)
        if key in OF_SOURCE:
            if key in ("data.config", "data.split") and value is not None:
                value = event.value
            refused = source_choice.choose(self._journey, self._which, key.removeprefix("data."), value)
        else:
            refused = find_out.choose(self._journey, key, value)
        event.field.refuse(refused)
        if not refused:
            self.post_message(self.Changed(key == "length"))

    @on(Select.Changed)
    def _listed(self, event: Select.Changed) -> None:
        event.stop()
        name, value = str(event.select.id), str(event.value)
        if value == self._chosen(name):
            return
        if name == "long":
            self._journey.set("data.long", None if value == "cut" else value)
        else:
            self._journey.set("packing", True if value == "on" else None)
        self.post_message(self.Changed(True))
