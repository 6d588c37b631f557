"""The card that a plan is made for: this machine's, one from the list of known cards, or a size of memory."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errors import UserError
from core.machine import Machine
from core.machine.gpus import BF16_CAPABILITY, Gpu
from core.numbers import gib
from core.plan.card_names import Known, named, of_driver
from core.spec import RunSpec

GIB = 2**30
SLICES = 8
"""Parts of which a split card's memory has so many, and its processors about as many (MIG user guide)."""
RESERVE = 0.05
"""Of the card's memory that is left free: the estimate's error, and what others may take meanwhile."""
CPU_RESERVE = 0.15
DIFFERS = 2**26
"""Bytes by which a driver's figures may differ from each other before it is worth a word."""


@dataclass(frozen=True)
class Card:
    """Where a run would compute. Sizes in bytes."""

    name: str
    memory_total: int
    memory_free: int
    bf16: bool
    kind: str = "gpu"
    """gpu or cpu."""
    tflops: float | None = None
    """Dense half precision with sums in fp32, by data sheet; None: not known."""
    bandwidth: float | None = None
    """GB/s of its memory, by data sheet; None: not known."""
    ram: int = 0
    """Bytes of the host's memory that are available beside the card's own; 0: none, or not known."""
    cores: int = 0
    """Of a CPU."""
    core_ms: float | None = None
    """What a core of its host takes for a piece of Python (`core.machine.core_speed`); None: not known."""
    index: int | None = None
    """Of a GPU that is here."""
    here: bool = True
    price: float | None = None
    """Of an hour, as the user said; None: not known."""
    listed: str | None = None
    """Its name in the list of known cards."""
    capability: tuple[int, int] | None = None
    """Compute capability; None: not known."""
    doubt: str = ""
    """What its driver says of its memory that cannot be, and what was taken instead."""

    @property
    def precision(self) -> str:
        if self.kind == "cpu":
            return "fp32"
        return "bf16" if self.bf16 else "fp16"


def card_named(name: str, *, ram: int = 0) -> Card:
    """A card that need not be here, by its name ("4090", "a100 80gb"). `ram`: bytes available in its box.

    UserError names the cards that it may be, or the nearest.
    """
    return of_list(named(name), ram=ram)


def of_list(one: Known, *, ram: int = 0) -> Card:
    bf16 = one.capability >= BF16_CAPABILITY
    return Card(
        one.name,
        one.memory,
        one.memory,
        bf16,
        tflops=one.tflops,
        bandwidth=one.bandwidth,
        ram=ram,
        here=False,
        listed=one.name,
        capability=one.capability,
    )


def card_of_size(gib: float, *, ram: int = 0) -> Card:
    """A card of that many GiB of which nothing else is known; taken to have bf16. UserError: no such size."""
    if not 1 <= gib <= 100_000:
        raise UserError(
            f"--vram {gib:g} is no card",
            "its memory is given in GiB, 1 or more (CUDA itself takes 0.7)",
            "give such as 24",
        )
    return Card(f"a card of {gib:g} GiB", int(gib * GIB), int(gib * GIB), True, ram=ram, here=False)


def room(card: Card) -> int:
    """Bytes that a run may take: what is free, less the reserve."""
    reserve = CPU_RESERVE if card.kind == "cpu" else RESERVE
    return int(card.memory_free - reserve * card.memory_total)


def card_here(spec: RunSpec, machine: Machine) -> Card:
    """The GPU that the run would get, or this machine's CPU where there is none that answers."""
    usable = [gpu for gpu in machine.gpus if not gpu.error and gpu.visible]
    asked = [gpu for gpu in usable if spec.gpus != "auto" and gpu.index in spec.gpus]
    pool = asked or usable
    if not pool or (machine.torch is not None and machine.torch.built_for_cpu):
        return _cpu(machine)
    return _gpu(max(pool, key=lambda gpu: gpu.memory_free or 0), machine)


def _gpu(gpu: Gpu, machine: Machine) -> Card:
    known = of_driver(gpu.name or "", gpu.memory_total or None)
    total, free, shared, doubt = _memory(gpu, machine, known)
    compute, memory = _share(gpu, total, known)
    bf16 = gpu.bf16 if gpu.bf16 is not None else known is not None and known.capability >= BF16_CAPABILITY
    return Card(
        gpu.name or f"GPU {gpu.index}",
        total,
        free,
        bf16,
        tflops=known.tflops * compute if known and known.tflops else None,
        bandwidth=known.bandwidth * memory if known and known.bandwidth else None,
        ram=0 if shared else machine.ram_available,
        core_ms=machine.core_ms,
        index=gpu.index,
        listed=known.name if known else None,
        capability=gpu.capability or (known.capability if known else None),
        doubt=doubt,
    )


def _memory(gpu: Gpu, machine: Machine, known: Known | None) -> tuple[int, int, bool, str]:
    """(total, free, whether it is the host's, doubt). What is free is the least that any figure allows."""
    held = max(gpu.memory_used or 0, sum(one.bytes or 0 for one in gpu.processes))
    total, doubt = gpu.memory_total or 0, ""
    if not total:
        # boards that share the host's memory tell none of their own
        if known is None or known.memory > 0.8 * machine.ram_total or "GB10" in known.name:
            return machine.ram_total, machine.ram_available, True, ""
        total = known.memory
        doubt = f"the driver does not tell how much memory {gpu.name} has: {gib(total)}, as such cards have"
    most = max(0, total - held)
    free = most if gpu.memory_free is None else gpu.memory_free
    if free > total + DIFFERS:
        doubt = f"the driver says that {gib(free)} of {gib(total)} are free, which cannot be"
        doubt += f": {gib(most)} are taken to be"
    elif free > most + DIFFERS:
        doubt = f"the driver says that {gib(free)} of {gib(total)} are free and {gib(held)} in use"
        doubt += f": {gib(most)} are taken to be free"
    return total, max(0, min(free, most)), False, doubt


def _share(gpu: Gpu, total: int, known: Known | None) -> tuple[float, float]:
    """Of a whole card's rates: all, or what a part of a split one has ("… MIG 3g.40gb": three of seven)."""
    if not gpu.mig or known is None:
        return 1.0, 1.0
    part = re.search(r"\bMIG (\d)g\.", gpu.name or "")
    memory = min(1.0, total / known.memory)
    processors = int(part[1]) if part else round(memory * SLICES)
    return (1.0 if processors >= SLICES - 1 else processors / SLICES), memory


def _cpu(machine: Machine) -> Card:
    return Card(machine.cpu_name, machine.ram_total, machine.ram_available, False, "cpu", cores=machine.cpus)
