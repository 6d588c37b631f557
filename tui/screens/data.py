"""Data: where the rows come from, what they are, how long, and what is wrong with them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import DataTable, Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from core.errors import UserError
from tui import find_out
from tui.data_list import Offer, lines, offers
from tui.widgets.field import Field, number
from tui.widgets.mapping import ColumnMapping
from tui.widgets.progress_line import ProgressLine, refusal
from tui.widgets.report_view import cell, columns_line, finding_lines, length_lines, summary, worst
from tui.widgets.source_field import SourceField
from tui.widgets.step_frame import StepScreen

SETTLED = 0.6
"""Seconds without a change after which the data is read again."""


class DataScreen(StepScreen):
    step = "data"
    title = "What shall it learn from?"
    AUTO_FOCUS = "#source"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "columns", "columns", tooltip="Say by hand what each column is", id="data.columns"),
        Binding(
            "s",
            "source",
            "other source",
            tooltip="Choose another file, folder, URL or Hub id",
            id="data.source",
        ),
    ]
    DEFAULT_CSS = """
    DataScreen #where { height: 1; }
    DataScreen #where Label { width: 13; color: $foreground 60%; }
    DataScreen #near { height: 1fr; min-height: 6; margin-top: 1 }
    DataScreen #found { height: 1fr; min-height: 14; }
    DataScreen #refusal { height: 1fr; min-height: 6; margin-top: 1; }
    DataScreen #columns { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    DataScreen #rows { height: 1fr; min-height: 4; margin: 1 0; scrollbar-size-vertical: 1; }
    DataScreen #rows, DataScreen #near { background: $background; }
    DataScreen #below { height: 7; }
    DataScreen #lengths { width: 1fr; height: 100%; }
    DataScreen #findings { width: 1fr; height: 100%; padding-left: 2; scrollbar-size-vertical: 1; }
    DataScreen #findings Static { height: auto; }
    DataScreen .fields { height: 1; }
    DataScreen .fields Field { width: 1fr; }
    DataScreen.-short #rows { margin: 0; }
    DataScreen.-short #below { height: 5; }
    DataScreen.-tall #below { height: 9; }
    DataScreen.-tall .fields { margin-top: 1; }
    """

    def compose_step(self) -> Iterable[Widget]:
        with Horizontal(id="where"):
            yield Label("source")
            yield SourceField(
                str(self._source() or ""),
                term="data",
                placeholder="train.jsonl · a folder · https://… · owner/name on the Hub",
                id="source",
            )
        yield ProgressLine(id="progress")
        near = OptionList(id="near", compact=True)
        near.term = "data"  # type: ignore[attr-defined]
        yield near
        yield Static(id="refusal")
        with Vertical(id="found"):
            yield Static(id="columns")
            rows: DataTable[str] = DataTable(id="rows", cursor_type="row", zebra_stripes=True)
            rows.term = "columns"  # type: ignore[attr-defined]
            yield rows
            with Horizontal(id="below"):
                yield Static(id="lengths")
                with VerticalScroll(id="findings", can_focus=True):
                    yield Static()
        with Horizontal(classes="fields"):
            yield self._field(
                "data.eval",
                "held out",
                "held-out",
                "0.05",
                "of the rows, or a file",
                ("0", "0.02", "0.05", "0.1", "0.2"),
            )
            yield self._field(
                "length",
                "length",
                "length",
                "auto",
                "tokens a row",
                ("256", "512", "1024", "2048", "4096", "8192", "16384"),
            )
        with Horizontal(classes="fields"):
            yield self._field("data.split", "split", "split", "train", "of a Hub data set")
            yield self._field(
                "data.limit", "rows at most", "limit", "all", "for a first try", ("100", "1000", "10000")
            )

    def _field(
        self, key: str, label: str, term: str, auto: str, hint: str, values: tuple[str, ...] = ()
    ) -> Field:
        chosen = self.journey.get(key)
        value = "" if chosen is None else str(chosen)
        return Field(key, label, term=term, value=value, auto=auto, hint=hint, values=values)

    def on_mount(self) -> None:
        self._near: dict[str, Offer] = {}
        self._error: UserError | None = None
        self._later: Timer | None = None
        if self._source():
            self.read()
        else:
            self.list_near("")
        self._show()

    def _source(self) -> str | None:
        data = self.journey.choices.get("data")
        return data if isinstance(data, str) else (data or {}).get("source")

    @property
    def _field_text(self) -> str:
        return self.query_one("#source", SourceField).value.strip()

    @property
    def _listing(self) -> bool:
        """Whether a source is being chosen, rather than the chosen one shown."""
        return not self._source() or self._field_text != self._source()

    # -- choosing a source

    @on(Input.Changed, "#source")
    def _typed(self) -> None:
        if self._field_text != (self._source() or ""):
            self.list_near(self._field_text)
        self._show()

    @work(exclusive=True, group="near")
    async def list_near(self, text: str) -> None:
        """Offers what lies near, or how the typed path could go on."""
        found = await asyncio.to_thread(offers, text, Path.cwd(), self.app.runs_dir)
        near = self.query_one("#near", OptionList)
        self._near = {offer.key: offer for offer in found}
        near.set_options(Option(line, id=offer.key) for offer, line in zip(found, lines(found), strict=True))
        near.highlighted = 0

    @on(Input.Submitted, "#source")
    def _entered(self) -> None:
        text, known = self._field_text, self._source() or ""
        if text and text == known and not self._error:
            self.action_next()
            return
        highlighted = self.query_one("#near", OptionList).highlighted_option
        if self._listing and highlighted is not None and highlighted.id in self._near:
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
        self._pick(self._near[str(event.option.id)])

    def _pick(self, offer: Offer) -> None:
        """A folder is gone into; anything else is the source."""
        if offer.folder:
            field = self.query_one("#source", SourceField)
            field.value = offer.source
            field.cursor_position = len(offer.source)
            field.focus()
        else:
            self._take(offer.source)

    def _take(self, source: str) -> None:
        field = self.query_one("#source", SourceField)
        path = Path(source).expanduser()
        if path.exists():
            source = str(path.absolute())  # the worker runs elsewhere
        if source != self._source():
            for key in ("data.columns", "data.format", "data.split"):
                self.journey.set(key, None)  # these were about the other source
        self.journey.set("data.source", source)
        field.value = source
        self.query_one("#field-data-split", Field).load("")
        self.read()
        self.query_one("#next").focus()

    def action_source(self) -> None:
        field = self.query_one("#source", SourceField)
        field.value = ""
        field.focus()

    # -- reading it

    @work(exclusive=True, group="read")
    async def read(self) -> None:
        """Inspects the data in a process of its own, unless what is known still holds."""
        line = self.query_one("#progress", ProgressLine)
        self._error = None
        self.note("")
        if self.journey.report is None:
            line.progress("reading the data")
        self._show()
        try:
            await find_out.report(self.journey, line.progress)
        except UserError as error:
            self._error = error
        finally:
            line.quiet()
        self._show()
        self.refresh_frame()

    @on(Field.Changed)
    def _dialled(self, event: Field.Changed) -> None:
        refused = find_out.choose(self.journey, event.field.key, number(event.value))
        event.field.hint(refused, "stop" if refused else "")
        if not refused and self._source():
            if self._later is not None:
                self._later.stop()
            self._later = self.set_timer(SETTLED, self.read)

    def action_columns(self) -> None:
        """Opens the dialog in which columns are named by hand."""
        report = self.journey.report
        if report is None or not report.get("columns"):
            self.note("the columns are known once the data has been read", "warn")
            return
        known = self.journey.get("data.columns") or {
            role: name for name, role in report["columns"].items() if role
        }
        self.app.push_screen(
            ColumnMapping(list(report["columns"]), known, report.get("sample") or []), self._mapped
        )

    def _mapped(self, columns: dict[str, str] | None) -> None:
        if columns is None:
            return
        self.journey.set("data.columns", columns or None)
        self.journey.set("data.format", None)
        self.read()

    # -- showing it

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def _show(self) -> None:
        """List or report, and the line that tells how it stands."""
        listing = self._listing
        self.query_one("#near").display = listing
        refused = self.query_one("#refusal", Static)
        refused.display = bool(self._error) and not listing
        refused.update(refusal(self._error) if self._error else "")
        self.query_one("#found").display = not listing and not self._error
        line, report = self.query_one("#progress", ProgressLine), self.journey.report
        if self._error:
            line.quiet()  # it stands below, whole
        elif listing:
            line.say("type a path, URL or Hub id, or choose below: ↑ ↓ and Enter")
        elif not line.busy and report is not None:
            line.update(summary(report))
        if not listing:
            self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        report: dict[str, Any] = self.journey.report or {}
        self.query_one("#columns", Static).update(columns_line(report.get("columns") or {}))
        self._fill_rows(report)
        lengths, findings = self.query_one("#lengths", Static), self.query_one("#findings")
        if not report:
            lengths.update("")
            findings.query_one(Static).update("")
            return
        size = lengths.size
        lengths.update(length_lines(report, max(size.width - 1, 8), size.height, self.journey.get("length")))
        width = findings.size.width - 4
        findings.query_one(Static).update(finding_lines(report.get("findings") or (), width))

    def _fill_rows(self, report: dict[str, Any]) -> None:
        table = self.query_one("#rows", DataTable)
        sample = report.get("sample") or []
        if getattr(self, "_filled", None) is sample:
            return
        self._filled = sample
        table.clear(columns=True)
        names = list(report.get("columns") or {})
        wide = 90 if len(names) < 2 else 60 if len(names) == 2 else 40
        for name in names:
            table.add_column(name, key=name)
        for row in sample:
            table.add_row(*[cell(row.get(name, ""), wide) for name in names])

    def problem(self) -> str:
        if not self._source() or self._field_text != self._source():
            return "choose a source first: Enter takes the marked one"
        if self._error:
            return self._error.line()
        if self.journey.report is None:
            return "the data is still being read"
        stop = worst(self.journey.report.get("findings") or ())
        return f"press m to name the columns: {stop}" if stop and self.journey.report.get("columns") else stop
