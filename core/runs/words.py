"""What is happening to a run, in one or two lines of plain words, from its history and its state.

Not a forecast, and no false alarm: a warning needs more than noise, and says from which step on it is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from core.runs.events import Stage
from core.runs.history import History
from core.runs.preference_words import at_the_end, is_preference, while_training
from core.runs.state import Status
from core.runs.trend import (
    EARLY_STEPS,
    climbing,
    first_loss,
    flat,
    held_out,
    lost,
    memorising,
    nothing_learned,
    said,
    smoothed,
    standing,
)

SILENT_SECONDS = 90.0
"""Without a step for this long (or twenty usual steps, where those are slow) the screen says so."""
SLOWER = 0.6
"""Share of the usual speed below which a run is called slower than before."""

Mood = Literal["calm", "good", "warn", "bad"]


@dataclass(frozen=True)
class Words:
    """`line` says what is happening, `more` what it means or what to do."""

    line: str
    more: str = ""
    mood: Mood = "calm"


def words(
    history: History, status: Status, *, name: str, now: float, last_words: Sequence[str] = ()
) -> Words:
    """The run in words at `now` (seconds since the epoch).

    `last_words`: the last lines that a dead worker logged.
    """
    if status.state == "died":
        return _died(history, status, name, last_words)
    if status.state == "failed":
        return _failed(history, status, name)
    if status.state == "stopped":
        where = f"Stopped at step {history.step:,}{_of_total(history)}."
        return Words(where, f"{_saved(history)} Go on with: finetui resume {name}", "calm")
    if status.state == "finished":
        return _finished(history)
    if status.state == "stopping":
        return Words("Stopping: the worker saves after this step and ends.", _saved(history))
    if status.quiet is not None:
        return Words(
            f"No sign of the worker for {_seconds(status.quiet)}.",
            "It may be busy or stuck; nothing is stopped for it. The log may say more.",
            "warn",
        )
    silent = _silent(history, now)
    if silent is not None:
        usual = (
            f", where one usually takes {_seconds(history.seconds_a_step)}" if history.seconds_a_step else ""
        )
        return Words(
            f"No step for {_seconds(silent)}{usual}.", "The worker lives. The log may say more.", "warn"
        )
    if status.state == "starting" or not history.steps:
        return _starting(history, now)
    return _training(history)


# -- before and after training


def _starting(history: History, now: float) -> Words:
    stage = history.stage
    if stage is None:
        return Words("Starting: the worker wakes up.", "Reading its libraries takes about ten seconds.")
    line = f"{_STAGES.get(stage.name, stage.name.capitalize())}{_progress(stage)}"
    more = stage.note
    if not more and stage.name in _WHY:
        more = _WHY[stage.name]
    return Words(f"{line}.", more)


_STAGES = {
    "download": "Downloading the model",
    "load": "Loading the model",
    "tokenise": "Turning the rows into tokens",
    "reference": "Asking the model what it would say before it changes",
    "compile": "Compiling the model's layers",
    "first step": "Taking the first step",
    "train": "Training",
    "evaluate": "Measuring on the held-out rows",
    "save": "Saving",
}
_WHY = {
    "reference": "Full tuning compares with these numbers, so that no second model is held.",
    "compile": "The first step takes a minute or so for it; all that follow are faster.",
    "first step": "It shows whether everything fits; the next ones are faster.",
}


def _progress(stage: Stage) -> str:
    """ ": 1.2 of 4.0 GiB"."""
    if stage.unit == "bytes":
        done = f"{stage.done / 2**30:.1f}"
        return f": {done} of {stage.total / 2**30:.1f} GiB" if stage.total else f": {done} GiB"
    if stage.total and stage.total > 1:
        return f": {stage.done:,.0f} of {stage.total:,.0f} {stage.unit}".rstrip()
    return ""


def _died(history: History, status: Status, name: str, last_words: Sequence[str]) -> Words:
    why = status.why or "its worker is gone"
    said = f"Last in its log: {last_words[-1]}" if last_words else "It logged nothing."
    return Words(f"Died: {why}.", f"{_saved(history)} Resume it with: finetui resume {name}\n{said}", "bad")


def _failed(history: History, status: Status, name: str) -> Words:
    error = history.error
    todo = error.todo if error and error.todo else f"Then resume it with: finetui resume {name}"
    log = f" The log has the details: {error.log}" if error and error.log else ""
    return Words(f"Failed: {status.why or 'it did not say why'}.", f"{_sentence(todo)}{log}", "bad")


def _finished(history: History) -> Words:
    if is_preference(history):
        return Words(*at_the_end(history))
    first, last = first_loss(history), smoothed(history)
    fell = f", training loss {said(first)} to {said(last)}" if first is not None and last is not None else ""
    line = f"Finished: {history.step:,} steps{fell}."
    verdict = memorising(history) or standing(history)
    if verdict:
        return Words(line, verdict, "warn")
    held = held_out(history)
    if len(held) > 1:
        better = held[-1][1] < held[0][1]
        return Words(
            line, f"Held-out loss {said(held[0][1])} to {said(held[-1][1])}.", "good" if better else "warn"
        )
    return Words(line, "It is saved and can be talked to.", "good")


def _saved(history: History) -> str:
    if history.checkpoints:
        return f"Step {history.checkpoints[-1].step:,} is saved."
    return "Nothing is saved yet, so it begins again at the first step." if history.steps else ""


# -- while it trains


def _training(history: History) -> Words:
    if bad := lost(history):
        return Words(
            bad, "Stop it; start again with a lower learning rate, or in bf16 instead of fp16.", "bad"
        )
    if nothing_learned(history):
        more = "Most likely every token is masked: look at the example in the Template step."
        return Words("The loss is 0 since the first step: nothing is learned.", more, "bad")
    slow = _slower(history)
    stage = history.stage
    if stage and stage.name in ("evaluate", "save") and (history.stage_time or 0) >= history.step_times[-1]:
        return Words(f"{_STAGES[stage.name]}{_progress(stage)}.", stage.note)
    if is_preference(history):
        return Words(*while_training(history, slow))
    if history.step < EARLY_STEPS:
        return Words("Under way: too early to tell how well it learns.", slow)
    if since := climbing(history):
        more = "A lower learning rate would likely help; the last good checkpoint is kept."
        return Words(f"The loss climbs since step {since:,}.", more, "warn")
    if verdict := memorising(history):
        return Words(
            verdict, "Stop here, and use the checkpoint from before; more or other rows would help.", "warn"
        )
    if verdict := standing(history):
        return Words(verdict, slow or "More steps will add little.", "calm")
    if flat(history):
        return Words(
            "The loss has hardly moved since the start.",
            "The learning rate may be too low, or the rows known.",
            "warn",
        )
    held = held_out(history)
    if len(held) > 1 and held[-1][1] < held[0][1]:
        return Words(
            "Learning well: held-out loss still falls with training loss.", slow or _pace(history), "good"
        )
    return Words("Learning: the training loss falls.", slow or _pace(history), "good")


def _silent(history: History, now: float) -> float | None:
    """Seconds without a step, when those are too many for a run that trains."""
    if not history.step_times or history.end is not None:
        return None
    begun = max(history.step_times[-1], history.start_time or 0, history.stage_time or 0)
    quiet = now - begun
    usual = 20 * (history.seconds_a_step or 0)
    return quiet if quiet > max(SILENT_SECONDS, usual) else None


def _slower(history: History) -> str:
    speeds = [step.tokens_per_second for step in history.steps[-300:] if step.tokens_per_second]
    if len(speeds) < 60:
        return ""
    usual, lately = median(speeds[:-10]), median(speeds[-10:])
    return (
        f"Slower than before: {lately:,.0f} tokens/s, it was {usual:,.0f}." if lately < usual * SLOWER else ""
    )


def _pace(history: History) -> str:
    first, now = first_loss(history), smoothed(history)
    if first is None or now is None:
        return ""
    return f"Training loss {said(first)} at first, {said(now)} now."


def _seconds(value: float) -> str:
    if value < 1:
        return f"{value:.1f} s"
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min"


def _of_total(history: History) -> str:
    return f" of {history.steps_total:,}" if history.steps_total else ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
