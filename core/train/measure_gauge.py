"""What a measurement reads while the worker's own code trains: the peaks of each phase, and the speed.

It stands where a run's event log stands. A stage that is told begins a phase and ends the one before it, so
that the peaks of loading, stepping, evaluating and saving are told apart.
"""

import contextlib
import re
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from core.job import Progress
from core.machine.others import Others, card_in_use, others_on, own_bytes
from core.plan.ladder import Phase
from core.runs.events import Event, Finding, Stage, Step
from core.train.again import phase_of

SECONDS_BETWEEN_LOOKS = 0.25
"""At what NVML says of this process."""


@dataclass(frozen=True)
class Peak:
    """The most that there was in a phase, bytes."""

    allocated: int = 0
    """Of the card, by tensors; 0 on a CPU."""
    reserved: int = 0
    """Of the card, by torch's allocator."""
    process: int = 0
    """Of the card, by NVML: CUDA's context and all libraries with it; 0 where it does not say."""
    ram: int = 0
    """Of the host's memory, resident."""

    def over(self, other: "Peak") -> "Peak":
        return Peak(*(max(getattr(self, one.name), getattr(other, one.name)) for one in fields(self)))


class Gauge:
    """Written to as to an `EventLog`; nothing that is written is kept but what a measurement wants."""

    def __init__(self, progress: Progress):
        self.phases: dict[Phase, Peak] = {}
        self.steps: list[Step] = []
        self.findings: list[Finding] = []
        self.seconds: dict[Phase, float] = {}
        """Spent in each phase."""
        self.begun = time.monotonic()
        self.first_step_after: float | None = None
        """Seconds from the beginning to the end of the first step."""
        self._progress = progress
        self._stage, self._since = "", self.begun
        gpu = card_in_use()
        self._before = (gpu.memory_used or 0) if gpu else 0
        self.others: Others | None = others_on(gpu) if gpu else None
        """What was held of the card before anything of this process was."""
        self._named = self._lost = 0
        """The most that NVML said of this process by name, and that the card had lost where it did not."""
        self._looked = 0.0
        self.engine: Any = None
        """Counts what recorded passes hold as well, from when it is known."""
        _forget_ram()

    def write(self, event: Event) -> None:
        self._look()
        if isinstance(event, Stage):
            if event.name != self._stage:
                self.close()
                self._stage = event.name
            total = None if event.total is None else int(event.total)
            self._progress(event.name, int(event.done), total)
        elif isinstance(event, Step):
            self.steps.append(event)
            if self.first_step_after is None:
                self.first_step_after = time.monotonic() - self.begun
        elif isinstance(event, Finding):
            self.findings.append(event)

    def close(self) -> None:
        """Ends the phase that goes on: its peaks are read, and the next one's counted anew."""
        self._look(now=True)
        phase, now = phase_of(self._stage), time.monotonic()
        allocated, reserved = _of_torch(self.engine)
        if self._stage == "compile":
            allocated = 0  # trying kernels takes some besides, which a run whose kernels are known does not
        peak = Peak(allocated, reserved, self._named or self._lost, _most_ram())
        self.phases[phase] = peak.over(self.phases.get(phase, Peak()))
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._since
        self._since = now
        _forget_ram()

    def tokens_per_second(self, steps: int) -> float | None:
        """Of the last so many steps."""
        if len(self.steps) <= steps:
            return None
        before, last = self.steps[-steps - 1], self.steps[-1]
        passed = last.seconds - before.seconds
        return (last.tokens - before.tokens) / passed if passed > 0 else None

    def _look(self, now: bool = False) -> None:
        """At what NVML says of this process; where it never names it, at what the card has lost since."""
        if "torch" not in sys.modules or not (
            now or time.monotonic() - self._looked >= SECONDS_BETWEEN_LOOKS
        ):
            return
        self._looked = time.monotonic()
        gpu = card_in_use() if _has_card() else None
        if gpu is None:
            return
        own = own_bytes(gpu)
        if own is not None:
            if not self._named:  # from here on it is known, and what was guessed before is not told
                self.phases = {phase: replace(peak, process=0) for phase, peak in self.phases.items()}
            self._named = max(self._named, own)
        elif gpu.memory_used is not None:
            self._lost = max(self._lost, gpu.memory_used - self._before)


def standing(model: Any, optimizer: Any, full: bool) -> dict[str, int]:
    """Bytes that stand on the device all the time, by part, of a model that has learned a step.

    Moments that move to the host's memory are not among them.
    """
    weights = list(model.parameters())
    learned = [one for one in weights if one.requires_grad]
    trained = sum(one.numel() * one.element_size() for one in learned)
    copies = {name: one for name, one in model.named_buffers() if "rounded_" in name}
    states = optimizer.state.values() if optimizer is not None else ()
    moments = [one for state in states for one in state.values() if hasattr(one, "element_size")]
    moments = [one for one in moments if one.device == learned[0].device]
    return {
        "weights": sum(one.numel() * one.element_size() for one in weights) - (0 if full else trained),
        "quantization": sum(map(_scales, weights)),
        "adapters": 0 if full else trained + _bytes(list(copies.values())),
        "gradients": trained,
        "optimizer": _bytes([one for one in moments if not getattr(one, "is_paged", False)]),
    }


def _bytes(tensors: Sequence[Any]) -> int:
    return sum(one.numel() * one.element_size() for one in tensors)


def _scales(weight: Any) -> int:
    """The scales of a four-bit weight, and the scales of those (bitsandbytes' QuantState)."""
    state = getattr(weight, "quant_state", None)
    if state is None:
        return 0
    inner = getattr(state, "state2", None)
    return _bytes([one for one in (state.absmax, inner.absmax if inner else None) if one is not None])


def _has_card() -> bool:
    torch = sys.modules.get("torch")
    return bool(torch is not None and torch.cuda.is_initialized())


def _of_torch(engine: Any) -> tuple[int, int]:
    """The most that was allocated and reserved since the last time; 0 on a CPU."""
    if not _has_card():
        return 0, 0
    import torch

    reserved = torch.cuda.max_memory_reserved()
    if engine is None:
        allocated = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    else:
        allocated = engine.peak()
        engine.begin()
    return allocated, reserved


def _forget_ram() -> None:
    """The kernel counts the most that is resident anew (Linux: proc_pid_clear_refs, 5); else it goes on."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _most_ram() -> int:
    """The most that was resident since it was last forgotten."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        if found:
            return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
