"""The passes before the first step, which are not learned from: so that all is compiled when a run begins,
and to find out whether the card waits for the host, and passes are better started as a whole."""

import time
import traceback
from dataclasses import dataclass, replace
from typing import Any

import torch

from core.train.engine.graphs import GIVES_UP, ROOM, free_bytes
from core.train.engine.layers import INSTEAD
from core.train.engine.setup import Engine

BUSY = 0.75
"""Where the host is done with a pass in less than this share of its time, the card is what takes the time."""
QUICKER = 0.95
"""A recording stays where its passes take at most this share of the others'."""
ALIKE = (2e-3, 0.02)
"""How far a recorded pass's loss and gradient may be from another's, as shares: kernels round differently."""


def warm_up(engine: Engine, tuner: Any) -> str | None:
    """One pass that is not learned from, so that all is compiled when the run begins; seconds in `engine`.

    Returns why compiling failed; the layers then run as they are, and hold the same. None: it did not.
    """
    begun = time.monotonic()
    try:
        _pass(tuner)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        traceback.print_exc()
        engine.holder.uncompile()
        engine.kinds = tuple(INSTEAD.get(one, one) for one in engine.kinds)
        if engine.head:
            engine.head.uncompile()
        torch.compiler.reset()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        engine.compiled, engine.why = False, f"compiling failed ({lines[0][:160]})"
        return engine.why
    engine.compile_seconds = round(time.monotonic() - begun, 2)
    return None


@dataclass(frozen=True)
class Timed:
    """One pass, forward and backward."""

    seconds: float
    host: float
    """Until the host had started all of it."""
    loss: float
    norm: float
    """Of the gradients."""
    memory: int
    """Bytes that it took at its fullest, beside what stands."""
    tokens: int
    """With what fills it up."""


def record(engine: Engine, tuner: Any, most: int | None = None, before: bool | None = None) -> None:
    """Lets passes over the layers be started as a whole, where that is quicker here and learns the same.

    `most`: rows of the pack that has most of them, where rows are packed. `before`: whether they were when
    the run was measured; which is quicker is not asked again then, for it is close where two askings differ,
    and memory is as measured. What was found is in `engine`.
    """
    graphs = engine.holder.graphs
    if not engine.compiled or graphs is None:
        return
    if before is False:
        engine.recorded_why = "passes were not recorded when the run was measured"
        return
    plain = _timed(tuner)
    if not before and plain.host < BUSY * plain.seconds:
        engine.recorded_why = "the card is busy all the time"
        return
    graphs.token_bytes = plain.memory / plain.tokens
    if free_bytes() < ROOM * plain.memory:
        engine.recorded_why = "a recording wants more memory than is free"
        return
    layout = engine.layout
    if layout.kind == "lines":
        rows = tuner.args.per_device_train_batch_size
        borders = rows * ((most or 1) + 1) + 1 if layout.length else rows + 2
        engine.layout = replace(layout, borders=borders)
        tuner.lay_out(engine.layout)
    graphs.on = True
    try:
        _timed(tuner)
        recorded = _timed(tuner)
    except (RuntimeError, *GIVES_UP) as error:
        traceback.print_exc()
        line = (str(error).splitlines() or [type(error).__name__])[0]
        engine.recorded_why = f"recording failed ({line[:160]})"
    else:
        if not _alike(plain, recorded):
            engine.recorded_why = (
                f"a recorded pass came to {recorded.loss:.4f} and {recorded.norm:.3f}, not {plain.loss:.4f} "
                f"and {plain.norm:.3f}"
            )
        elif not before and recorded.seconds > QUICKER * plain.seconds:
            engine.recorded_why = "it is not quicker"
        else:
            engine.recorded = True
            engine.recorded_why = (
                f"{1000 * recorded.seconds:.0f} ms a pass, {1000 * plain.seconds:.0f} without"
            )
    if not engine.recorded:
        graphs.drop()
        engine.layout = layout
        tuner.lay_out(layout)
        torch.cuda.empty_cache()


def _alike(one: Timed, other: Timed) -> bool:
    return (
        abs(one.loss - other.loss) <= ALIKE[0] * abs(one.loss)
        and abs(one.norm - other.norm) <= ALIKE[1] * one.norm
    )


def _timed(tuner: Any) -> Timed:
    """The quicker of two passes over the first rows."""
    return min((_pass(tuner) for _ in range(2)), key=lambda one: one.seconds)


def _pass(tuner: Any) -> Timed:
    """Forward and backward over the first rows, with nothing left behind but what was compiled."""
    cuda = torch.cuda.is_available()
    rows = range(min(tuner.args.per_device_train_batch_size, len(tuner.train_dataset)))
    learned = [one for one in tuner.model.parameters() if one.requires_grad]
    with torch.random.fork_rng([torch.cuda.current_device()] if cuda else []):
        batch = tuner.data_collator([tuner.train_dataset[place] for place in rows])
        tuner.model.train()
        inputs = {
            name: one.to(tuner.args.device) if isinstance(one, torch.Tensor) else one
            for name, one in batch.items()
        }
        tokens = inputs["input_ids"].numel()
        standing = _begin(cuda)
        begun = time.perf_counter()
        loss = tuner.compute_loss(tuner.model, inputs)
        loss.backward()
        host = time.perf_counter() - begun
        if cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begun
        peak = torch.cuda.max_memory_allocated() if cuda else 0
        norms = torch._foreach_norm([one.grad for one in learned if one.grad is not None])
        norm = float(torch.linalg.vector_norm(torch.stack([one.float() for one in norms]))) if norms else 0.0
        timed = Timed(seconds, host, float(loss.detach()), norm, peak - standing, tokens)
        tuner.model.zero_grad()
    tuner.trained_tokens = 0
    return timed


def _begin(cuda: bool) -> int:
    """Bytes that stand when all that was started is done; from here on the peak is counted."""
    if not cuda:
        return 0
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    return int(torch.cuda.memory_allocated())
