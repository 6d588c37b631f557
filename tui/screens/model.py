"""Model: the base model, what of it fits this machine, and why one is marked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from core.errors import UserError
from core.job import run_job_async
from tui import find_out
from tui.model_list import (
    BARE,
    Offer,
    card_of,
    catalogue_offers,
    demo_model,
    folder_offer,
    folders_near,
    line,
    looks_typed,
    matches,
    recommended,
)
from tui.recent import recent
from tui.widgets.field import Field
from tui.widgets.model_about import about
from tui.widgets.progress_line import ProgressLine, refusal
from tui.widgets.source_field import SourceField
from tui.widgets.step_frame import StepScreen

SEARCH_AFTER = 0.8
"""Seconds without a key after which the Hub is asked."""

LEAST_SEARCHED = 3
"""Letters from which a search on the Hub says something."""


class ModelScreen(StepScreen):
    step = "model"
    title = "Which model shall learn?"
    AUTO_FOCUS = "#search"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "slash",
            "search",
            "search",
            key_display="/",
            tooltip="Type a name, a Hub id or a folder",
            id="model.search",
        ),
    ]
    DEFAULT_CSS = """
    ModelScreen #where { height: 1; }
    ModelScreen #where Label { width: 13; color: $text-muted; }
    ModelScreen #both { layout: horizontal; height: 1fr; margin-top: 1; }
    ModelScreen #models { width: 1fr; height: 100%; scrollbar-size-vertical: 1; background: $background; }
    ModelScreen #about { width: 34; height: 100%; padding-left: 3; }
    ModelScreen #about Static { height: auto; }
    ModelScreen.-narrow #both { layout: vertical; margin-top: 0; }
    ModelScreen.-narrow #models { height: 1fr; width: 100%; }
    ModelScreen.-narrow #about { width: 100%; height: 5; padding: 0; }
    """

    def compose_step(self) -> Iterable[Widget]:
        with Horizontal(id="where"):
            yield Label("model")
            yield SourceField(
                "",
                term="model",
                placeholder="type to search · owner/name on the Hub · a folder",
                id="search",
            )
        yield ProgressLine(id="progress")
        with Container(id="both"):
            models = OptionList(id="models", compact=True)
            models.term = "model"  # type: ignore[attr-defined]
            yield models
            with VerticalScroll(id="about", can_focus=False):
                yield Static()
        yield Field(
            "revision",
            "revision",
            term="revision",
            value=self.journey.get("revision") or "",
            auto="main",
            hint="branch, tag or commit on the Hub; only to pin one",
        )

    def on_mount(self) -> None:
        self._offers: list[Offer] = []
        self._found: list[Offer] = []
        self._star, self._why = "", ""
        self._searching: Timer | None = None
        self._hub_answers = True
        self.gather()

    @work(exclusive=True, group="gather")
    async def gather(self) -> None:
        """Everything that can be offered without a network."""
        bar = self.query_one("#progress", ProgressLine)
        bar.progress("seeing what fits this machine")
        machine = await find_out.machine(self.journey)
        card = card_of(machine, self.journey.get("gpus", "auto"))
        runs_dir, here, aim = self.app.runs_dir, Path.cwd(), self.journey.get("aim")

        def offers() -> list[Offer]:
            known = {one.model: one for one in catalogue_offers(card)}
            used = [self.journey.get("model"), *recent(runs_dir, "model")]
            before = [
                known.get(name) or folder_offer(name, "used before", card) or Offer(name, name, "used before")
                for name in dict.fromkeys(filter(None, used))
            ]
            near = [
                folder_offer(folder, "found here", card, f"./{Path(folder).relative_to(here)}")
                for folder in folders_near(here)
            ]
            demo = folder_offer(demo_model(), "the demo", card)
            every = [*before, *filter(None, near), *([demo] if demo else []), *known.values()]
            return list({offer.model: offer for offer in reversed(every)}.values())[::-1]

        self._offers = await asyncio.to_thread(offers)
        self._star, self._why = recommended(self._offers, card, aim, hub=not machine.hub.offline)
        bar.quiet()
        self.fill(self.journey.get("model") or self._star)

    def _without_hub(self) -> None:
        """Nothing can be downloaded: another one is recommended, and marked."""
        assert self.journey.machine is not None
        self._hub_answers = False
        card = card_of(self.journey.machine, self.journey.get("gpus", "auto"))
        self._star, self._why = recommended(self._offers, card, self.journey.get("aim"), hub=False)
        with self.prevent(Input.Changed):  # what was refused stays in its line
            self.query_one("#search", SourceField).value = ""
        self.fill(self._star)
        self.note("the mark is now on one that is here", "info")

    # -- the list

    def shown(self) -> list[Offer]:
        """What the list holds now: all, the recommended one first; or what is typed and what matches it."""
        text = self.query_one("#search", SourceField).value.strip()
        if not text:
            star = [offer for offer in self._offers if offer.model == self._star]
            return star + [offer for offer in self._offers if offer.model != self._star]
        found = [offer for offer in self._offers if matches(offer, text)]
        held = {offer.model for offer in found}
        found += [offer for offer in self._found if offer.model not in held]
        exact = any(offer.model.lower() == text.lower() for offer in found)
        typed = [] if exact or not (looks_typed(text) or not found) else [Offer(text, text, "as typed")]
        return typed + found

    def fill(self, mark: str = "") -> None:
        """Lists the offers; the highlight stays where it was, or goes to `mark`."""
        models = self.query_one("#models", OptionList)
        mark = mark or (self.marked.model if self.marked else "")
        offers = {offer.model: offer for offer in self.shown()}
        width = max(models.size.width - 2, 40)
        models.set_options(
            Option(line(offer, offer.model == self._star, width), id=offer.model) for offer in offers.values()
        )
        names = list(offers)
        models.highlighted = names.index(mark) if mark in names else (0 if names else None)
        self._tell()

    @property
    def marked(self) -> Offer | None:
        """The offer under the cursor."""
        option = self.query_one("#models", OptionList).highlighted_option
        everything = [*self._offers, *self._found]
        if option is None:
            return None
        return next(
            (one for one in everything if one.model == option.id), Offer(str(option.id), str(option.id), "")
        )

    @on(OptionList.OptionHighlighted, "#models")
    def _tell(self) -> None:
        offer, machine = self.marked, self.journey.machine
        if offer is None or machine is None:
            return
        text = about(offer, machine, self.has_class("-narrow"))
        if offer.model == self._star:
            text = Content.assemble(
                ("★ recommended: ", "bold $text-warning"),
                self._why,
                "\n" if self.has_class("-narrow") else "\n\n",
                text,
            )
        self.query_one("#about Static", Static).update(text)
        self.query_one("#about").scroll_home(animate=False)

    def on_resize(self) -> None:
        if self._offers:
            self.call_after_refresh(self.fill)

    # -- typing

    def action_search(self) -> None:
        self.query_one("#search").focus()

    @on(SourceField.Down)
    def _move(self, event: SourceField.Down) -> None:
        models = self.query_one("#models", OptionList)
        (models.action_cursor_down if event.by > 0 else models.action_cursor_up)()

    @on(Input.Changed, "#search")
    def _typed(self, event: Input.Changed) -> None:
        self.query_one("#progress", ProgressLine).quiet()
        text = event.value.strip()
        self.fill(self._star if not text else "")
        if text:
            self.query_one("#models", OptionList).highlighted = 0
        if self._searching is not None:
            self._searching.stop()
        if len(text) >= LEAST_SEARCHED and not text.startswith(("/", ".", "~")) and self._hub_answers:
            self._searching = self.set_timer(SEARCH_AFTER, lambda: self.search_hub(text))

    @work(exclusive=True, group="hub")
    async def search_hub(self, text: str) -> None:
        """Adds what the Hub knows by these words. Without a network nothing is added, and nothing is said."""
        try:
            answer = await run_job_async("core.models.search", {"text": text})
        except UserError:
            self._hub_answers = False
            return
        known = {offer.model for offer in self._offers}
        self._found = [
            Offer(one["id"], one["id"], "on the Hub", gated=one["gated"], note="on the Hub")
            for one in answer["models"]
            if one["id"] not in known
        ]
        if self.query_one("#search", SourceField).value.strip() == text:
            self.fill()

    @on(Field.Changed)
    def _revision(self, event: Field.Changed) -> None:
        event.field.refuse(find_out.choose(self.journey, "revision", event.value or None))

    # -- going on

    @on(Input.Submitted, "#search")
    @on(OptionList.OptionSelected, "#models")
    def action_next(self) -> None:
        if self.marked is None:
            self.note("the list is being made" if not self._offers else "choose a model first", "warn")
        elif refused := self.refused():
            self.note(refused, "warn")
        else:
            self.take(self.marked)

    @work(exclusive=True, group="take")
    async def take(self, offer: Offer) -> None:
        """Looks at the model, and goes on when it can be used; otherwise says why not."""
        bar = self.query_one("#progress", ProgressLine)
        folder = Path(offer.model).expanduser()
        model = str(folder.absolute()) if folder.is_dir() else offer.model
        bar.progress(f"looking at {offer.shown}")
        self.journey.set("model", model)
        try:
            shape = await find_out.shape(self.journey)
            if offer.shape is not None and not offer.here and offer.note != BARE:
                from core.models.hub import read_remote

                # the catalogue knows its shape, but only the Hub whether it can be had, and by this user
                await asyncio.to_thread(read_remote, model, self.journey.get("revision"))
            if not shape.has_tokenizer:
                raise UserError(
                    f"{offer.shown} has no tokenizer",
                    "its folder holds no tokenizer.json or tokenizer.model",
                    "put the files of the model's tokenizer beside its config.json",
                )
        except UserError as error:
            bar.say(f"✗ {error.line()}", "stop")
            if "no network" in error.why:
                self._without_hub()
            else:
                self.query_one("#about Static", Static).update(refusal(error))
            return
        bar.quiet()
        self.refresh_frame()
        if not shape.has_weights:
            self.note("no weights in that folder: it can be planned, not trained", "warn")
        self.proceed()
