"""One worker a run: the lock that it holds, and how others see whether it is alive.

`lockf` frees at once when its holder is killed, where `flock` would stay with forked children.
The pid alone proves nothing (it may be another program's by now, or a zombie), so the process's
own start time and the boot id stand beside it.
"""

import contextlib
import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import psutil

from core.errors import UserError
from core.runs.folder import RunFolder

QUIET_SECONDS = 60
"""Without a heartbeat for this long, a run is shown as giving no sign. Nothing is killed for it."""


def place() -> str:
    """Where a pid means something: this boot of this machine, and this container's pid namespace."""
    boot = f"{socket.gethostname()}-{int(psutil.boot_time())}"
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with contextlib.suppress(OSError):
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return boot


class WorkerLock:
    """Held by a worker from its first line to its last."""

    def __init__(self, run: RunFolder):
        self._run = run
        self._fd: int | None = None

    def acquire(self, **more: Any) -> None:
        """Takes the run, and writes worker.json with `more` in it. UserError when another holds it."""
        fd = os.open(self._run.lock_file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise UserError(
                f"run {self._run.name} has a worker already",
                "two may not hold one run",
                f"watch it with: finetui attach {self._run.name}",
                code=1,
            ) from None
        self._fd = fd
        # what the starter wrote of this very process (its GPUs) stays true
        before = worker_facts(self._run)
        kept = {"gpus": before["gpus"]} if before.get("pid") == os.getpid() and "gpus" in before else {}
        write_facts(self._run, os.getpid(), **{**kept, **more})
        self.heartbeat()

    def heartbeat(self) -> None:
        """Says that the worker lives; a few times a minute is enough."""
        with contextlib.suppress(OSError):
            os.utime(self._run.lock_file)

    def hand_on(self) -> None:
        """Keeps the run for the program that this process becomes (`os.execv`): the lock is the process's,
        and it stays as long as the file is open."""
        if self._fd is not None:
            os.set_inheritable(self._fd, True)
            self._fd = None

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def worker_facts(run: RunFolder) -> dict[str, Any]:
    """What the last worker wrote of itself; empty when there was none or the file is damaged."""
    try:
        facts = json.loads(run.worker_file.read_text())
        return facts if isinstance(facts, dict) else {}
    except (OSError, ValueError):
        return {}


def write_facts(run: RunFolder, pid: int, **more: Any) -> None:
    """Names the process that works on the run."""
    facts = {**more, "pid": pid, "created": psutil.Process(pid).create_time(), "place": place()}
    write_whole(run.worker_file, json.dumps(facts))


def worker_process(run: RunFolder) -> psutil.Process | None:
    """The run's living worker on this machine, or None (a zombie or a pid used anew is none)."""
    facts = worker_facts(run)
    if facts.get("place") != place():
        return None
    try:
        process = psutil.Process(facts["pid"])
        same = abs(process.create_time() - facts["created"]) < 1
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, KeyError, TypeError, ValueError):
        return None


def worker_lives(run: RunFolder) -> bool:
    """Whether a worker is at the run. Of another machine or container only the heartbeat tells."""
    facts = worker_facts(run)
    if not facts or facts.get("place") == place():
        return worker_process(run) is not None
    quiet = quiet_seconds(run)
    return quiet is not None and quiet < QUIET_SECONDS


def quiet_seconds(run: RunFolder) -> float | None:
    """Seconds since the last heartbeat, None when there was none."""
    try:
        return max(0.0, time.time() - run.lock_file.stat().st_mtime)
    except OSError:
        return None


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that a reader sees all of it or the one before."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
