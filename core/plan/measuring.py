"""Asks for a measurement, and again one rung down the ladder where a run does not fit; says what it changed.

Each try is a process of its own (`core.train.measure`) that is gone afterwards with all that it held and
wrote. Nothing here imports torch.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.data.sources.packed import cache
from core.errors import UserError
from core.job import Progress, run_job_async
from core.machine.host import cpu_name
from core.models.shape import ModelShape
from core.plan.cards import Card
from core.plan.estimate import Estimate
from core.plan.measured import record_of, remember
from core.plan.memory import Bytes
from core.plan.phases import formula
from core.plan.work import Setting, Work, expected_of, work_of
from core.runs.start import choose
from core.spec import RunSpec

MODULE = "core.train.measure"
MOST = 8
"""Tries: the ladder has about as many rungs."""
LOCK = "lock"
CPU_ERROR = (-0.01, 0.06)
"""Of what was measured on a CPU against the whole run, whose own memory was looked at every two seconds: two
runs of a 28 M model, both measured a twentieth over."""
CARD_ERROR = (-0.002, 0.01)
"""The same on a card: four runs, of full tuning, LoRA, packed LoRA and QLoRA (`python -m
benchmarks.measured`), measured from 0.13 % to 0.22 % over with ROUNDED in it."""
ROUNDED = 0.002
"""Of what torch says was taken: it rounds up what it gives, and by how much depends on what was there before.
A run was seen to take 0.07 % more than its fullest passes by themselves."""


@dataclass(frozen=True)
class Measured:
    """What came of it."""

    spec: RunSpec
    """As it fits; the one that was asked about where nothing had to be changed."""
    changes: tuple[str, ...]
    """What was changed, a sentence each; empty: nothing."""
    told: dict[str, Any]
    """By the process that measured (`core.train.measure.measure`)."""

    @property
    def fits(self) -> bool:
        return bool(self.told["fits"])

    @property
    def others(self) -> str:
        """Who held memory of the card before; empty: nobody."""
        held = self.told.get("others")
        return "" if not held else f"{held['who']}: {held['bytes'] / 2**30:.2f} GiB"


def measure(
    spec: RunSpec, *, cap: int | None = None, anyway: bool = False, on_progress: Progress | None = None
) -> Measured:
    """As `measure_async`, blocking."""
    return asyncio.run(measure_async(spec, cap=cap, anyway=anyway, on_progress=on_progress))


async def measure_async(
    spec: RunSpec, *, cap: int | None = None, anyway: bool = False, on_progress: Progress | None = None
) -> Measured:
    """Real steps of a resolved spec on the card that the run would get; a minute or so a try.

    `cap`: bytes of a smaller card for which this one is to stand. Cancelling ends the process. UserError: the
    card is held by another run (unless `anyway`), or what a run would be refused for.
    """
    gpus = await asyncio.to_thread(choose, spec, anyway)
    changes: list[str] = []
    for _ in range(MOST):
        with _scratch() as folder:
            request = {
                "spec": spec.model_dump(mode="json"),
                "folder": str(folder),
                "cap": cap,
                "gpu": gpus[0].uuid or str(gpus[0].index) if gpus else None,
            }
            told = await run_job_async(MODULE, request, on_progress)
        rung = told.get("rung")
        if told["fits"] or not rung:
            break
        changes.append(f"{told['why']}: {rung['said']}")
        spec = spec.model_copy(update=rung["changes"])
    return Measured(spec, tuple(changes), told)


def kept(measured: Measured, shape: ModelShape, plain: Estimate, expected: float | None = None) -> Estimate:
    """`estimate_of`, which is kept too: the next estimate is the better for it. OSError: it cannot be.

    `expected`: tokens a second by the form of speed.
    """
    found, told = estimate_of(measured, plain), measured.told
    record = record_of(
        measured.spec,
        shape,
        card=told["card"] or cpu_name(),
        on_gpu=told["kind"] == "cuda",
        objective=told["objective"],
        compiled=told["compiled"],
        recorded=told["engine"]["recorded"],
        host=told["host"] > 0,
        tokens=told["tokens"],
        tensors=found.step.tensors,
        by="measure",
        standing=sum(told["parts"].values()),
        tokens_per_second=told["tokens_per_second"],
        estimate=found.to_dict(),
        expected=expected,
    )
    remember(record)
    return found


def formula_for(measured: Measured, shape: ModelShape, card: Card, report: dict[str, Any] | None) -> Estimate:
    """The closed form of what was measured, as if nothing had been measured before."""
    return formula(*_as_it_was(measured, measured.spec, shape, card, report))


def expected_for(
    measured: Measured, shape: ModelShape, card: Card, report: dict[str, Any] | None
) -> float | None:
    """Tokens a second by the form of speed; the steps that were measured have two passes at most."""
    few = measured.spec.model_copy(update={"accumulate": min(measured.spec.accumulate or 1, 2)})
    return expected_of(*_as_it_was(measured, few, shape, card, report))


def _as_it_was(
    measured: Measured, spec: RunSpec, shape: ModelShape, card: Card, report: dict[str, Any] | None
) -> tuple[Work, Setting]:
    told = measured.told
    method = spec.method if spec.method != "auto" else "lora"  # never auto here
    work = work_of(spec, shape, replace(card, here=False), report, method)
    setting = Setting(
        spec.optimizer,
        spec.batch or 1,
        float(spec.recompute),
        host=bool(told.get("host")),
        compiled=bool(told.get("compiled")),
        recorded=bool(told.get("engine", {}).get("recorded")),
    )
    return work, setting


def estimate_of(measured: Measured, plain: Estimate) -> Estimate:
    """What was measured in the form of all estimates; `formula`: of the same spec.

    The parts that stand are measured one by one, and what comes and goes as a whole: it is divided as the
    closed form divides it. The context is what NVML counts and torch's allocator does not. A merge and the
    disk are not measured.
    """
    if not measured.fits:
        raise UserError("nothing was measured", measured.told["why"], "take a smaller setting", code=1)
    phases, parts = measured.told["phases"], measured.told["parts"]
    step = phases["step"]
    if measured.told["kind"] == "cpu":
        context = plain.step.context
        peaks = {phase: peak["ram"] for phase, peak in phases.items()}
        passing, fragments = max(0, peaks["step"] - context - sum(parts.values())), 0
        context = peaks["step"] - sum(parts.values()) - passing
    else:
        context = step["process"] - step["reserved"] if step["process"] else plain.step.context
        taken = {phase: int(peak["allocated"] * (1 + ROUNDED)) for phase, peak in phases.items()}
        peaks = {phase: one + context for phase, one in taken.items()}
        passing = taken["step"] - sum(parts.values())
        fragments = max(0, step["reserved"] - taken["step"])
    on_cpu = measured.told["kind"] == "cpu"
    compared = on_cpu or not plain.unchecked
    return replace(
        plain,
        kind="measured",
        step=_divided(plain.step, parts, passing, context, fragments, measured.told["host"]),
        load=peaks["load"],
        evaluation=peaks.get("evaluation", 0),
        save=peaks.get("save", 0),
        ram=max(peak["ram"] for phase, peak in phases.items()),
        error=(CPU_ERROR if on_cpu else CARD_ERROR) if compared else None,
        unchecked="" if compared else "not checked against whole runs of this kind",
        correction=None,
        of="",
    )


def _divided(
    like: Bytes, parts: dict[str, int], passing: int, context: int, fragments: int, host: int
) -> Bytes:
    """The closed form's parts, with those that were measured in their place."""
    shares = {name: getattr(like, name) for name in ("kept", "live", "loss", "temporary")}
    whole = sum(shares.values()) or 1
    divided = {name: passing * share // whole for name, share in shares.items()}
    divided["kept"] += passing - sum(divided.values())
    return Bytes(**parts, **divided, context=context, fragments=fragments, host=host)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A folder that is removed, and with it those that were left by who was killed before they could."""
    room = cache("measuring")
    for left in room.iterdir():
        _remove_if_left(left)
    folder = Path(tempfile.mkdtemp(dir=room))
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        inside = folder / "run"
        inside.mkdir()
        yield inside
    finally:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    with contextlib.suppress(OSError):
        lock = os.open(folder / LOCK, os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
