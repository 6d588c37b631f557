"""Asks a process of its own what the run's real modules take, counted on tensors without numbers.

That process (`core.train.trace`) makes the model from its config alone and puts on it what the run would:
adapters, four bits, the dial, compiled layers, the loss in pieces. One step and one held-out pass then run op
by op through shapes. Weights, scales, adapters, gradients, the optimiser's state, all that is kept, and what
comes and goes are counted where they are made and given back. Load, save, merge, RAM and disk follow from
those and from the closed form (`core.plan.phases`).
"""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace
from typing import Any

from core.errors import UserError
from core.job import Progress, run_job, run_job_async
from core.plan.estimate import Estimate
from core.plan.memory import CONTEXT, FRAGMENTS, SLAB, Bytes
from core.plan.phases import formula
from core.plan.work import Setting, Work, looseness
from core.spec import RunSpec

ERROR = (-0.02, 0.017)
"""Of a trace's tensors at a step's peak, most under and most over the card's: the runs of the closed form's
error (docs/measured/grid.md)."""
JOB = "core.train.trace.job"
SECONDS = 120.0
TURING = (7, 5)
"""Compute capability that a card without bf16 has at most."""
PARTS = tuple(one.name for one in fields(Bytes))


def trace(work: Work, setting: Setting, on_progress: Progress | None = None) -> Estimate:
    """The estimate of the setting on a card, in 5 to 15 s. UserError: for a CPU, for preferences, and where
    the model's modules cannot be traced; the closed form serves then."""
    closed = _closed(work, setting)
    told = run_job(JOB, request_of(work, setting), on_progress, timeout=SECONDS)
    return _estimate(told, closed, work, setting)


async def trace_async(work: Work, setting: Setting, on_progress: Progress | None = None) -> Estimate:
    """As `trace`, leaving the event loop free; cancelling ends the process."""
    closed = _closed(work, setting)
    try:
        async with asyncio.timeout(SECONDS):
            told = await run_job_async(JOB, request_of(work, setting), on_progress)
    except TimeoutError:
        raise UserError("the trace took too long", f"more than {SECONDS:g} s", code=1) from None
    return _estimate(told, closed, work, setting)


def _closed(work: Work, setting: Setting) -> Estimate:
    """What a trace betters, where one can be made."""
    if work.card.kind != "gpu":
        raise _cannot("a trace is of what a card would hold", "this run would compute on a CPU")
    if work.objective != "sft":
        raise _cannot(f"{work.objective} cannot be traced", "its passes are the library's own")
    return formula(work, setting)


def _estimate(told: dict[str, Any], closed: Estimate, work: Work, setting: Setting) -> Estimate:
    step = bytes_of(told, closed.step, setting)
    standing = closed.step.weights + closed.step.quantization + closed.step.adapters
    more = step.weights + step.quantization + step.adapters - standing
    moments = step.optimizer - closed.step.optimizer
    away = int(told["step"].get("optimizer", 0)) - step.optimizer  # of moments that are paged out
    return replace(
        closed,
        kind="trace",
        step=step,
        load=closed.load + more,
        evaluation=told["evaluation"] - away + CONTEXT,
        save=closed.save + more + moments,
        ram=closed.ram + step.host - closed.step.host,
        error=(ERROR[0], ERROR[1] + looseness(work, setting)) if closed.error else None,
        correction=None,
        of="",
    )


def request_of(work: Work, setting: Setting) -> dict[str, object]:
    """What the process is asked: the run as it would be trained."""
    spec = resolved(work, setting)
    how = {
        "batch": setting.batch,
        "length": work.length,
        "tokens": work.tokens(setting.batch, recorded=setting.recorded),
        "held_out": work.held_out_tokens(setting.batch),
        "compiled": setting.compiled,
        "host": setting.host,
        "precision": work.precision,
        "accumulate": work.accumulate(setting.batch),
        "optimizer": setting.optimizer.removeprefix("paged_"),
        "capability": work.card.capability or (None if work.card.bf16 else TURING),
        "recorded": setting.recorded,
    }
    return {"spec": spec.model_dump(mode="json"), "how": how, "small_steps": work.objective != "sft"}


def resolved(work: Work, setting: Setting) -> RunSpec:
    """The spec with what the trace reads of it decided."""
    return work.spec.model_copy(
        update={
            "method": work.method,
            "recompute": setting.recompute,
            "batch": setting.batch,
            "length": work.length,
            "accumulate": work.accumulate(setting.batch),
            "precision": work.precision,
            "optimizer": setting.optimizer,
        }
    )


def bytes_of(told: dict[str, dict[str, int]], closed: Bytes, setting: Setting) -> Bytes:
    """What was traced with what no trace sees: CUDA's context, fragments, and moments that are paged out."""
    found = {part: int(told["step"].get(part, 0)) for part in PARTS}
    if setting.optimizer.startswith("paged"):
        found["optimizer"] = 0
    on_top = found["kept"] + found["live"] + found["loss"] + found["temporary"]
    host = -(-int(told["host"]) // SLAB) * SLAB  # type: ignore[call-overload]
    return Bytes(**found | {"context": closed.context, "fragments": int(FRAGMENTS * on_top), "host": host})


def _cannot(what: str, why: str) -> UserError:
    return UserError(what, why, "take the closed form: plan without --trace", code=1)
