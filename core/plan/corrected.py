"""The closed form, bettered by what was measured on this machine before; whoever shows it shows by how much.

| known | becomes |
|---|---|
| this very job: card, versions, model, settings and rows | what was measured |
| others of its kind, card and versions | what comes and goes, times a factor between 0.8 and 1.3 |
| a smaller job of this model | at least what that took, whatever the factor says |

The factor is the largest among the three nearest, so that none of them would have been promised too little.
What stands (weights, adapters, gradients, moments) is counted, not guessed, and is left as it is. On a CPU
what is resident is mostly libraries, so there only the very same job tells anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from core.plan.estimate import Estimate
from core.plan.measured import PASSING, Job, Record, passing, recall
from core.plan.memory import Bytes

BOUNDS = (0.8, 1.3)
"""Of the factor: what is further off is another thing than the closed form's error."""
NEAREST = 3
KIND = ("method", "objective", "precision", "compiled", "host", "dora", "dropout")
"""Settings that must be the same for one job to tell anything of another."""
SAME_MODEL = ("optimizer", "rank", "targets", "packing", *KIND)


@dataclass(frozen=True)
class Lesson:
    """What is known of jobs of one kind on one card."""

    factor: float
    of: str
    """In words."""


def corrected(formula: Estimate, job: Job, records: Sequence[Record] | None = None) -> Estimate:
    """The best that is known of a job. `records`: None: what this machine has kept."""
    known = recall() if records is None else records
    known = [one for one in known if one.job.card == job.card and one.job.versions == job.versions]
    same = next((one for one in known if one.job.same(job)), None)
    if same:
        return _as_measured(formula, same)
    lesson = lesson_for(job, known)
    before = passing(formula.step)
    step = scaled(formula.step, lesson.factor) if lesson else formula.step
    seen = [one for one in known if is_less(one.job, job)]
    least = max(seen, key=lambda one: one.tensors, default=None)
    short = least.tensors - step.tensors if least else 0
    if short > 0 and passing(step) > 0:
        step = scaled(step, 1 + short / passing(step))
    if step == formula.step or not before:
        return formula
    of = lesson.of if lesson and short <= 0 else _said(least) if least else ""
    return replace(formula, step=step, correction=passing(step) / before, of=of)


def lesson_for(job: Job, records: Sequence[Record]) -> Lesson | None:
    """What jobs of the same kind on the same card tell; None: there was none, or on a CPU."""
    near = [
        one
        for one in records
        if one.factor is not None
        and one.job.settings.get("on_gpu")
        and all(one.job.settings.get(key) == job.settings.get(key) for key in KIND)
    ]
    near = sorted(near, key=lambda one: distance(one.job, job))[:NEAREST]
    if not near:
        return None
    least, most = BOUNDS
    factor = min(most, max(least, max(one.factor or 1.0 for one in near)))
    others = f", and {len(near) - 1} more" if len(near) > 1 else ""
    return Lesson(factor, _said(near[0]) + others)


def distance(one: Job, other: Job) -> float:
    """How unlike two jobs of a kind are: doublings of what decides, and places of the dial."""

    def doublings(a: Any, b: Any) -> float:
        return abs(math.log2(max(1.0, float(a or 1)) / max(1.0, float(b or 1))))

    mine, theirs = one.settings, other.settings
    tokens = doublings(mine["batch"] * mine["length"], theirs["batch"] * theirs["length"])
    model = sum(doublings(one.model[key], other.model[key]) for key in ("hidden", "layers", "vocab"))
    dial = 4 * abs(float(mine["recompute"]) - float(theirs["recompute"]))
    return tokens + model + dial + doublings(mine["rank"], theirs["rank"]) / 2


def is_less(one: Job, other: Job) -> bool:
    """Whether a job of the same model surely takes no more than another."""
    mine, theirs = one.settings, other.settings
    return (
        one.model == other.model
        and all(mine.get(key) == theirs.get(key) for key in SAME_MODEL)
        and mine["batch"] <= theirs["batch"]
        and mine["length"] <= theirs["length"]
        and mine["accumulate"] <= theirs["accumulate"]
        and mine["recompute"] >= theirs["recompute"]
    )


def scaled(held: Bytes, factor: float) -> Bytes:
    """The same with what comes and goes, and what that leaves in pieces, times a factor."""
    parts = {name: int(getattr(held, name) * factor) for name in (*PASSING, "fragments")}
    return replace(held, **parts)


def _as_measured(formula: Estimate, record: Record) -> Estimate:
    of = f"this very job, {'measured' if record.by == 'measure' else 'a run of it'} before"
    if record.estimate:
        found = {one.name: record.estimate[one.name] for one in fields(Estimate)}
        step = Bytes(**{one.name: record.estimate["step"][one.name] for one in fields(Bytes)})
        more = record.tensors - step.tensors  # a run of it may have taken more than was measured before
        if more > 0 and passing(step):
            step = scaled(step, 1 + more / passing(step))
        return Estimate(**{**found, "step": step, "error": tuple(found["error"]), "of": of})
    before = passing(formula.step)
    missing = record.tensors - formula.step.tensors
    step = scaled(formula.step, max(0.0, 1 + missing / before)) if before else formula.step
    return replace(formula, kind="measured", step=step, correction=passing(step) / max(1, before), of=of)


def _said(record: Record) -> str:
    """`meta-llama/Llama-3.1-8B, lora, 8 x 2,048 tokens, recompute 0.5 on NVIDIA H200`."""
    job = record.job
    size = f"{job.settings['batch']} x {job.settings['length']:,} tokens"
    dial = f"recompute {job.settings['recompute']:g}"
    return f"{job.name}, {job.settings['method']}, {size}, {dial} on {job.card}"
