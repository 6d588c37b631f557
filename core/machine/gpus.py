"""The GPUs of this box through NVML: every value may be missing, and one dead GPU is a row, not a crash."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

BF16_CAPABILITY = (8, 0)
"""Compute capability from which bf16 is in hardware (NVIDIA CUDA C++ Programming Guide, Ampere)."""


@dataclass(frozen=True)
class Process:
    pid: int
    name: str | None
    """None where the process lies outside this container or is another user's."""
    user: str | None
    bytes: int | None


@dataclass(frozen=True)
class Gpu:
    index: int
    """NVML's, which is the order of the PCI bus. The parts of a MIG GPU share the index of the whole."""
    uuid: str | None
    name: str | None
    memory_total: int | None
    memory_free: int | None
    memory_used: int | None
    capability: tuple[int, int] | None
    bf16: bool | None
    processes: tuple[Process, ...] = ()
    mig: bool = False
    """A part of a GPU that was split; it is used by its uuid."""
    visible: bool = True
    """False where CUDA_VISIBLE_DEVICES hides it from CUDA."""
    note: str | None = None
    """What its process table leaves unsaid."""
    error: str | None = None


@dataclass(frozen=True)
class Cards:
    gpus: tuple[Gpu, ...]
    driver: str | None
    cuda_driver: tuple[int, int] | None
    """The newest CUDA that the driver speaks."""
    problem: str | None
    """Why no GPU could be asked, e.g. "no NVIDIA driver"."""


def read_gpus() -> Cards:
    """All GPUs as NVML sees them. Never raises; some milliseconds once the driver is awake."""
    try:
        import pynvml
    except ImportError:
        return Cards((), None, None, "the Python package nvidia-ml-py is not installed")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Cards((), None, None, _why_no_nvml(pynvml, error))
    try:
        cuda = ask(pynvml.nvmlSystemGetCudaDriverVersion)
        gpus: list[Gpu] = []
        for index in range(ask(pynvml.nvmlDeviceGetCount) or 0):
            gpus += _read(pynvml, index)
        return Cards(
            tuple(gpus),
            text(ask(pynvml.nvmlSystemGetDriverVersion)),
            (cuda // 1000, cuda % 1000 // 10) if cuda else None,
            None,
        )
    finally:
        ask(pynvml.nvmlShutdown)


def ask(function: Callable[..., Any], *arguments: Any) -> Any:
    """What NVML answers, or None: each of its values may be unsupported, forbidden or lost."""
    import pynvml

    try:
        return function(*arguments)
    except pynvml.NVMLError:
        return None


def text(value: Any) -> str | None:
    """NVML's strings are bytes in some releases."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _why_no_nvml(pynvml: Any, error: Any) -> str:
    if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        return "no NVIDIA driver"
    if error.value == pynvml.NVML_ERROR_DRIVER_NOT_LOADED:
        return "the NVIDIA driver is installed but not loaded"
    if error.value == pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        return "the NVIDIA driver was updated and waits for a restart"
    return f"NVML says: {error}"


def _read(pynvml: Any, index: int) -> list[Gpu]:
    """One row a GPU, or one a part where it is split by MIG."""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError as error:
        blank = Gpu(index, None, None, None, None, None, None, None, visible=_visible(index, None))
        return [_with_error(blank, str(error))]
    mode = ask(pynvml.nvmlDeviceGetMigMode, handle)
    parts = []
    if mode and mode[0]:
        count = ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
        found = (ask(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, part) for part in range(count))
        parts = [_row(pynvml, index, part, handle, mig=True) for part in found if part is not None]
        if not parts:  # CUDA sees nothing of such a GPU, whatever memory the whole says it has
            whole = _row(pynvml, index, handle, handle, mig=False)
            return [_with_error(whole, "it is to be split (MIG), and no part of it was made or given to us")]
    return parts or [_row(pynvml, index, handle, handle, mig=False)]


def _row(pynvml: Any, index: int, handle: Any, whole: Any, *, mig: bool) -> Gpu:
    uuid = text(ask(pynvml.nvmlDeviceGetUUID, handle))
    memory = ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    capability = ask(pynvml.nvmlDeviceGetCudaComputeCapability, whole)
    capability = tuple(capability) if capability else None
    processes = read_processes(pynvml, handle)
    used = int(memory.used) if memory else None
    return Gpu(
        index=index,
        uuid=uuid,
        name=text(ask(pynvml.nvmlDeviceGetName, handle)),
        memory_total=int(memory.total) if memory else None,
        memory_free=int(memory.free) if memory else None,
        memory_used=used,
        capability=capability,
        bf16=capability >= BF16_CAPABILITY if capability else None,
        processes=processes,
        mig=mig,
        visible=_visible(index, uuid),
        note=_note(processes, used),
        error=_lost(pynvml, handle) if memory is None else None,
    )


def _with_error(gpu: Gpu, error: str) -> Gpu:
    return Gpu(**{**gpu.__dict__, "error": error})


def _lost(pynvml: Any, handle: Any) -> str | None:
    """Why the memory is unknown where that means a broken GPU; a shared memory is merely unsupported."""
    try:
        pynvml.nvmlDeviceGetMemoryInfo(handle)
    except pynvml.NVMLError as error:
        return None if error.value == pynvml.NVML_ERROR_NOT_SUPPORTED else str(error)
    return None


def read_processes(pynvml: Any, handle: Any) -> tuple[Process, ...]:
    """Who holds memory, the largest first. In a container NVML names host processes, or none."""
    held: dict[int, int | None] = {}
    for function in (
        pynvml.nvmlDeviceGetComputeRunningProcesses,
        pynvml.nvmlDeviceGetGraphicsRunningProcesses,
    ):
        for process in ask(function, handle) or ():
            size = process.usedGpuMemory
            held[process.pid] = max(held.get(process.pid) or 0, size) if size is not None else None
    rows = [Process(pid, *_who(pid), size) for pid, size in held.items()]
    return tuple(sorted(rows, key=lambda row: -(row.bytes or 0)))


def _who(pid: int) -> tuple[str | None, str | None]:
    import psutil

    try:
        process = psutil.Process(pid)
        return process.name(), process.username()
    except (psutil.Error, KeyError, ValueError, OSError):
        return None, None


UNEXPLAINED = 1 << 30
"""Memory in use (bytes) from which an empty process table wants a word; the driver alone holds less."""


def _note(processes: tuple[Process, ...], used: int | None) -> str | None:
    if not processes and (used or 0) >= UNEXPLAINED:
        return (
            "memory is held, but no process is named: it is outside this container, or hidden from this user"
        )
    if processes and all(process.name is None for process in processes):
        return "these process ids are of the host, outside this container"
    return None


def _visible(index: int, uuid: str | None) -> bool:
    """Whether CUDA_VISIBLE_DEVICES leaves this GPU in sight (numbers taken in the order of the PCI bus)."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return True
    for name in (part.strip() for part in chosen.split(",")):
        if name == str(index) or (uuid and name and uuid.startswith(name)):
            return True
        if name.startswith("-") or not name:  # CUDA stops at the first that is none
            return False
    return False
