"""What was found in the data: its first rows, how long the rows are, and the findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import DataTable, Static

from tui import find_out
from tui.remedies import taken
from tui.widgets.finding_list import FindingList
from tui.widgets.length_panel import OF_LENGTH, LengthPicture, length_sentence
from tui.widgets.report_view import cell, columns_line

if TYPE_CHECKING:
    from tui.journey import Journey


class DataFound(Vertical):
    """Keeps what it showed while the data is read again, so that nothing jumps."""

    DEFAULT_CSS = """
    DataFound { height: 1fr; min-height: 10; }
    DataFound #columns { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    DataFound #rows { height: 1fr; min-height: 3; background: $background; scrollbar-size-vertical: 1; }
    DataFound #below { height: 1fr; min-height: 4; max-height: 6; }
    DataFound #lengths { width: 1fr; height: 100%; }
    DataFound #findings { width: 1fr; height: 100%; margin-left: 2; }
    DataFound #sentence { height: 2; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._sample: Any = None

    def compose(self) -> ComposeResult:
        yield Static(id="columns")
        rows: DataTable[str] = DataTable(id="rows", cursor_type="row", zebra_stripes=True)
        rows.term = "columns"  # type: ignore[attr-defined]
        yield rows
        with Horizontal(id="below"):
            yield LengthPicture(id="lengths")
            yield FindingList(id="findings")
        yield Static(id="sentence")

    def show(self, report: dict[str, Any], journey: Journey) -> None:
        """A report, read with whatever length; what the length does is told for the one that is chosen."""
        self.query_one("#columns", Static).update(columns_line(report.get("columns") or {}))
        self._fill(report)
        self.show_length(report, journey)
        self.query_one(FindingList).show(shown_findings(report, journey), taken(journey))

    def show_length(self, report: dict[str, Any], journey: Journey) -> None:
        """The picture and the sentence for the length that is chosen now, or that the plan would choose."""
        told = find_out.at_length(journey, report)
        length = told["length"] if told else journey.get("length")
        self.query_one(LengthPicture).show(report.get("lengths"), length)
        sentence = length_sentence(told, report.get("lengths"), length, journey.get("data.long") or "cut")
        self.query_one("#sentence", Static).update(sentence)

    def _fill(self, report: Mapping[str, Any]) -> None:
        sample = report.get("sample") or []
        if self._sample == sample:
            return
        self._sample = sample
        table = self.query_one("#rows", DataTable)
        table.clear(columns=True)
        names = list(report.get("columns") or {})
        wide = 90 if len(names) < 2 else 60 if len(names) == 2 else 40
        for name in names:
            table.add_column(name, key=name)
        for row in sample:
            table.add_row(*[cell(row.get(name, ""), wide) for name in names])


def shown_findings(report: Mapping[str, Any], journey: Journey) -> list[Mapping[str, Any]]:
    """The report's findings as they are for this screen: its keys stand for the commands' options.

    Those about a length that is no longer the chosen one are left out.
    """
    from core.data.formats.columns import HOW_TO_MAP

    found: list[Mapping[str, Any]] = [
        {**one, "todo": str(one.get("todo") or "").replace(HOW_TO_MAP, "m says which column is what")}
        for one in report.get("findings") or ()
    ]
    now = (journey.get("length"), journey.get("data.long") or "cut")
    if (report.get("length"), report.get("long") or "cut") == now:
        return found
    return [one for one in found if one.get("code") not in OF_LENGTH]
