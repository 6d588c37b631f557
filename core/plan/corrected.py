"""The closed form, bettered by what was measured on this machine before; whoever shows it shows by how much.

| known | becomes |
|---|---|
| this very job: card, versions, model, settings and rows | what was measured |
| others of its kind, card and versions | what comes and goes, times a factor between 0.8 and 1.3 |
| a smaller job of this model | at least what that took, whatever the factor says |

Speed alike: this very job's, or the middle one of the three nearest.

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
from core.plan.measured import PASSING, Job, Record, passing, recall, versions
from core.plan.memory import Bytes

BOUNDS = (0.8, 1.3)
"""Of the factor: what is further off is another thing than the closed form's error."""
NEAREST = 3
PACES = (1 / 3, 3.0)
"""Bounds of how much faster another job may have been than its form says, to tell of this one."""
KIND = ("method", "objective", "precision", "compiled", "recorded", "host", "dora", "dropout")
"""Settings that must be the same for one job to tell anything of another."""
SAME = ("optimizer", "rank", "targets", "packing", *KIND)
"""Those that must be the same for a job to be no more than another."""


@dataclass(frozen=True)
class Pace:
    """How fast a job will be, as a share of what the form of speed says."""

    factor: float
    of: str
    """What it was learned from, in words."""


@dataclass(frozen=True)
class Better:
    """A step as it is now believed to be."""

    step: Bytes
    correction: float | None = None
    """The factor on what comes and goes; None: nothing was known."""
    of: str = ""
    """What it was learned from, in words."""
    very: Record | None = None
    """The very same job, where it was seen."""


class Lessons:
    """What is known of one card with one set of versions."""

    def __init__(self, records: Sequence[Record]):
        self._records = records
        self._very = {_key(one.job): one for one in reversed(records)}
        self._factors: dict[str, tuple[float, str] | None] = {}
        self._smaller: dict[str, list[Record]] = {}

    def step(self, job: Job, plain: Bytes) -> Better:
        """`plain`: what the closed form says of the job."""
        before = passing(plain)
        very = self._very.get(_key(job))
        if very and before:
            found = at_least(scaled(plain, 0.0), very.tensors, plain)
            of = f"this very job, {_how(very)} before"
            return Better(found, passing(found) / before, of, very)
        factor, of = self._factor(job) or (1.0, "")
        found = scaled(plain, factor) if of else plain
        for one in self._of_its_like(job):
            if one.tensors > found.tensors and is_less(one.job, job):
                found, of = at_least(found, one.tensors, plain), said(one)
        return Better(found, passing(found) / before, of) if of and before else Better(plain)

    def pace(self, job: Job) -> Pace | None:
        """None: nothing of its kind was timed."""
        very = self._very.get(_key(job))
        if very and very.pace:
            return Pace(very.pace, f"this very job, {_how(very)} before")
        near = _nearest(job, [one for one in self._records if one.pace is not None])
        if not near:
            return None
        middle = sorted(near, key=lambda one: one.pace or 0.0)[len(near) // 2]
        return Pace(min(PACES[1], max(PACES[0], middle.pace or 1.0)), _said_of(near))

    def _factor(self, job: Job) -> tuple[float, str] | None:
        """Of jobs of the kind, and the words; one for all places of the dial and all rows at a time, so that
        a smaller setting never seems to take more than a larger one."""
        if not job.settings["on_gpu"]:
            return None
        what = f"{job.model} {[job.settings[key] for key in (*KIND, 'length', 'rank')]}"
        if what not in self._factors:
            self._factors[what] = _learned(job, self._records)
        return self._factors[what]

    def _of_its_like(self, job: Job) -> list[Record]:
        """Jobs that may be no more than this one."""
        own = [job.settings[key] for key in SAME]
        what = f"{job.model} {own}"
        if what not in self._smaller:
            self._smaller[what] = [
                one
                for one in self._records
                if one.job.model == job.model and [one.job.settings.get(key) for key in SAME] == own
            ]
        return self._smaller[what]


def _how(record: Record) -> str:
    return "measured" if record.by == "measure" else "a run of it"


def _key(job: Job) -> str:
    return f"{job.data} {job.card} {job.model} {sorted(job.settings.items())}"


def lessons_on(card: str) -> Lessons | None:
    """What is known of the card with the versions that are here; None: nothing."""
    known = [one for one in recall() if one.job.card == card]
    known = [one for one in known if one.job.versions == versions()]
    return Lessons(known) if known else None


def estimated(formula: Estimate, better: Better) -> Estimate:
    """All phases, with the step as it is now believed to be; where the job was measured, all as measured."""
    very = better.very
    if very and very.estimate:
        found = {one.name: very.estimate[one.name] for one in fields(Estimate)}
        step = Bytes(**{one.name: very.estimate["step"][one.name] for one in fields(Bytes)})
        # a run of it may have taken more than was measured
        step = at_least(step, very.tensors, step)
        error = tuple(found["error"]) if found["error"] else None
        return Estimate(**{**found, "step": step, "error": error, "of": better.of})
    kind = "measured" if very else formula.kind
    return replace(formula, kind=kind, step=better.step, correction=better.correction, of=better.of)


def distance(one: Job, other: Job) -> float:
    """How unlike two jobs of a kind are, in doublings of what decides."""

    def doublings(a: Any, b: Any) -> float:
        return abs(math.log2(max(1.0, float(a or 1)) / max(1.0, float(b or 1))))

    mine, theirs = one.settings, other.settings
    model = sum(doublings(one.model[key], other.model[key]) for key in ("hidden", "layers", "vocab"))
    rows = doublings(mine["length"], theirs["length"]) / 2 + doublings(mine["rank"], theirs["rank"]) / 2
    return model + rows


def is_less(one: Job, other: Job) -> bool:
    """Whether a job surely takes no more than another of its like."""
    mine, theirs = one.settings, other.settings
    return bool(
        mine["batch"] <= theirs["batch"]
        and mine["length"] <= theirs["length"]
        and mine["accumulate"] <= theirs["accumulate"]
        and mine["recompute"] >= theirs["recompute"]
    )


def scaled(held: Bytes, factor: float) -> Bytes:
    """The same with what comes and goes, and what that leaves in pieces, times a factor."""
    parts = {name: int(getattr(held, name) * factor) for name in (*PASSING, "fragments")}
    return replace(held, **parts)


def at_least(held: Bytes, tensors: int, like: Bytes) -> Bytes:
    """With so many bytes of tensors at least; what is missing is divided as in `like`."""
    missing, whole = tensors - held.tensors, passing(like)
    if missing <= 0 or not whole:
        return held
    parts = {name: getattr(held, name) + missing * getattr(like, name) // whole for name in PASSING}
    parts["kept"] += tensors - replace(held, **parts).tensors
    pieces = held.fragments + missing * like.fragments // whole
    return replace(held, **parts, fragments=pieces)


def _learned(job: Job, records: Sequence[Record]) -> tuple[float, str] | None:
    near = _nearest(job, [one for one in records if one.factor is not None])
    if not near:
        return None
    least, most = BOUNDS
    return min(most, max(least, *(one.factor or 1.0 for one in near))), _said_of(near)


def _nearest(job: Job, records: Sequence[Record]) -> list[Record]:
    """Those of the job's kind that are most like it."""
    kind = [one for one in records if all(one.job.settings.get(key) == job.settings[key] for key in KIND)]
    return sorted(kind, key=lambda one: distance(one.job, job))[:NEAREST]


def _said_of(near: Sequence[Record]) -> str:
    return said(near[0]) + (f", and {len(near) - 1} more" if len(near) > 1 else "")


def said(record: Record) -> str:
    """`meta-llama/Llama-3.1-8B, lora, 8 x 2,048 tokens, recompute 0.5 on NVIDIA H200`."""
    job = record.job
    size = f"{job.settings['batch']} x {job.settings['length']:,} tokens"
    dial = f"recompute {job.settings['recompute']:g}"
    return f"{job.name}, {job.settings['method']}, {size}, {dial} on {job.card}"
