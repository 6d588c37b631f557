"""What is changed when a run does not fit: a fixed ladder on which the rows of every step stay the same.

| rung | what it costs |
|---|---|
| the dial goes further, by quarters | a few per cent of the speed each |
| half as many rows in a pass, twice as many passes in a step | speed, where passes are small already |
| an 8-bit optimiser | a little exactness of its moments |
| and it moves to the host's memory where the card is full | speed |

The length is no rung: shorter rows teach something else, so that is for the user to say. Nor is the method.
A step learns from the same rows in the same order on every rung, so that a run can go down in its middle; of
KTO alone, whose passes hold the answers that are compared, a smaller pass compares with fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from core.models.shape import ModelShape
from core.plan import memory
from core.plan.memory import Bytes, host_holds, may_wait
from core.plan.objective import LEAST_BATCH
from core.spec import Objective, RunSpec

STEP = 0.25
"""From one place of the dial to the next that is sure to be felt."""

Phase = Literal["load", "step", "evaluation", "save"]
"""Where memory ran out: while the model was loaded or saved no rung helps, in an evaluation fewer rows."""


@dataclass(frozen=True)
class Rung:
    spec: RunSpec
    changes: dict[str, Any]
    """The keys that differ from the spec before, with their new values."""

    @property
    def keys(self) -> str:
        """`recompute: 0.5`, as it stands in a spec."""
        return " and ".join(f"{key}: {_plain(value)}" for key, value in self.changes.items())

    @property
    def said(self) -> str:
        """What changed, in a plain sentence without its full stop."""
        told = []
        if "recompute" in self.changes:
            told.append(f"the dial of recompute goes to {_plain(self.changes['recompute'])}")
        if "batch" in self.changes:
            batch, times = self.changes["batch"], self.spec.accumulate
            rows = "1 row" if batch == 1 else f"{batch} rows"
            told.append(f"a pass has {rows}, and a step {times} passes, so that it learns from as many rows")
        if "optimizer" in self.changes:
            words = {
                "adamw_8bit": "in 8 bits",
                "paged_adamw_8bit": "in 8 bits, in the host's memory if need be",
            }
            told.append(f"the optimiser keeps its moments {words[self.changes['optimizer']]}")
        return "; ".join(told)


def step_down(
    spec: RunSpec,
    *,
    objective: Objective = "sft",
    on_gpu: bool = True,
    phase: Phase = "step",
    resumes: bool = False,
    takes: Callable[[RunSpec], int] | None = None,
    by: int = 1,
) -> Rung | None:
    """The next rung below a spec; None where there is none.

    `resumes`: it goes on from a checkpoint, whose exact moments an 8-bit optimiser could not read.
    `takes`: bytes that a spec takes. With it rungs that would save nothing are passed over, and so many are
    taken together as save `by` bytes, or all that there are.
    """
    if phase in ("load", "save"):
        return None
    ways = [_smaller_passes(objective)]
    if phase == "step":
        ways = [_dial, *ways, *([_smaller_moments(resumes)] if on_gpu else [])]
    at, begun = spec, takes(spec) if takes else 0
    held = begun
    for way in ways:
        for further in way(at):
            if takes:
                less = takes(further)
                if less >= held:
                    continue
                held = less
            at = further
            if not takes or begun - held >= by:
                return _rung(spec, at)
    return _rung(spec, at) if at is not spec else None


def bytes_of(
    spec: RunSpec,
    shape: ModelShape,
    *,
    objective: Objective,
    on_gpu: bool,
    compiled: bool,
    recorded: bool = False,
    ram: int = 0,
) -> Bytes:
    """The closed form of a resolved spec. `ram`: bytes of the host's memory that are available."""
    method = spec.method if spec.method != "auto" else "lora"

    def held(host: bool) -> Bytes:
        return memory.estimate(
            shape,
            method,
            batch=spec.batch or 1,
            length=spec.length or 2048,
            rank=spec.lora.rank,
            optimizer=spec.optimizer,
            recompute=1.0 if spec.recompute == "auto" else float(spec.recompute),
            compiled=compiled,
            host=host,
            recorded=recorded,
            precision=_precision(spec, on_gpu),
            on_gpu=on_gpu,
            targets=None if spec.lora.targets == "all-linear" else list(spec.lora.targets),
            accumulate=spec.accumulate or 1,
            dora=spec.lora.dora,
            dropout=spec.lora.dropout > 0,
            objective=objective,
        )

    found = held(ram > 0 and may_wait(on_gpu, compiled))
    away = found.host + (found.optimizer if spec.optimizer.startswith("paged") else 0)
    if found.host and not host_holds(away, ram):
        found = held(False)
    return found


def total_of(spec: RunSpec, shape: ModelShape, *, ram: int = 0, **more: Any) -> int:
    """`bytes_of`, summed, without moments that leave a full card for the host's memory, where that has room.

    `ram`: bytes of it that are available; 0: not known.
    """
    found = bytes_of(spec, shape, ram=ram, **more)
    paged = spec.optimizer.startswith("paged")
    leaves = paged and (not ram or host_holds(found.optimizer + found.host, ram))
    return found.total - (found.optimizer if leaves else 0)


def _dial(spec: RunSpec) -> Iterator[RunSpec]:
    place = 1.0 - STEP if spec.recompute == "auto" else float(spec.recompute)
    while place < 1:
        place = min(1.0, (place // STEP + 1) * STEP)
        yield spec.model_copy(update={"recompute": place})


def _smaller_passes(objective: Objective) -> Callable[[RunSpec], Iterator[RunSpec]]:
    """Half the rows of a pass, or the next fewer that divide a step's rows, and so on."""
    least = LEAST_BATCH[objective]

    def smaller(spec: RunSpec) -> Iterator[RunSpec]:
        batch = spec.batch or 1
        rows = batch * (spec.accumulate or 1)
        while batch > least:
            most = min(batch - 1, max(least, batch // 2))
            batch = next((one for one in range(most, least - 1, -1) if rows % one == 0), 0)
            if batch:
                yield spec.model_copy(update={"batch": batch, "accumulate": rows // batch})

    return smaller


def _smaller_moments(resumes: bool) -> Callable[[RunSpec], Iterator[RunSpec]]:
    def smaller(spec: RunSpec) -> Iterator[RunSpec]:
        if spec.optimizer in ("adamw", "auto") and not resumes:
            spec = spec.model_copy(update={"optimizer": "adamw_8bit"})
            yield spec
        if spec.optimizer == "adamw_8bit":
            yield spec.model_copy(update={"optimizer": "paged_adamw_8bit"})

    return smaller


def _rung(before: RunSpec, after: RunSpec) -> Rung:
    keys = ("recompute", "batch", "accumulate", "optimizer")
    return Rung(
        after, {key: getattr(after, key) for key in keys if getattr(after, key) != getattr(before, key)}
    )


def _precision(spec: RunSpec, on_gpu: bool) -> str:
    if spec.precision != "auto":
        return spec.precision
    return "bf16" if on_gpu else "fp32"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
