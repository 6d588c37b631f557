"""Data: where the rows come from, what they are, how long, and what is wrong with them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import OptionList, Static

from core.errors import UserError
from tui import find_out, remedies, source_choice
from tui.widgets.data_dials import DataDials
from tui.widgets.data_found import DataFound, shown_findings
from tui.widgets.finding_list import FindingList
from tui.widgets.finding_pane import FindingPane
from tui.widgets.mapping import MappingScreen
from tui.widgets.progress_line import ProgressLine, refusal
from tui.widgets.report_view import format_line, rows_line, worst
from tui.widgets.source_chooser import SourceChooser
from tui.widgets.source_list import SourceList, source_line
from tui.widgets.step_frame import StepScreen

SETTLED = 0.6
"""Seconds without a change after which the data is read again."""


class DataScreen(StepScreen):
    step = "data"
    title = "What shall it learn from?"
    AUTO_FOCUS = ""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "columns", "columns", tooltip="Say by hand what each column is", id="data.columns"),
        Binding("f", "findings", "findings", tooltip="Walk through what was found", id="data.findings"),
        Binding("plus", "add", "add", key_display="+", tooltip="Mix in a further source", id="data.add"),
        Binding("minus", "remove", "remove", key_display="-", tooltip="Take the marked source out"),
        Binding("s", "source", "source", tooltip="Choose another source in this one's place"),
        Binding("e", "own_split", "hold out its own", tooltip="Hold out the split that comes with the set"),
        Binding("u", "undo", "undo", tooltip="Take the last remedy back", id="data.undo"),
    ]
    DEFAULT_CSS = """
    DataScreen #refusal { height: 1fr; min-height: 6; margin-top: 1; }
    DataScreen.-tall #rows { margin-top: 1; height: auto; max-height: 12; }
    DataScreen.-tall #below { margin: 1 0; height: 1fr; max-height: 100%; }
    DataScreen.-tall #sentence { margin-bottom: 1; }
    DataScreen #format { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def compose_step(self) -> Iterable[Widget]:
        yield SourceChooser(self.journey, self.app.runs_dir)
        yield SourceList(id="sources")
        yield Static(id="format")
        yield ProgressLine(id="progress")
        yield Static(id="refusal")
        yield DataFound(id="found")
        yield DataDials(self.journey)

    def on_mount(self) -> None:
        self._error: UserError | None = None
        self._later: Timer | None = None
        self._report: dict[str, Any] | None = None  # what is shown, also while it is read again
        if source_choice.count(self.journey):
            self.read(fresh=True)
            self.query_one("#next").focus()
        else:
            self.query_one("#source").focus()
        self._show()

    # -- which source

    @property
    def _which(self) -> int:
        """The source that keys and dials are about, counted from 0."""
        marked = self.query_one(SourceList).highlighted
        return min(marked or 0, max(source_choice.count(self.journey) - 1, 0))

    @property
    def _listing(self) -> bool:
        return self.query_one(SourceChooser).listing

    @on(SourceChooser.Taken)
    def _taken(self, event: SourceChooser.Taken) -> None:
        source_choice.take(self.journey, event.which, event.source)
        self._anew()

    @on(SourceChooser.Entered)
    def _entered(self) -> None:
        if self._error:
            self._anew()
        elif self._listing:
            self._close()
        else:
            self.action_next()

    @on(SourceChooser.Changed)
    def _choosing(self) -> None:
        self._show()

    def _anew(self) -> None:
        """Other sources than before: all that is shown goes."""
        self._report = None
        self._close()
        self.read(fresh=True)

    def _close(self) -> None:
        self.query_one(SourceChooser).close()
        self.query_one(DataDials).load(self._which)
        self.query_one("#next").focus()
        self._show()

    def action_source(self) -> None:
        self.query_one(SourceChooser).choose(self._which)

    def action_add(self) -> None:
        self.query_one(SourceChooser).choose(source_choice.count(self.journey))

    def action_remove(self) -> None:
        which = self._which
        source_choice.remove(self.journey, which)
        self.query_one(SourceList).highlighted = max(which - 1, 0)
        self._anew()

    def action_back(self) -> None:
        """Out of the field first, where a source was chosen before."""
        if self._listing and source_choice.count(self.journey) and not self.help_is_open:
            self._close()
        else:
            super().action_back()

    @on(OptionList.OptionHighlighted, "#sources")
    def _marked(self) -> None:
        self.query_one(DataDials).load(self._which)

    @on(OptionList.OptionSelected, "#sources")
    def _selected(self) -> None:
        self.query_one(DataDials).first().dial.focus()

    # -- reading it

    @work(exclusive=True, group="read")
    async def read(self, fresh: bool = False) -> None:
        """First the head, then all of it, in processes of their own; nothing where what is known holds."""
        line = self.query_one("#progress", ProgressLine)
        self._error = None
        self.note("")
        try:
            if self.journey.report is None:
                line.progress("reading the data")
                if fresh:
                    await self._tell(find_out.preview(self.journey, line.progress))
            await self._tell(find_out.report(self.journey, line.progress))
            await self._weigh()
        except UserError as error:
            self._error = error
        finally:
            line.quiet()
        self._show()
        self.refresh_frame()

    async def _tell(self, answer: Any) -> None:
        self._report = await answer
        self._show()

    async def _weigh(self) -> None:
        """What a length costs on this machine; without model or network it is not said."""
        with contextlib.suppress(UserError):
            await find_out.machine(self.journey)
            await find_out.shape(self.journey)

    @on(DataDials.Changed)
    def _dialled(self, event: DataDials.Changed) -> None:
        if event.of_length:
            self.query_one(DataFound).show_length(self._report or {}, self.journey)
            self._show_found()
        elif source_choice.count(self.journey):
            self._again()

    def _again(self) -> None:
        """Reads again once the keys rest; what is shown stays until then."""
        if self._later is not None:
            self._later.stop()
        self._later = self.set_timer(SETTLED, self.read)

    # -- what each column is

    def action_columns(self) -> None:
        if self._report is None and not self._error:
            self.note("the columns are known once the data has been read", "warn")
        elif source_choice.count(self.journey):
            self.map_columns(self._which)

    @work(exclusive=True, group="map")
    async def map_columns(self, which: int) -> None:
        """Opens the mapping of one source with its first rows as they are."""
        source = str(source_choice.get(self.journey, which, "source"))
        keys = ("format", "columns", "instruction", "fill")
        chosen = {key: source_choice.get(self.journey, which, key) for key in keys}
        try:
            found = await find_out.head(self.journey, which)
        except UserError as error:
            self.note(error.line(), "stop")
            return
        rows = found.get("head") or found.get("sample") or []
        screen = MappingScreen(source_choice.short(source), found["columns"], rows, found["format"], chosen)
        said = await self.app.push_screen_wait(screen)
        if said is None:
            return
        for key in keys:
            refused = source_choice.choose(self.journey, which, key, said.get(key))
            if refused:
                self.note(refused, "stop")
        self.read(fresh=True)

    # -- findings

    def action_findings(self) -> None:
        if self.query_one("#found").display:
            self.query_one(FindingList).focus()

    @on(FindingList.Opened)
    def _opened(self, event: FindingList.Opened) -> None:
        self.app.push_screen(FindingPane(event.finding), self._chosen)

    def _chosen(self, chosen: tuple[str, Any] | None) -> None:
        if chosen is None:
            return
        kind, value = chosen
        if kind == "look":
            self.journey.row, self.journey.source = value
            self.action_next()
            return
        refused = remedies.apply(self.journey, value)
        if refused:
            self.note(refused, "stop")
            return
        self._changed(f"{value['label']}: u takes it back")

    @on(FindingList.TakenBack)
    def _taken_back(self, event: FindingList.TakenBack) -> None:
        remedies.take_back(self.journey, event.kind, event.code)
        self._changed("taken back")

    def action_undo(self) -> None:
        undone = remedies.undo(self.journey)
        if undone:
            self._changed(f"taken back: {undone}")

    def _changed(self, said: str) -> None:
        self.query_one(DataDials).load(self._which)
        self._show_found()
        self._again()
        self.note(said, "good")

    def action_own_split(self) -> None:
        own = (self._report or {}).get("has_eval_split")
        if own:
            self.query_one(DataDials).hold_out(str(own))

    # -- showing it

    def on_resize(self) -> None:
        super().on_resize()
        self.call_after_refresh(self._show_found)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that would do nothing now are not offered."""
        if not self.is_mounted or not hasattr(self, "_report"):
            return True
        sources = source_choice.count(self.journey)
        offered = {
            "add": sources > 0,
            "remove": sources > 1,
            "source": sources > 0,
            "columns": sources > 0,
            "findings": self._report is not None,
            "undo": bool(self.journey.applied),
            "own_split": bool((self._report or {}).get("has_eval_split")),
        }
        return offered.get(action, True)

    def _show(self) -> None:
        """The list to choose from, or what was found, and the lines that tell how it stands."""
        listing, report, error = self._listing, self._report, self._error
        self.query_one("#sources").display = not listing and source_choice.count(self.journey) > 1
        refused = self.query_one("#refusal", Static)
        refused.display = bool(error) and not listing
        refused.update(refusal(error) if error else "")
        self.query_one("#found").display = not listing and not error
        line, kind = self.query_one("#progress", ProgressLine), self.query_one("#format", Static)
        kind.display = line.display = not listing
        told = Content("") if error or report is None else format_line(report, line.busy)
        if error:
            line.quiet()  # it stands below, whole
        elif report is not None and line.busy:
            told = Content.assemble(told, " · ", rows_line(report))
        elif report is not None:
            line.update(rows_line(report))
        kind.update(told)
        self._show_sources()
        if not listing:
            self.call_after_refresh(self._show_found)  # once there is room for it
        self.refresh_bindings()

    def _show_sources(self) -> None:
        journey, report, place = self.journey, self._report or {}, self.query_one(SourceList)
        about, whole = report.get("sources") or (), bool(report.get("complete", True))
        drawn = [
            source_line(
                which,
                str(source_choice.get(journey, which, "source")),
                float(source_choice.get(journey, which, "weight") or 1),
                about[which] if which < len(about) else None,
                whole,
                place.size.width or 76,
            )
            for which in range(source_choice.count(journey))
        ]
        place.show(drawn, self._which)

    def _show_found(self) -> None:
        self._show_sources()
        if self._report is not None:
            self.query_one(DataFound).show(self._report, self.journey)
            self.query_one(DataDials).tell(self._report)

    def problem(self) -> str:
        if not source_choice.count(self.journey) or self._listing:
            return "choose a source first: Enter takes the marked one"
        if self._error:
            return self._error.line()
        if self._report is None:
            return "the data is still being read"
        stop = worst(shown_findings(self._report, self.journey))
        return f"press m to name the columns: {stop}" if stop and self._report.get("columns") else stop
