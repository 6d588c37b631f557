"""The table of runs on the home screen, the draft first: it keeps its cursor while its rows change."""

import time
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import DataTable

from tui.journey import NAMES, Journey

if TYPE_CHECKING:
    from tui.run_rows import RunRow

DRAFT = "the draft/"  # the draft's key in the table; no run's name has a slash
MARKS = {  # state -> mark and colour
    "starting": ("◌", "$primary"),
    "running": ("●", "$primary"),
    "stopping": ("◍", "$warning"),
    "stopped": ("■", "$warning"),
    "finished": ("✓", "$success"),
    "failed": ("✗", "$error"),
    "died": ("✗", "$error"),
    "damaged": ("✗", "$error"),
    "draft": ("✎", "$accent"),
}
NARROW = (("run", 22), ("state", 11), ("step", 13), ("loss", 6), ("started", 14))
WIDE = (
    ("run", 25),
    ("state", 11),
    ("step", 14),
    ("loss", 6),
    ("held out", 8),
    ("started", 14),
    ("model", 18),
)
WIDE_FROM = 98  # columns


class RunTable(DataTable[Content | str]):
    """`show` takes all rows by key; the columns follow the width."""

    DEFAULT_CSS = """
    RunTable { height: auto; max-height: 1fr; }
    RunTable > .datatable--header, RunTable:focus > .datatable--header {
        background: $background; color: $foreground 60%; text-style: none; background-tint: transparent;
    }
    RunTable > .datatable--even-row, RunTable > .datatable--odd-row { background: $background; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter", "select_cursor", "open", tooltip="Watch the run, or take up the draft", id="runs.open"
        ),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row")
        self.shown: dict[str, RunRow | Journey] = {}

    def on_resize(self) -> None:
        columns = WIDE if self.size.width >= WIDE_FROM else NARROW
        if len(self.columns) != len(columns):
            self.clear(columns=True)
            for name, width in columns:
                self.add_column(name, width=width, key=name)
            self.show(self.shown)

    @property
    def chosen(self) -> "RunRow | Journey | None":
        """The row under the cursor: a run, the draft, or nothing."""
        if not self.columns or not self.is_valid_row_index(self.cursor_row):
            return None
        return self.shown.get(str(self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value))

    def show(self, rows: "dict[str, RunRow | Journey]") -> None:
        """Put rows on the screen; the cursor stays on its run, and only cells that changed are drawn."""
        before = self.chosen
        self.shown = rows
        if not self.columns:
            return  # the width is not known yet; `on_resize` shows them
        wanted = {key: cells(row) for key, row in rows.items()}
        if list(wanted) != [str(key.value) for key in self.rows]:
            at = DRAFT if isinstance(before, Journey) else before.name if before is not None else ""
            self.clear()
            for key, by_name in wanted.items():
                self.add_row(*(by_name[str(column.value)] for column in self.columns), key=key)
            if at in wanted:
                self.move_cursor(row=list(wanted).index(at), animate=False)
            return
        for key, by_name in wanted.items():
            for column in self.columns:
                if self.get_cell(key, column) != by_name[str(column.value)]:
                    self.update_cell(key, column, by_name[str(column.value)])


def cells(row: "RunRow | Journey") -> dict[str, Content | str]:
    """One table row, by column name."""
    if isinstance(row, Journey):
        at = f"at {NAMES[row.step]}"
        return {"run": Content.styled("your draft", "bold"), "state": _state("draft"), "step": at, "loss": "",
                "held out": "", "started": "", "model": row.label}  # fmt: skip
    steps = f"{row.step:,} / {row.steps:,}" if row.steps else "–"
    started = ago(time.time() - row.started) if row.started else "–"
    return {
        "run": row.name,
        "state": _state(row.state),
        "step": steps,
        "loss": _loss(row.loss),
        "held out": _loss(row.held_out),
        "started": started,
        "model": row.model,
    }


def _state(state: str) -> Content:
    mark, colour = MARKS[state]
    return Content.styled(f"{mark} {state}", colour)


def ago(seconds: float) -> str:
    """How long since, as coarse as one would say it."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            number = int(seconds // size)
            return f"{number} {unit}{'s' if number > 1 else ''} ago"
    return "just now"


def _loss(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def about(row: "RunRow | Journey") -> Content:
    """What is to know of the row under the cursor."""
    if isinstance(row, Journey):
        return Content.assemble(
            ("Continue your draft", "bold $primary"),
            f"  {row.label}\n\nYou were at {NAMES[row.step]}. Enter goes on there; nothing was lost.",
        )
    what = " · ".join(part for part in (row.method, row.model, row.data) if part)
    words: list[Content | str | tuple[str, str]] = [(row.name, "bold $primary"), f"  {what}\n"]
    if row.why:
        words.append((f"\n{row.why}", MARKS[row.state][1] if row.state != "finished" else ""))
    todo = {
        "stopped": "\nr goes on from the last checkpoint.",
        "died": "\nr goes on from the last checkpoint.",
        "failed": "\nEnter shows its log; r tries again from the last checkpoint.",
        "damaged": "\nd deletes it.",
    }.get(row.state, "")
    words += [todo, (f"\n{row.path}", "$foreground 60%")]
    return Content.assemble(*words)
