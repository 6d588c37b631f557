"""One look at the box: what it has, and what stands in the way of a run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.machine import host
from core.machine.core_speed import usual_core_ms
from core.machine.doctor import Finding, doctor
from core.machine.gpus import Gpu, read_gpus
from core.machine.host import Disk, Hub
from core.machine.torch_check import Torch, find_torch
from core.runs.folder import runs_dir


@dataclass(frozen=True)
class Machine:
    """A snapshot; `dataclasses.asdict` of it is JSON. Sizes in bytes."""

    gpus: tuple[Gpu, ...]
    driver: str | None
    cuda_driver: tuple[int, int] | None
    """The newest CUDA that the driver speaks."""
    nvml: str | None
    """Why no GPU could be asked, where that is so."""
    cpu_name: str
    cpus: int
    """Cores that this process may use (a container's share of them)."""
    ram_total: int
    ram_available: int
    disks: tuple[Disk, ...]
    torch: Torch | None
    hub: Hub
    findings: tuple[Finding, ...] = ()
    core_ms: float | None = None
    """What one of its cores takes for a fixed piece of Python (`core.machine.core_speed`); None: not looked
    at, since no card waits for it."""


def look() -> Machine:
    """This box now, in well under 100 ms. Never raises: what cannot be known is None and said in findings."""
    cards = read_gpus()
    total, available = host.memory()
    machine = Machine(
        gpus=cards.gpus,
        driver=cards.driver,
        cuda_driver=cards.cuda_driver,
        nvml=cards.problem,
        cpu_name=host.cpu_name(),
        cpus=host.cpu_cores(),
        ram_total=total,
        ram_available=available,
        disks=host.read_disks(runs_dir()),
        torch=find_torch(),
        hub=host.read_hub(),
        core_ms=usual_core_ms() if cards.gpus else None,
    )
    return replace(machine, findings=doctor(machine))
