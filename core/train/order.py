"""In which order a run goes through its rows: one in which no pass is fuller than planned.

Where rows of many lengths share a line, the order decides how full the fullest pass is, and that decides what
the run takes. One order is as good as another, so a few are looked at before the first step: that of the
spec's seed, of the next one, and so on, until none of its passes has more tokens than the plan reckoned with
(`core.plan.fullest`). A spec that says `shuffle` has its order already.
"""

import math
from collections import Counter
from typing import Any

from core.plan.fullest import Spread, tries_of
from core.runs.folder import RunFolder
from core.runs.lock import write_whole
from core.spec import RunSpec, dump_spec
from core.train import measure_passes
from core.train.batches import Layout


def steps_of(spec: RunSpec, rows: int) -> int:
    """Optimiser steps of the whole run, counted as the trainer counts them."""
    if spec.steps:
        return spec.steps
    batches = math.ceil(rows / (spec.batch or 1))
    return math.ceil((spec.epochs or 1) * max(1, math.ceil(batches / (spec.accumulate or 1))))


def passes_of(spec: RunSpec, rows: int) -> int:
    """Passes of the whole run."""
    return steps_of(spec, rows) * (spec.accumulate or 1)


def planned(spec: RunSpec, lengths: Any) -> int:
    """Tokens that no pass of the run is to have more than. `lengths`: of its rows (a numpy array)."""
    spread = Spread(Counter(lengths.tolist()).items())
    return spread.fullest(spec.batch or 1, passes_of(spec, len(lengths)))


def seed_of(spec: RunSpec, lengths: Any, layout: Layout) -> int:
    """The seed of the order: the first whose fullest pass is as planned, or the best of those that may be
    looked at. The spec's own seed where all orders take the same."""
    if spec.shuffle is not None:
        return spec.shuffle
    if layout.kind != "lines" or layout.length is not None:
        return spec.seed
    batch, passes, most = spec.batch or 1, passes_of(spec, len(lengths)), planned(spec, lengths)
    best: tuple[int, int] | None = None
    for further in range(tries_of(batch * passes)):
        seed = (spec.seed + further) % 2**32
        tokens = measure_passes.of_training(lengths, batch, seed, passes, layout).tokens
        if best is None or tokens < best[0]:
            best = tokens, seed
        if tokens <= most:
            break
    assert best
    return best[1]


def in_order(spec: RunSpec, run: RunFolder, lengths: Any, layout: Layout, *, resumes: bool) -> RunSpec:
    """The spec with the seed of its order, which is written down: whoever resumes the run goes on in it, also
    with another batch. A run that was begun without keeps the order that it has."""
    if spec.shuffle is not None:
        return spec
    seed = spec.seed if resumes else seed_of(spec, lengths, layout)
    spec = spec.model_copy(update={"shuffle": seed})
    write_whole(run.spec_file, dump_spec(spec, full=True))
    return spec
