"""What a finished run took is kept, so that the next estimate on this machine is the better for it; and a run
that was measured before it began goes the way that was measured."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from core.plan.measured import job_of, recall, record_of, remember
from core.spec import RunSpec
from core.train.again import Settled


def of_run(
    spec: RunSpec, known: Settled, engine: Any, train_on: Sequence[Any], steps: int, card: str, watch: Any
) -> None:
    """Keeps a run's own peak on a card; a disk that does not take it is no reason for the run to fail."""
    from core.train import measure_passes
    from core.train.pairs import spread

    lengths: Any = train_on.lengths()  # type: ignore[attr-defined]
    seed = spec.shuffle
    if known.objective == "kto":  # its trainer takes the rows in an order of their own, and keeps it
        lengths, seed = lengths[spread(train_on, spec.seed)], None
    count = steps * (spec.accumulate or 1)
    made = measure_passes.of_training(lengths, spec.batch or 1, seed, count, engine.layout)
    record = record_of(
        spec,
        known.shape,
        card=card,
        on_gpu=True,
        objective=known.objective,
        compiled=engine.compiled,
        recorded=engine.recorded,
        host=engine.holder.host is not None,
        tokens=made.tokens,
        tensors=watch.peak,
        by="run",
        tokens_per_second=watch.tokens / watch.seconds if watch.seconds else None,
        expected=_expected(spec, known, engine, lengths),
    )
    try:
        remember(record)
    except OSError as error:
        print(f"what this run took could not be kept: {error}", file=sys.stderr)


def was_recorded(spec: RunSpec, known: Settled, engine: Any) -> bool | None:
    """Whether the passes of this very run were recorded when it was measured; None: what was seen of it last
    is no measurement. What the card then takes differs by as much as a pass keeps of its widths."""
    import torch

    if not known.on_gpu:
        return None
    job = job_of(
        spec,
        known.shape,
        card=torch.cuda.get_device_name(),
        on_gpu=True,
        objective=known.objective,
        compiled=engine.compiled,
        recorded=False,
        host=engine.holder.host is not None,
    )
    for seen in recall():
        either = replace(seen.job, name=job.name, settings={**seen.job.settings, "recorded": False})
        if either == job:
            return seen.job.settings["recorded"] if seen.by == "measure" else None
    return None


def _expected(spec: RunSpec, known: Settled, engine: Any, lengths: Any) -> float | None:
    """Tokens a second by the form of speed, of rows or packs of such lengths."""
    from core.data.lengths import describe
    from core.machine import look
    from core.plan.cards import card_here
    from core.plan.work import Setting, expected_of, work_of

    report = {"lengths": describe(lengths.tolist()), "train_rows": len(lengths), "objective": known.objective}
    method = spec.method if spec.method != "auto" else "lora"  # never auto here
    work = work_of(spec, known.shape, card_here(spec, look()), report, method)
    work = replace(work, packed=float(lengths.mean()) if spec.packing else None)
    setting = Setting(
        spec.optimizer,
        spec.batch or 1,
        float(spec.recompute),
        host=engine.holder.host is not None,
        compiled=engine.compiled,
        recorded=engine.recorded,
    )
    return expected_of(work, setting)
