"""Everything a run has told so far, folded from its events: what a screen or a command shows of it."""

import gc
from collections import deque
from collections.abc import Iterable

from core.runs.events import (
    Checkpoint,
    End,
    Error,
    Eval,
    Event,
    Finding,
    Follow,
    Gpu,
    Record,
    Sample,
    Stage,
    Start,
    Step,
)
from core.runs.folder import RunFolder

GPU_SAMPLES = 2000
"""Looks at the GPUs that are kept; at one every two seconds, more than an hour."""
RECENT_STEPS = 50
"""Steps from which speed and the time left are told."""


class History:
    """Grows in place by `fold`. The lists of a step's values all have one entry a step, in order."""

    def __init__(self) -> None:
        self.started: float | None = None
        """Time of the first event, seconds since the epoch."""
        self.last_time: float | None = None
        self.start: Start | None = None
        self.start_time: float | None = None
        self.stage: Stage | None = None
        self.stage_time: float | None = None
        self.steps: list[Step] = []
        self.step_times: list[float] = []
        self.losses: list[float | None] = []
        self.smooth: list[float | None] = []
        """The loss with its noise taken out: an exponential mean over about twenty steps."""
        self.evals: list[Eval] = []
        self.samples: list[Sample] = []
        self.checkpoints: list[Checkpoint] = []
        self.findings: list[Finding] = []
        self.gpu: deque[tuple[float, Gpu]] = deque(maxlen=GPU_SAMPLES)
        self.error: Error | None = None
        self.end: End | None = None
        self.end_time: float | None = None
        self.folded = 0

    @property
    def last(self) -> Step | None:
        return self.steps[-1] if self.steps else None

    @property
    def step(self) -> int:
        return self.steps[-1].step if self.steps else 0

    @property
    def steps_total(self) -> int | None:
        return self.steps[-1].steps if self.steps else None

    @property
    def loss(self) -> float | None:
        return self.losses[-1] if self.losses else None

    @property
    def seconds_a_step(self) -> float | None:
        """Over the recent steps, training time only."""
        recent = self.steps[-RECENT_STEPS:]
        if len(recent) < 2:
            return None
        return max(0.0, recent[-1].seconds - recent[0].seconds) / (recent[-1].step - recent[0].step)

    @property
    def seconds_left(self) -> float | None:
        each, last = self.seconds_a_step, self.last
        return None if each is None or last is None else each * (last.steps - last.step)

    def fold(self, records: Iterable[Record]) -> None:
        """Takes in what is new."""
        for record in records:
            self.folded += 1
            if self.started is None:
                self.started = record.time
            self.last_time = record.time
            self._fold(record.event, record.time)

    def _fold(self, event: Event, now: float) -> None:
        kind = type(event)
        if kind is Step:
            self._fold_step(event, now)  # type: ignore[arg-type]
        elif isinstance(event, Gpu):
            self.gpu.append((now, event))
        elif isinstance(event, Stage):
            self.stage, self.stage_time = event, now
        elif isinstance(event, Eval):
            self.evals.append(event)
        elif isinstance(event, Sample):
            self.samples.append(event)
        elif isinstance(event, Checkpoint):
            self.checkpoints.append(event)
        elif isinstance(event, Finding):
            self.findings.append(event)
        elif isinstance(event, Error):
            self.error = event
        elif isinstance(event, End):
            self.end, self.end_time = event, now
        elif isinstance(event, Start):
            self._fold_start(event, now)

    def _fold_step(self, step: Step, now: float) -> None:
        self.steps.append(step)
        self.step_times.append(now)
        self.losses.append(step.loss)
        before = self.smooth[-1] if self.smooth else None
        if step.loss is None or before is None:
            self.smooth.append(step.loss if before is None else before)
        else:
            # a plain mean at first, so that the curve does not hang on the first noisy step
            weight = max(0.1, 1 / len(self.smooth))
            self.smooth.append(before + weight * (step.loss - before))

    def _fold_start(self, start: Start, now: float) -> None:
        """A worker took over: what an earlier one did after the checkpoint is done again."""
        self.start, self.start_time = start, now
        self.end = self.end_time = self.error = None
        kept = start.resumed_from or 0
        while self.steps and self.steps[-1].step > kept:
            for series in (self.steps, self.step_times, self.losses, self.smooth):
                series.pop()
        self.evals = [item for item in self.evals if item.step <= kept]
        self.samples = [item for item in self.samples if item.step <= kept]
        self.checkpoints = [item for item in self.checkpoints if item.step <= kept]


def replay(run: RunFolder) -> History:
    """All of a run's history, read once."""
    history = History()
    catch_up(history, Follow(run.events_file))
    return history


def catch_up(history: History, follow: Follow) -> int:
    """Folds in all that is new, and returns how many events that was.

    Meanwhile the garbage collector rests: it would walk through a long past again and again, for a third
    of the time, and what is made here stays.
    """
    before, collecting = history.folded, gc.isenabled()
    gc.disable()
    try:
        for records in follow.pieces():
            history.fold(records)
    finally:
        if collecting:
            gc.enable()
    return history.folded - before
