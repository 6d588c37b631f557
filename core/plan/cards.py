"""The card that a plan is made for: this machine's, one from the list of known cards, or a size of memory."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.errors import UserError, nearest
from core.machine import Machine
from core.machine.gpus import Gpu
from core.spec import RunSpec

GIB = 2**30
FILE = Path(__file__).with_name("cards.yaml")
BF16_CAPABILITY = (8, 0)


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
    """Dense half precision, by data sheet; None: not known."""
    bandwidth: float | None = None
    """GB/s of its memory, by data sheet; None: not known."""
    ram: int = 0
    """Bytes of the host's memory that are available beside the card's own; 0: none, or not known."""
    cores: int = 0
    """Of a CPU."""
    index: int | None = None
    """Of a GPU that is here."""
    here: bool = True

    @property
    def precision(self) -> str:
        if self.kind == "cpu":
            return "fp32"
        return "bf16" if self.bf16 else "fp16"


@functools.cache
def known_cards() -> tuple[dict[str, Any], ...]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return tuple(yaml.load(FILE.read_text(encoding="utf-8"), Loader=loader))


def card_named(name: str) -> Card:
    """A card that need not be here, by its name ("4090", "a100 80gb"). UserError names the nearest."""
    found = _lookup(name)
    if found is None:
        names = [str(one["name"]) for one in known_cards()]
        by_number = {name.split()[1]: name for name in names if " " in name}
        meant = nearest(name, names) or by_number.get(nearest(name, by_number) or "")
        todo = f"did you mean {meant}?" if meant else f"known are {', '.join(names)}."
        raise UserError(f"no card is called {name}", "it is not in the list", f"{todo} Or give --vram GIB")
    memory = int(found["memory_gib"] * GIB)
    bf16 = tuple(found["capability"]) >= BF16_CAPABILITY
    tflops, bandwidth = found["tflops"], found["bandwidth"]
    return Card(found["name"], memory, memory, bf16, tflops=tflops, bandwidth=bandwidth, here=False)


def card_of_size(gib: float) -> Card:
    """A card of that many GiB of which nothing else is known; taken to have bf16. UserError: no such size."""
    if not 1 <= gib <= 100_000:
        raise UserError(
            f"--vram {gib:g} is no card", "its memory is given in GiB, 1 or more", "give such as 24"
        )
    return Card(f"a card of {gib:g} GiB", int(gib * GIB), int(gib * GIB), True, here=False)


def card_here(spec: RunSpec, machine: Machine) -> Card:
    """The GPU that the run would get, or this machine's CPU where there is none that answers."""
    usable = [gpu for gpu in machine.gpus if not gpu.error and gpu.visible]
    asked = [gpu for gpu in usable if spec.gpus != "auto" and gpu.index in spec.gpus]
    pool = asked or usable
    if not pool or (machine.torch is not None and machine.torch.built_for_cpu):
        return _cpu(machine)
    return _gpu(max(pool, key=lambda gpu: gpu.memory_free or 0), machine)


def _gpu(gpu: Gpu, machine: Machine) -> Card:
    known = _lookup(gpu.name or "")
    # a GPU that does not tell its memory shares the machine's
    shared = gpu.memory_total is None
    total = machine.ram_total if gpu.memory_total is None else gpu.memory_total
    free = machine.ram_available if shared else gpu.memory_free
    return Card(
        gpu.name or f"GPU {gpu.index}",
        total,
        total if free is None else free,
        bool(gpu.bf16),
        tflops=known["tflops"] if known else None,
        bandwidth=known["bandwidth"] if known else None,
        ram=0 if shared else machine.ram_available,
        index=gpu.index,
    )


def _cpu(machine: Machine) -> Card:
    return Card(machine.cpu_name, machine.ram_total, machine.ram_available, False, "cpu", cores=machine.cpus)


def _lookup(name: str) -> dict[str, Any] | None:
    """The known card whose words all stand in `name`, or whose own hold all of `name`'s; the longest wins."""
    words = _words(name)
    if not words:
        return None
    inside = [one for one in known_cards() if _words(one["name"]) <= words]
    around = [one for one in known_cards() if words <= _words(one["name"])]
    fits = sorted(inside, key=lambda one: -len(_words(one["name"])))
    if fits:
        return fits[0]
    return around[0] if around else None


def _words(name: str) -> set[str]:
    """ "NVIDIA A100-SXM4-80GB" -> {a100, 80gb}: what tells cards apart."""
    noise = {"nvidia", "geforce", "tesla", "graphics", "sxm", "sxm2", "sxm4", "sxm5", "hbm3", "hbm3e", "rtx"}
    plain = re.sub(r"(\d+)\s+gb\b", r"\1gb", name.lower())
    return set(re.findall(r"[a-z0-9]+", plain)) - noise
