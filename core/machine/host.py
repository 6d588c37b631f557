"""The box around the GPUs: processor, memory, disks and the Hub login, as this process may use them."""

from __future__ import annotations

import functools
import math
import os
import platform
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60
"""A cgroup writes "no limit" as a number near 2^63; nothing real comes near this many bytes."""


@dataclass(frozen=True)
class Disk:
    path: str
    purpose: str
    """runs | models | temporary: what will be written there."""
    total: int
    free: int


@dataclass(frozen=True)
class Hub:
    token_found: bool
    where: str | None
    """The environment variable or file that holds the token (never the token)."""
    user: str | None
    """Who the token belongs to; asking that needs the network, so None until someone asked."""
    offline: bool = False
    """HF_HUB_OFFLINE is set: nothing will be fetched."""


def cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cpu_cores() -> int:
    """Cores that this process may use at once: those it is bound to, within its container's share."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = _cpu_share()
    return min(bound, max(1, math.ceil(share))) if share else bound


def _cpu_share() -> float | None:
    """Cores that the container may use (cgroup v2, then v1), or None without a limit."""
    for folder in _own_cgroup("", "cpu"):
        try:
            quota, _, period = (folder / "cpu.max").read_text().strip().partition(" ")
            if quota != "max":
                return int(quota) / int(period)
        except (OSError, ValueError):
            pass
        try:
            granted = int((folder / "cpu.cfs_quota_us").read_text())
            if granted > 0:
                return granted / int((folder / "cpu.cfs_period_us").read_text())
        except (OSError, ValueError):
            pass
    return None


def cpu_seconds() -> tuple[float, float]:
    """(processor seconds used so far, cores they were spread over) of this container, or of the box."""
    import psutil

    share = _cpu_share()
    if share:
        for folder in _own_cgroup("", "cpuacct"):
            used = _stat(folder / "cpu.stat").get("usage_usec")
            if used is None and (nanoseconds := _number(folder / "cpuacct.usage")) is not None:
                used = nanoseconds // 1000
            if used is not None:
                return used / 1e6, share
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # guest time is already within user time
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return sum(times) - idle - guest, float(os.cpu_count() or 1)


def memory() -> tuple[int, int]:
    """(total, available) bytes of RAM, no more than the container's limit leaves."""
    import psutil

    whole = psutil.virtual_memory()
    total, available = int(whole.total), int(whole.available)
    limit, used = container_memory()
    if limit is not None and limit < total:
        total = limit
        available = min(available, max(0, limit - (used or 0)))
    return total, available


def container_memory() -> tuple[int | None, int | None]:
    """(limit, in use) bytes of the tightest cgroup around this process; (None, None) without one.

    File cache that the kernel gives back under pressure (inactive_file) does not count as in use.
    """
    tightest: int | None = None
    used: int | None = None
    for folder in _own_cgroup("", "memory"):
        for limit_name, used_name in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit = _number(folder / limit_name)
            if limit is None or limit >= UNLIMITED or (tightest is not None and limit >= tightest):
                continue
            tightest = limit
            held = _number(folder / used_name)
            used = max(0, held - _inactive_file(folder)) if held is not None else None
    return tightest, used


@functools.cache
def _own_cgroup(v2: str, v1: str) -> tuple[Path, ...]:
    """Folders that hold this process's limits, nearest first; in a container it is mostly the root."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    folders: list[Path] = []
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            root = CGROUP
        elif v1 in controllers.split(","):
            root = CGROUP / v1
        else:
            continue
        own = root / path.lstrip("/")
        folders += [folder for folder in (own, *own.parents) if folder == root or root in folder.parents]
    folders += [CGROUP, CGROUP / v1]
    return tuple(dict.fromkeys(folder for folder in folders if folder.is_dir()))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _inactive_file(folder: Path) -> int:
    # v1 counts a folder's children under total_inactive_file, v2 under inactive_file
    counts = _stat(folder / "memory.stat")
    return counts.get("total_inactive_file", counts.get("inactive_file", 0))


def _stat(file: Path) -> dict[str, int]:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(" ") for line in lines)
    return {name: int(value) for name, _, value in pairs if value.isdigit()}


def hub_cache() -> Path:
    """Where huggingface_hub keeps what it downloads (its own rule, read without importing it)."""
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(os.path.expandvars(cache)).expanduser() if cache else hub_home() / "hub"


def hub_home() -> Path:
    home = os.environ.get("HF_HOME")
    if home:
        return Path(os.path.expandvars(home)).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface"


def read_hub() -> Hub:
    """Whether a Hub token lies here. It is neither kept nor shown, and nobody is asked over the network."""
    offline = any(
        os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(name, "").strip():
            return Hub(True, name, None, offline)
    file = Path(os.environ.get("HF_TOKEN_PATH") or hub_home() / "token").expanduser()
    try:
        if file.stat().st_size > 0:
            return Hub(True, str(file), None, offline)
    except OSError:
        pass
    return Hub(False, None, None, offline)


def read_disks(runs: Path) -> tuple[Disk, ...]:
    """The file systems that a run writes to, one row a purpose."""
    places = ((runs, "runs"), (hub_cache(), "models"), (Path(tempfile.gettempdir()), "temporary"))
    disks = []
    for path, purpose in places:
        there = path.absolute()
        while not there.exists() and there != there.parent:
            there = there.parent
        try:
            usage = shutil.disk_usage(there)
        except OSError:
            continue
        disks.append(Disk(str(path), purpose, usage.total, usage.free))
    return tuple(disks)
