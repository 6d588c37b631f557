"""Follows a run in plain lines: what changes is said once, steps every few seconds, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator

from core.cli.show import findings, paint, say
from core.numbers import count, duration, percent, rate
from core.runs.events import Checkpoint, Eval, Finding, Follow, Record, Stage, Step
from core.runs.folder import RunFolder
from core.runs.history import History
from core.runs.state import Status, last_words, status
from core.runs.words import Words, words

SECONDS_BETWEEN_LOOKS = 0.4
SECONDS_BETWEEN_STEPS = 4.0
SECONDS_BETWEEN_STATES = 2.0
MOODS = {"good": "good", "warn": "warn", "bad": "bad"}


def follow(
    run: RunFolder, *, quiet: bool = False, known: frozenset[str] = frozenset()
) -> tuple[Status, History]:
    """Say what happens until the run has no worker; the run does not notice, nor mind Ctrl-C here.

    `quiet` says nothing and only waits. `known`: findings that were said before.
    """
    history, log = History(), Follow(run.events_file)
    history.fold(log.poll())  # what was before we came is summed up, not told again
    now = status(run, history)
    tell = _Lines(history, known)
    if not quiet and now.live:
        if history.last:
            say(tell.step(history.last))
        _in_words(run, history, now)
    looked = time.monotonic()
    while now.live:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        records = log.poll()
        history.fold(records)
        if not quiet:
            for line in tell.lines(records):
                say(line)
        if history.end or time.monotonic() - looked > SECONDS_BETWEEN_STATES:
            before, now, looked = now, status(run, history), time.monotonic()
            if (
                not quiet
                and now.live
                and (now.state, now.quiet is None) != (before.state, before.quiet is None)
            ):
                _in_words(run, history, now)
    history.fold(log.poll())
    if not quiet:
        if history.last and history.last is not tell.told:
            say(tell.step(history.last))
        _in_words(run, history, now)
        if now.state in ("failed", "died"):
            for line in last_words(run):
                say(paint(f"  {line}", "dim"))
    return now, history


def _in_words(run: RunFolder, history: History, now: Status) -> None:
    said: Words = words(history, now, name=run.name, now=time.time(), last_words=last_words(run, 1))
    say(paint(said.line, MOODS[said.mood]) if said.mood in MOODS else said.line)
    if said.more:
        say(paint(said.more, "dim"))


class _Lines:
    """What was told, so that nothing is told twice."""

    def __init__(self, history: History, known: frozenset[str]):
        self._known = known
        self.told: Step | None = None
        self._history = history
        self._stage = history.stage.name if history.stage else ""
        self._stage_time = self._step_time = float("-inf")

    def lines(self, records: list[Record]) -> Iterator[str]:
        for record in records:
            event, when = record.event, record.time
            if isinstance(event, Step):
                last = event.step == event.steps
                if self.told is None or last or when - self._step_time >= SECONDS_BETWEEN_STEPS:
                    self._step_time = when
                    yield self.step(event)
            elif isinstance(event, Stage):
                fresh = event.name != self._stage
                if fresh or when - self._stage_time >= SECONDS_BETWEEN_STEPS:
                    self._stage, self._stage_time = event.name, when
                    # between steps, a look at the held-out rows is only worth a line when it takes long
                    if not (fresh and self.told) and event.name != "train":
                        yield paint(_stage(event), "dim")
            elif isinstance(event, Eval) and event.loss is not None:
                rewards = "".join(f"  {one}" for one in preference(event))
                yield f"{paint('held out', 'accent')} {event.loss:.3f} at step {event.step:,}{rewards}"
            elif isinstance(event, Checkpoint):
                yield paint(f"saved {event.path} ({event.reason})", "dim")
            elif isinstance(event, Finding) and event.what not in self._known:
                message = f"{event.what}: {event.why}" if event.why else event.what
                yield findings([{"severity": event.severity, "message": message, "todo": event.todo}])

    def step(self, event: Step) -> str:
        """One step in a line: where it is, loss, rate, speed, and what is left."""
        self.told = event
        history, parts = self._history, []
        parts.append(f"step {event.step:>{len(f'{event.steps:,}')},}/{event.steps:,}")
        parts.append("loss not a number" if event.loss is None else f"loss {event.loss:.3f}")
        if history.evals and history.evals[-1].loss is not None:
            parts.append(f"held out {history.evals[-1].loss:.3f}")
        parts += preference(event)
        parts.append(f"rate {rate(event.learning_rate)}")
        if event.tokens_per_second:
            parts.append(f"{count(event.tokens_per_second)} tokens/s")
        if history.seconds_left and event.step < event.steps:
            parts.append(f"{duration(history.seconds_left)} left")
        return "  ".join(parts)


def preference(event: Step | Eval) -> list[str]:
    """chosen +0.12, rejected -0.40, margin +0.52, pairs 84 %: what is told of it, nothing for answers."""
    told = (("chosen", event.reward_chosen), ("rejected", event.reward_rejected), ("margin", event.margin))
    parts = [f"{name} {value:+.3f}" for name, value in told if value is not None]
    return parts if event.accuracy is None else [*parts, f"pairs {percent(event.accuracy)}"]


def _stage(event: Stage) -> str:
    amount = ""
    if event.unit == "bytes" and event.total and event.done:
        amount = f" {event.done / 2**20:,.0f} of {event.total / 2**20:,.0f} MiB"
    elif event.total and event.total > 1 and event.done:
        amount = f" {event.done:,.0f} of {event.total:,.0f} {event.unit}".rstrip()
    note = f": {event.note}" if event.note else ""
    return f"{event.name} …{amount}{note}"
