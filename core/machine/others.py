"""The card that this process computes on, as NVML shows it: what this process holds, and what others do."""

from __future__ import annotations

import os
from dataclasses import dataclass

from core.machine.gpus import UNEXPLAINED, Gpu, Process, read_gpus

GIB = 2**30


@dataclass(frozen=True)
class Others:
    """Memory of a card that other processes hold."""

    bytes: int
    who: str
    """The largest of them with their pids, or "others" where NVML names none, as in a container."""

    @property
    def said(self) -> str:
        if self.who == "others":
            return f"others hold {self.bytes / GIB:.2f} GiB of the card"
        return f"others hold {self.bytes / GIB:.2f} GiB of the card ({self.who})"


def card_in_use() -> Gpu | None:
    """The first GPU that CUDA sees, None where NVML shows none. Never raises; some milliseconds."""
    usable = [gpu for gpu in read_gpus().gpus if gpu.visible and not gpu.error]
    chosen = (os.environ.get("CUDA_VISIBLE_DEVICES") or "").split(",")[0].strip()
    for gpu in usable:
        if chosen and (chosen == str(gpu.index) or (gpu.uuid or "").startswith(chosen)):
            return gpu
    return usable[0] if usable else None


def own_bytes(gpu: Gpu, pid: int | None = None) -> int | None:
    """What NVML says that a process (this one) holds of a card; None where its table does not show it."""
    listed = _listed(gpu, os.getpid() if pid is None else pid)
    return listed.bytes if listed else None


def others_on(gpu: Gpu, own: int = 0, pid: int | None = None) -> Others | None:
    """What others hold of a card; None: nothing that counts.

    `own`: bytes that this process holds where NVML does not say. Where it does not show this process, the
    names in its table are those of other ids outside this container, and are not told.
    """
    if gpu.memory_used is None:
        return None
    pid = os.getpid() if pid is None else pid
    listed = _listed(gpu, pid)
    named = [one for one in gpu.processes if one.pid != pid and one.bytes] if listed else []
    mine = listed.bytes if listed and listed.bytes is not None else own
    known = sum(one.bytes or 0 for one in named)
    rest = gpu.memory_used - mine - known
    total = known + (rest if rest >= UNEXPLAINED else 0)
    if total <= 0:
        return None
    return Others(total, ", ".join(map(_named, named[:3])) or "others")


def _listed(gpu: Gpu, pid: int) -> Process | None:
    return next((one for one in gpu.processes if one.pid == pid), None)


def _named(one: Process) -> str:
    return f"{one.name or 'a process'}, pid {one.pid}: {(one.bytes or 0) / GIB:.2f} GiB"
