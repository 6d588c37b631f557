"""Review: the whole run on one page, what it takes and what could go wrong; from here it starts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from core.errors import UserError
from tui import find_out
from tui.widgets.ask import Ask
from tui.widgets.field import Field
from tui.widgets.progress_line import ProgressLine, refusal
from tui.widgets.report_view import finding_lines, worst
from tui.widgets.run_summary import summary
from tui.widgets.step_frame import StepScreen

if TYPE_CHECKING:
    from core.prepare import Prepared


class ReviewScreen(StepScreen):
    step = "review"
    title = "Is this the run?"
    next_label = "Start ›"
    AUTO_FOCUS = "#next"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "w",
            "write",
            "write YAML",
            tooltip="Write the run as a file that finetui train takes",
            id="review.write",
        ),
        Binding("y", "yaml", "YAML", tooltip="Show the YAML, or the page again", id="review.yaml"),
        Binding(
            "f",
            "full",
            "every key",
            tooltip="Every key of the YAML, or what differs from the defaults",
            id="review.full",
        ),
    ]
    DEFAULT_CSS = """
    ReviewScreen #field-name Dial { width: 40; }
    ReviewScreen #both { layout: horizontal; height: 1fr; margin-top: 1; }
    ReviewScreen #left { width: 1fr; height: 100%; scrollbar-size-vertical: 1; }
    ReviewScreen #left Static { height: auto; }
    ReviewScreen #right {
        width: 46; height: 100%; margin-left: 2; border: round $border-blurred; padding: 0 1;
        border-title-color: $foreground 60%; scrollbar-size-vertical: 1;
    }
    ReviewScreen #right:focus { border: round $border; }
    ReviewScreen #right Static { height: auto; }
    ReviewScreen #findings { margin-top: 1; }
    ReviewScreen.-narrow #both { margin-top: 0; }
    ReviewScreen.-narrow #right { display: none; width: 1fr; margin-left: 0; }
    ReviewScreen.-narrow.-yaml #right { display: block; }
    ReviewScreen.-narrow.-yaml #left { display: none; }
    """

    def compose_step(self) -> Iterable[Widget]:
        yield Field(
            "name",
            "name",
            term="runs",
            value=self.journey.get("name") or "",
            hint="of the run and its folder; made unique where one has it already",
        )
        yield ProgressLine(id="progress")
        with Container(id="both"):
            with VerticalScroll(id="left", can_focus=True):
                yield Static(id="whole")
                yield Static(id="findings")
            with VerticalScroll(id="right", can_focus=True) as right:
                right.border_title = "run.yaml"
                yield Static(id="yaml", markup=False)

    def on_mount(self) -> None:
        self._prepared: Prepared | None = None
        self._failed = ""
        self._every_key = False
        self._starting = False
        self.prepare()

    @work(exclusive=True, group="prepare")
    async def prepare(self) -> None:
        """Everything that is not known yet, then the spec with nothing left open."""
        from core.prepare import anchored, finish

        line = self.query_one("#progress", ProgressLine)
        line.progress("putting the run together")
        journey = self.journey
        self._failed = ""
        try:
            await find_out.plan(journey, line.progress, exact=True)
            assert journey.machine and journey.shape and journey.report
            spec = anchored(journey.spec())
            self._prepared = finish(
                spec, journey.machine, journey.shape, journey.report, known=journey.estimates
            )
        except UserError as error:
            self._failed, self._prepared = error.line(), None
            line.quiet()
            self.query_one("#whole", Static).update(refusal(error))
            return
        line.quiet()
        self._show()

    @on(Field.Changed)
    def _named(self, event: Field.Changed) -> None:
        refused = find_out.choose(self.journey, "name", event.value or None)
        event.field.refuse("letters, digits, dot, dash and underscore only" if refused else "")
        if not refused:
            self.prepare()

    def findings(self) -> list[dict[str, Any]]:
        """Everything found on the way to this run, and whether the disks have room for it; worst first."""
        return self._prepared.findings(self.app.runs_dir) if self._prepared else []

    # -- showing

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        from core.spec import dump_spec

        prepared = self._prepared
        if prepared is None:
            return
        left = self.query_one("#left")
        width = max(left.size.width - 2, 30)
        self.query_one("#whole", Static).update(summary(prepared, self.app.runs_dir, width))
        self.query_one("#findings", Static).update(
            Content.assemble(
                ("What could go wrong", "bold $primary"), "\n", finding_lines(self.findings(), width)
            )
        )
        self.query_one("#yaml", Static).update(dump_spec(prepared.spec, full=self._every_key))
        field = self.query_one("#field-name", Field)
        field.auto(prepared.spec.name or "")

    def action_yaml(self) -> None:
        self.toggle_class("-yaml")

    def action_full(self) -> None:
        self._every_key = not self._every_key
        self._show()

    def action_write(self) -> None:
        """Writes the resolved run beside where finetui was started, never over a file."""
        from core.spec import dump_spec

        if self._prepared is None:
            self.note("the run is still being put together", "warn")
            return
        name = self._prepared.spec.name or "run"
        path = next(path for path in _free_names(Path.cwd(), name) if not path.exists())
        try:
            path.write_text(dump_spec(self._prepared.spec), encoding="utf-8")
        except OSError as problem:
            self.note(f"{path} cannot be written: {problem.strerror}", "stop")
            return
        self.note(f"written: {path} · finetui train {path.name}", "good")

    # -- starting

    def problem(self) -> str:
        if self._failed:
            return self._failed
        if self._prepared is None:
            return "the run is still being put together"
        return worst(self.findings())

    def proceed(self) -> None:
        if not self._starting:
            self._starting = True
            self.start()

    @work(group="start")
    async def start(self, anyway: bool = False) -> None:
        """Starts the worker and goes to Train; a GPU that another run holds is asked about."""
        from core.runs.start import Busy, start

        assert self._prepared is not None
        line = self.query_one("#progress", ProgressLine)
        line.progress("starting the run")
        try:
            folder = await asyncio.to_thread(start, self._prepared.spec, self.app.runs_dir, anyway=anyway)
        except UserError as error:
            self._starting = False
            line.say(f"✗ {error.line()}", "stop")
            if not anyway and isinstance(error, Busy):
                self.app.push_screen(
                    Ask("Start anyway?", f"{error.line()}", yes="Start anyway", no="Not now"), self._anyway
                )
            return
        self.journey.clear_draft()
        self.journey.fresh()
        self.app.open_run(folder)

    def _anyway(self, yes: bool | None) -> None:
        if yes:
            self._starting = True
            self.start(anyway=True)


def _free_names(folder: Path, name: str) -> Iterable[Path]:
    yield folder / f"{name}.yaml"
    for count in range(2, 1000):
        yield folder / f"{name}-{count}.yaml"
