"""Train: one run as it learns, or as it ended. It only watches; what it wants it asks by the run folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import RichLog, Static

from tui.run_watch import LogTail, RunWatch, asked
from tui.widgets import run_numbers, run_text
from tui.widgets.ask import Ask
from tui.widgets.learning import LearningPictures
from tui.widgets.machine_panel import MachinePanel
from tui.widgets.picture import Picture
from tui.widgets.step_frame import StepScreen

if TYPE_CHECKING:
    from core.runs.folder import RunFolder

POLL_SECONDS = 0.5
PAINT_SECONDS = 0.5
PAINT_SECONDS_SSH = 1.0
"""A link that is slow or stalls must not be sent more pictures than it can carry."""
SAMPLES_DRAWN = 400
"""Ten minutes of them, and some more."""
PAINT_SHARE, PAINT_LATEST = 0.02, 3.0
"""Share of a core that the screen grants itself: on a slow box it is drawn less often, but every 3 s."""

TERMS = {
    "numbers": "gradient norm",
    "gpus": "utilisation",
    "now": "overfitting",
    "findings": "findings",
    "answers": "train",
    "log": "worker",
}


class TrainScreen(StepScreen):
    step = "train"
    AUTO_FOCUS = ""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "save", "save now", tooltip="A checkpoint after this step", id="train.save"),
        Binding("x", "stop", "stop", tooltip="Save and end after this step; asks first", id="train.stop"),
        Binding("r", "resume", "resume", tooltip="Go on from the last checkpoint", id="train.resume"),
        Binding("l", "log", "log", tooltip="Show or hide what the worker logs", id="train.log"),
        Binding("a", "answers", "answers", tooltip="What it answers as it learns", id="train.answers"),
        Binding("c", "chat", "chat", tooltip="Talk to the last checkpoint, or the result", id="train.chat"),
        Binding("q", "leave", "leave", tooltip="Leave finetui; the run goes on", id="train.leave"),
    ]

    DEFAULT_CSS = """
    TrainScreen #page { padding: 0 1; }
    TrainScreen #body { overflow: hidden; padding: 0; }
    TrainScreen #top { height: 1fr; }
    TrainScreen #left { width: 1fr; }
    TrainScreen #right { width: 47; }
    TrainScreen .panel { border: round $border-blurred; padding: 0 1; }
    TrainScreen .panel { border-title-color: $text-muted; border-subtitle-color: $text-muted; }
    TrainScreen .panel:focus { border: round $border; }
    TrainScreen #numbers:focus { background: $surface; }
    TrainScreen #gpus { height: 9; }
    TrainScreen #now { height: auto; min-height: 4; max-height: 10; }
    TrainScreen #findings { height: auto; max-height: 12; display: none; }
    TrainScreen #findings.-some { display: block; }
    TrainScreen #answers { height: 1fr; min-height: 4; }
    TrainScreen #log { height: 9; overflow-x: hidden; background: $background; color: $text-muted; }
    TrainScreen #numbers { height: 9; padding: 1 1 1 2; }
    TrainScreen.-short #log { display: none; }
    TrainScreen.-short .-rewards #chart { display: none; }
    TrainScreen.-short #numbers { height: 3; padding: 0 2; }
    TrainScreen.-narrow #top { layout: vertical; }
    TrainScreen.-narrow #left { width: 100%; }
    TrainScreen.-narrow #right { width: 100%; height: auto; }
    TrainScreen.-narrow #now { min-height: 3; max-height: 7; }
    TrainScreen.-narrow #answers { display: none; height: 14; }
    TrainScreen.-narrow.-short #findings { display: none; }
    TrainScreen.-show-log #log { display: block; height: 2fr; overflow-x: auto; }
    TrainScreen.-narrow.-short.-show-log #right { display: none; }
    TrainScreen.-narrow.-show-answers #answers { display: block; height: 1fr; }
    TrainScreen.-narrow.-show-answers #left { display: none; }
    TrainScreen.-narrow.-show-answers #right { height: 1fr; }
    """

    def __init__(self, run: RunFolder, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since the epoch."""
        super().__init__()
        self.run = run
        self.clock = clock
        self.known = RunWatch(run)
        self._tail = LogTail(run.log)
        self._steps: list[int] = []
        self._least = PAINT_SECONDS_SSH if os.environ.get("SSH_CONNECTION") else PAINT_SECONDS
        self._painted = self._cost = self._spent = 0.0
        self._behind = False
        self._shown: dict[str, object] = {}

    # -- what stands where

    def compose_step(self) -> Iterable[Widget]:
        with Horizontal(id="top"):
            with Vertical(id="left"):
                yield LearningPictures()
                yield Picture(id="numbers")
            with Vertical(id="right"):
                yield MachinePanel(id="gpus", classes="panel")
                yield Static(id="now", classes="panel")
                yield Static(id="findings", classes="panel")
                with VerticalScroll(id="answers", classes="panel"):
                    yield Static(id="answers-text")
        yield RichLog(id="log", classes="panel", max_lines=2000, wrap=False, auto_scroll=True)

    def on_mount(self) -> None:
        for name, term in TERMS.items():  # what `?` explains when it is focused
            panel = self.query_one(f"#{name}")
            panel.can_focus = True
            panel.term = term  # type: ignore[attr-defined]
        titles = {
            "now": "now",
            "findings": "findings",
            "log": "log",
            "answers": "as it learns",
        }
        for name, title in titles.items():
            self.query_one(f"#{name}").border_title = title
        self.begin()

    @work(thread=True, group="first", exit_on_error=False)
    def begin(self) -> None:
        """All of the history, read off the event loop; from then on a timer takes what is new."""
        self.known.read_spec()
        self.known.poll()
        self.app.call_from_thread(self._begun)

    def _begun(self) -> None:
        if self.is_mounted:
            self._spent = time.process_time()
            self.paint()
            self.set_interval(POLL_SECONDS, self.look)

    def crumb(self) -> str:
        return self.run.name

    # -- looking

    def look(self) -> None:
        """Takes in what is new; paints when it is time to."""
        self._behind = self.known.poll() or self._behind
        now = time.monotonic()
        due = max(self._least, min(self._cost / PAINT_SHARE, PAINT_LATEST))
        if self._behind and now - self._painted >= due:
            self.paint()
        elif self.known.status.live and now - self._painted >= 1:
            self.paint_numbers()  # the clock ticks though no step came, and that may say something
            self.paint_now()
        self.paint_log()

    def paint(self) -> None:
        history = self.known.history
        if len(self._steps) > len(history.steps) or (
            self._steps and history.steps[len(self._steps) - 1].step != self._steps[-1]
        ):
            self._steps.clear()  # a resumed worker took steps back
        self._steps += [step.step for step in history.steps[len(self._steps) :]]
        self.paint_status()
        self.query_one(LearningPictures).look(history, self._steps)
        self.paint_machine()
        self.paint_now()
        self.paint_findings()
        self.paint_answers()
        self.paint_numbers()
        self.paint_log()
        self._painted = time.monotonic()
        # what this process spent since it last painted, textual's rendering of that included
        spent = time.process_time()
        self._cost, self._spent = spent - self._spent, spent
        self._behind = False

    def paint_status(self) -> None:
        status, history = self.known.status, self.known.history
        if self._new("status", (status.state, history.step)):
            self.status = run_text.standing(status.state, history)
        if self._new("keys", (status.state, bool(history.checkpoints))):
            self.refresh_bindings()

    def paint_machine(self) -> None:
        samples = list(self.known.history.gpu)[-SAMPLES_DRAWN:]
        if self._new("machine", samples[-1][0] if samples else None):
            low = self.has_class("-narrow") and self.has_class("-short")
            self.query_one(MachinePanel).look(samples, low=low, room=self.size.height // 2 - 2)

    def paint_now(self) -> None:
        said = self.known.words(self.clock())
        if self._new("now", said):
            text = run_text.happening(said)
            # only words of other lengths need the whole screen arranged anew
            self.query_one("#now", Static).update(text, layout=self._new("wraps", run_text.wraps(text)))

    def paint_findings(self) -> None:
        found, skipped = self.known.history.findings, self.known.damaged_lines
        if self._new("findings", (len(found), self.known.damage, skipped)):
            text = run_text.findings(found, self.known.damage, skipped)
            panel = self.query_one("#findings", Static)
            panel.update(text)
            panel.set_class(bool(text), "-some")

    def paint_answers(self) -> None:
        samples = self.known.history.samples
        if self._new("answers", (len(samples), samples[-1].step if samples else 0)):
            self.query_one("#answers-text", Static).update(run_text.answers(samples))

    def paint_numbers(self) -> None:
        live = self.known.status.live
        seen = run_numbers.figures(self.known.history, self.clock(), self.known.price, live=live)
        if self._new("numbers", seen):
            self.query_one("#numbers", Picture).show(partial(run_numbers.draw, seen))

    def paint_log(self) -> None:
        log = self.query_one("#log", RichLog)
        if log.size.height:
            from rich.text import Text

            for line in self._tail.poll():
                log.write(Text.from_ansi(line))

    def _new(self, what: str, value: object) -> bool:
        """Whether `value` differs from the one last shown under this name; repaints cost."""
        if what in self._shown and self._shown[what] == value:
            return False
        self._shown[what] = value
        return True

    def on_resize(self) -> None:
        self._shown.pop("machine", None)
        if self._painted:
            self.call_after_refresh(self.paint_machine)
            self.call_after_refresh(self.paint_log)

    # -- what can be asked

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        live, state = self.known.status.live, self.known.status.state
        allowed = {
            "save": live,
            "stop": live,
            "resume": state in ("stopped", "failed", "died"),
            "chat": bool(self.known.history.checkpoints) or state == "finished",
        }
        return allowed.get(action, True)

    def action_save(self) -> None:
        from core.runs.control import save

        self._tell(asked(partial(save, self.run), "It saves a checkpoint after this step."))

    @work
    async def action_stop(self) -> None:
        """Once: asks for a graceful end. Again while it is stopping: offers to end it at once."""
        from core.runs.control import stop

        if self.known.status.state != "stopping":
            text = "It saves a checkpoint and ends after this step. It can be resumed from there."
            if await self.app.push_screen_wait(
                Ask(f"Stop {self.run.name}?", text, "Stop it", "Keep training")
            ):
                self._tell(asked(partial(stop, self.run), "It saves and ends after this step."))
            return
        text = (
            "It is stopping already, after its present step. End it at once? "
            "It gets 30 s to save, then it is killed; the last checkpoint stays."
        )
        if await self.app.push_screen_wait(
            Ask(f"End {self.run.name} now?", text, "End it now", "Let it finish")
        ):
            # this may take half a minute, and a thread of the loop's own would hold our exit as long
            threading.Thread(target=self._end_now, daemon=True).start()

    def _end_now(self) -> None:
        from core.runs.control import stop

        told = asked(partial(stop, self.run, now=True), "Its worker has ended.")
        with contextlib.suppress(RuntimeError):  # the screen may have left in the meantime
            self.app.call_from_thread(self._tell, told)

    @work
    async def action_resume(self) -> None:
        from core.runs.start import resume

        self._tell(await asyncio.to_thread(asked, partial(resume, self.run), "It goes on."))

    def _tell(self, told: tuple[str, bool]) -> None:
        text, well = told
        self.notify(text, severity="information" if well else "error", timeout=5 if well else 12)

    def action_log(self) -> None:
        self._toggle("-show-log", "-show-answers")

    def action_answers(self) -> None:
        self._toggle("-show-answers", "-show-log")

    def _toggle(self, this: str, other: str) -> None:
        self.remove_class(other)
        self.toggle_class(this)
        self.call_after_refresh(self.paint_log)

    def action_chat(self) -> None:
        self.app.open_chat(self.run)

    def action_leave(self) -> None:
        """Ends finetui and says in the terminal how things stand and how to come back."""
        from rich.text import Text

        self.app.exit(message=Text(self.farewell(), no_wrap=True))

    def action_back(self) -> None:
        if self.known.status.live:
            self.notify(self.farewell())
        super().action_back()

    def farewell(self) -> str:
        return run_text.farewell(self.run.name, self.known.status, self.known.history.step)
