"""The setting that a method runs with: the fastest whose every phase fits, not its steps alone.

The search (`core.plan.search`) looks at steps. A load, an evaluation or a save that takes more (`phases`) is
looked at here: fewer rows at a time make an evaluation smaller, and nothing makes a load so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from core.plan.estimate import Estimate
from core.plan.measured import data_of
from core.plan.objective import LEAST_BATCH
from core.plan.phases import formula
from core.plan.search import Found, fastest, may_compile, smallest
from core.plan.work import Setting, Work


def choose(work: Work, room: int, known: Mapping[str, Estimate] | None = None) -> tuple[Found, Estimate]:
    """The setting and the whole run's estimate; what does not fit into so many bytes is the smallest.

    `known`: better estimates than the closed form, each of `exactly` one work and setting.
    """
    found, estimate = _by_formula(work, room)
    very = known.get(exactly(work, found.setting)) if known else None
    if very is None:
        return found, estimate
    return replace(found, fits=very.kind == "measured" or very.peak <= room), very


def exactly(work: Work, setting: Setting) -> str:
    """What a trace or a measurement was of: what was chosen, less the name and price, and the files."""
    same = {"method": work.method, "name": None, "price_per_hour": None}
    spec = work.spec.model_copy(update=same).model_dump_json()
    return f"{work.card.name} {data_of(work.spec)} {setting} {spec}"


def _by_formula(work: Work, room: int) -> tuple[Found, Estimate]:
    while True:
        found = fastest(work, room)
        estimate = formula(work, found.setting)
        rows = found.setting.batch
        if not found.fits or estimate.peak <= room:
            return found, estimate
        fewer = rows > LEAST_BATCH[work.objective] and work.spec.batch is None
        if not fewer or estimate.evaluation <= room or max(estimate.load, estimate.save) > room:
            return replace(found, fits=False), estimate
        work = replace(work, most=rows - 1)


def least(work: Work) -> int:
    """The least bytes that the run can do with, all its phases looked at."""
    compiled, _ = may_compile(work)
    return formula(work, smallest(work, compiled=compiled)[0]).peak
