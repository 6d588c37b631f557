"""The field that names a source, and while one is being chosen the list of what lies near."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from tui import source_choice
from tui.data_list import Offer, lines, offers
from tui.widgets.source_field import SourceField

if TYPE_CHECKING:
    from tui.journey import Journey


def stands(text: str) -> bool:
    """Whether a typed source can be meant as it is: a path that is there, an address, a Hub id."""
    return "://" in text or source_choice.on_hub(text) or Path(text).expanduser().exists()


class SourceChooser(Vertical):
    """Shows the first source until another is typed; `choose` asks for any of them, or for one more."""

    class Taken(Message):
        """A source was chosen for the place `which`."""

        def __init__(self, which: int, source: str) -> None:
            super().__init__()
            self.which, self.source = which, source

    class Changed(Message):
        """Choosing began or ended."""

    class Entered(Message):
        """Enter on the source that stands already."""

    DEFAULT_CSS = """
    SourceChooser { height: auto; }
    SourceChooser.-listing { height: 1fr; }
    SourceChooser #where { height: 1; }
    SourceChooser #where Label { width: 13; color: $foreground 60%; }
    SourceChooser #how, SourceChooser #near { display: none; }
    SourceChooser.-listing #how { display: block; height: 1; color: $foreground 60%; }
    SourceChooser.-listing #near { display: block; height: 1fr; min-height: 6; margin-top: 1; }
    SourceChooser.-several #where { display: none; }
    SourceChooser.-listing #where { display: block; }
    """

    def __init__(self, journey: Journey, runs_dir: Path) -> None:
        super().__init__()
        self._journey, self._runs_dir = journey, runs_dir
        self._near: dict[str, Offer] = {}
        self._editing: int | None = None  # which source the field chooses; None: it shows the first

    def compose(self) -> ComposeResult:
        with Horizontal(id="where"):
            yield Label("source", id="where-label")
            yield SourceField(
                self._known,
                term="data",
                placeholder="train.jsonl · a folder · https://… · owner/name on the Hub",
                id="source",
            )
        yield Static("type a path, URL or Hub id, or choose below: ↑ ↓ and Enter", id="how")
        near = OptionList(id="near", compact=True)
        near.term = "data"  # type: ignore[attr-defined]
        yield near

    def on_mount(self) -> None:
        if self.listing:
            self.list_near("")
        self._show()

    @property
    def field(self) -> SourceField:
        return self.query_one(SourceField)

    @property
    def _known(self) -> str:
        """What stands, or nothing, where the field chooses."""
        return str(source_choice.get(self._journey, self._editing or 0, "source") or "")

    @property
    def listing(self) -> bool:
        """Whether a source is being chosen, rather than what is in the chosen ones shown."""
        return self._editing is not None or not self._known or self.field.value.strip() != self._known

    def choose(self, which: int) -> None:
        """Asks for this source anew; nothing is changed until one is taken."""
        self._editing = which
        self.field.value = ""
        self.field.focus()
        self.list_near("")
        self._show()

    def close(self) -> None:
        """What stands is shown again."""
        self._editing = None
        self.field.value = self._known
        self._show()

    def _show(self) -> None:
        sources = source_choice.count(self._journey)
        adding = self._editing is not None and self._editing >= sources
        self.query_one("#where-label", Label).update("add" if adding else "source")
        was = self.has_class("-listing")
        self.set_class(self.listing, "-listing").set_class(sources > 1, "-several")
        if was != self.listing:
            self.post_message(self.Changed())

    @on(Input.Changed, "#source")
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if self.listing:
            self.list_near(self.field.value.strip())
        self._show()

    @work(exclusive=True, group="near")
    async def list_near(self, text: str) -> None:
        """Offers what lies near, or how the typed path could go on."""
        found = await asyncio.to_thread(offers, text, Path.cwd(), self._runs_dir)
        near = self.query_one("#near", OptionList)
        self._near = {offer.key: offer for offer in found}
        near.set_options(Option(line, id=offer.key) for offer, line in zip(found, lines(found), strict=True))
        # what is half typed and stands for nothing yet means the first that it could become
        near.highlighted = int(bool(text) and len(found) > 1 and not stands(text))

    @on(Input.Submitted, "#source")
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        text = event.value.strip()
        highlighted = self.query_one("#near", OptionList).highlighted_option
        if not self.listing or (text and text == self._known):
            self.post_message(self.Entered())
        elif highlighted is not None and highlighted.id in self._near:
            self._pick(self._near[highlighted.id])
        elif text:
            self._take(text)

    @on(SourceField.Down)
    def _into_list(self, event: SourceField.Down) -> None:
        near = self.query_one("#near", OptionList)
        if near.display:
            (near.action_cursor_down if event.by > 0 else near.action_cursor_up)()
        else:
            self.screen.focus_next()

    @on(OptionList.OptionSelected, "#near")
    def _picked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._pick(self._near[str(event.option.id)])

    def _pick(self, offer: Offer) -> None:
        """A folder is gone into; anything else is the source."""
        if offer.folder:
            self.field.value = offer.source
            self.field.cursor_position = len(offer.source)
            self.field.focus()
        else:
            self._take(offer.source)

    def _take(self, source: str) -> None:
        path = Path(source).expanduser()
        if path.exists():
            source = str(path.absolute())  # the worker runs elsewhere
        self.post_message(self.Taken(self._editing or 0, source))
