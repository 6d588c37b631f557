"""GPU and host readings while a run goes on: what its `gpu` events carry. Cheap enough for each second."""

from __future__ import annotations

import os
import time
from typing import Any

from core.machine import host
from core.machine.gpus import ask, read_processes, text

PROCESSES_EVERY = 10.0
"""Seconds between looks at the process table, which costs more than all the other readings together."""


class Sampler:
    """Readings of the GPUs and of this process. It keeps NVML open and what the last reading counted.

    Made and used by one thread. `sample()` takes a few milliseconds and never raises for a missing value.
    """

    def __init__(self) -> None:
        import psutil

        self._pynvml, self._handles = _open_nvml()
        self._own = psutil.Process(os.getpid())
        self._names = [text(ask(self._pynvml.nvmlDeviceGetName, handle)) for _, handle in self._handles]
        self._processes: list[list[dict[str, Any]]] = [[] for _ in self._handles]
        self._looked = float("-inf")
        self._last = (time.monotonic(), self._own_cpu(), host.cpu_seconds()[0])

    def sample(self) -> dict[str, Any]:
        """{"gpus": [...], "host": {...}} with bytes, watts, °C, MHz and fractions 0-1; None where unknown."""
        now = time.monotonic()
        if now - self._looked >= PROCESSES_EVERY:
            self._looked = now
            self._processes = [self._holders(handle) for _, handle in self._handles]
        return {
            "gpus": [self._gpu(place) for place in range(len(self._handles))],
            "host": self._host(now),
        }

    def _gpu(self, place: int) -> dict[str, Any]:
        nvml = self._pynvml
        index, handle = self._handles[place]
        memory = ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        rates = ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        return {
            "index": index,
            "name": self._names[place],
            "utilisation": rates.gpu / 100 if rates else None,
            "memory_used": int(memory.used) if memory else None,
            "memory_total": int(memory.total) if memory else None,
            "power": _thousandth(ask(nvml.nvmlDeviceGetPowerUsage, handle)),
            "power_limit": _thousandth(ask(nvml.nvmlDeviceGetEnforcedPowerLimit, handle)),
            "temperature": _temperature(nvml, handle),
            "clock_sm": ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
            "clock_memory": ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_MEM),
            "processes": self._processes[place],
        }

    def _holders(self, handle: Any) -> list[dict[str, Any]]:
        rows = read_processes(self._pynvml, handle)
        return [{"pid": row.pid, "name": row.name, "bytes": row.bytes} for row in rows]

    def _host(self, now: float) -> dict[str, Any]:
        before, own_before, all_before = self._last
        own, (everyone, cores) = self._own_cpu(), host.cpu_seconds()
        self._last = (now, own, everyone)
        passed = now - before
        total, available = host.memory()
        return {
            "cpu": min(1.0, (everyone - all_before) / passed / cores) if passed > 0 else None,
            "ram_used": total - available,
            "ram_total": total,
            "worker_cpu": (own - own_before) / passed if passed > 0 else None,
            "worker_ram": int(self._own.memory_info().rss),
        }

    def _own_cpu(self) -> float:
        times = self._own.cpu_times()
        return float(times.user + times.system)


def _open_nvml() -> tuple[Any, list[tuple[int, Any]]]:
    """The binding and (index, handle) of each GPU that answers; ([]) where there is no driver."""
    try:
        import pynvml
    except ImportError:
        return None, []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return pynvml, []
    count = ask(pynvml.nvmlDeviceGetCount) or 0
    found = ((index, ask(pynvml.nvmlDeviceGetHandleByIndex, index)) for index in range(count))
    return pynvml, [(index, handle) for index, handle in found if handle is not None]


def _thousandth(value: int | None) -> float | None:
    return None if value is None else value / 1000


def _temperature(nvml: Any, handle: Any) -> int | None:
    """°C. The call without a V goes away with CUDA 14; drivers before 570 know no other."""
    for function in (nvml.nvmlDeviceGetTemperature, getattr(nvml, "nvmlDeviceGetTemperatureV", None)):
        value = ask(function, handle, nvml.NVML_TEMPERATURE_GPU) if function else None
        if value is not None:
            return int(value)
    return None
