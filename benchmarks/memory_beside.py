"""Cells side by side on one card: up to so many processes, each doing one cell after the other.

A cell begins while what is planned for those that run fits the card, and the host's memory, with it. The
largest come first, so that small ones fill up; a process goes on with cells of its own lane (a model's shape)
and kind (settings that compile to the same code) while there are any that fit. What failed beside others may
have failed because of them: it is tried again with the card to itself before it is believed.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

from core.job import command, environment
from core.machine import Machine

GIB = 2**30
MARGIN = 1.1
"""Times what is planned that is set aside on the card."""
LIBRARIES = int(1.5 * GIB)
"""Of the card, for CUDA's context and libraries."""
PROCESS = 4 * GIB
"""Of the host's memory, for a process beside what waits there."""
HOST_SHARE = 0.75
"""Of the host's memory that is free when nothing runs."""
GRACE = 40.0
"""Seconds after the end for what runs then; what is not done by then is ended, and not told."""
BLOCK = 32 * 2**20
"""Bytes by which torch may round up what it asks of the card."""
LEAVING = 15.0
"""Seconds in which a process that was asked to has left."""


@dataclass(frozen=True)
class Job:
    """One cell."""

    key: str
    lane: str
    kind: str
    request: dict[str, Any]
    """What the process is told; it answers with a row."""
    card: int
    """Bytes of the card that are set aside."""
    host: int
    """Bytes of the host's memory, likewise."""


def aside(planned: int) -> int:
    """Bytes of the card to set aside for so many bytes of tensors."""
    return int(planned * MARGIN) + LIBRARIES


@dataclass(frozen=True)
class Result:
    job: Job
    row: dict[str, Any] | None
    """None: the process was gone before it answered."""
    believed: bool = True
    """Else it went wrong beside others, and is tried again alone."""


@dataclass(frozen=True)
class Room:
    """Bytes that there are for all together."""

    card: int
    host: int

    def takes(self, job: Job, running: Collection[Job]) -> bool:
        """Whether the job fits beside those; alone any does."""
        card = job.card + sum(one.card for one in running)
        host = job.host + sum(one.host for one in running)
        return not running or (card <= self.card and host <= self.host)


def room_of(machine: Machine, vram: float) -> Room:
    """Of this machine, when nothing runs on it; `vram`: GiB of the card where NVML does not tell."""
    free = machine.gpus[0].memory_free if machine.gpus else None
    return Room(int(free or vram * GIB), int(HOST_SHARE * psutil.virtual_memory().available))


def side_by_side(
    jobs: Sequence[Job],
    module: str,
    *,
    at_once: int,
    room: Room,
    until: float,
    crowded: Collection[str] = (),
) -> Iterator[Result]:
    """Results as they come, until all is done or the clock (`time.monotonic`) says `until`.

    `module` is what `benchmarks.memory_run.serve` is called in. `crowded`: keys of jobs that failed beside
    others before.
    """
    alone = [one for one in jobs if one.key in crowded]
    for result in _round([one for one in jobs if one.key not in crowded], module, at_once, room, until):
        if not result.believed:
            alone.append(result.job)
        yield result
    yield from _round(alone, module, 1, room, until)


def _round(jobs: Sequence[Job], module: str, at_once: int, room: Room, until: float) -> Iterator[Result]:
    waiting = sorted(jobs, key=lambda one: (-one.card, one.key))
    told: queue.Queue[tuple[_Process, str | None]] = queue.Queue()
    there: list[_Process] = []
    try:
        while True:
            if time.monotonic() < until:
                _begin(waiting, there, module, at_once, room, told)
            busy = [one for one in there if one.job]
            if not busy:
                return
            try:
                process, line = told.get(timeout=max(0.0, until + GRACE - time.monotonic()))
            except queue.Empty:
                print(f"not done in time: {', '.join(one.key for one in _running(busy))}", file=sys.stderr)
                return
            job, process.job = process.job, None
            row = _row(line)
            if row is None or row.pop("ends", False):
                process.end()
                if process in there:
                    there.remove(process)
            if job is None:  # it has left, as it said before
                continue
            yield Result(job, row, believed=not (process.beside and _doubtful(row)))
    finally:
        for one in there:
            one.end(kill=one.job is not None)


def _doubtful(row: dict[str, Any] | None) -> bool:
    """Whether what went wrong, or `otherwise`, may have come of others here, not of the row's own `cap`."""
    if row is None or "error" in row or row.get("otherwise"):
        return True
    if "out_of_memory" not in row:
        return False
    return "cap" not in row or row["pool"] + row["wanted"] + BLOCK <= row["cap"]


def _begin(
    waiting: list[Job],
    there: list[_Process],
    module: str,
    at_once: int,
    room: Room,
    told: queue.Queue[tuple[_Process, str | None]],
) -> None:
    """Gives jobs to processes that have none, and starts processes, while there is something that fits."""
    for process in [one for one in there if not one.job]:
        fits = [one for one in waiting if room.takes(one, _running(there))]
        own = [one for one in fits if one.lane == process.lane]
        if own:
            job = min(own, key=lambda one: one.kind != process.kind)
            waiting.remove(job)
            process.give(job, there)
        elif fits or all(one.lane != process.lane for one in waiting):
            process.end()
            there.remove(process)
    while len(there) < at_once:
        fits = [one for one in waiting if room.takes(one, _running(there))]
        if not fits:
            return
        lanes = {one.lane for one in there}
        job = min(fits, key=lambda one: one.lane in lanes)
        waiting.remove(job)
        process = _Process(module, job.lane, told, at_once)
        there.append(process)
        process.give(job, there)


def _running(there: Sequence[_Process]) -> list[Job]:
    return [one.job for one in there if one.job]


def _row(line: str | None) -> dict[str, Any] | None:
    """None where the line is torn, or there is none: its process is gone."""
    try:
        row = json.loads(line or "")
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


@dataclass(eq=False)
class _Process:
    module: str
    lane: str
    told: queue.Queue[tuple[_Process, str | None]] = field(repr=False)
    at_once: int
    job: Job | None = None
    kind: str = ""
    """Of its latest job."""
    beside: bool = False
    """Whether another had a job while the latest went on."""

    def __post_init__(self) -> None:
        self._child = subprocess.Popen(
            command(self.module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(self.at_once),
            text=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def give(self, job: Job, there: Sequence[_Process]) -> None:
        others = [one for one in there if one is not self and one.job]
        self.job, self.kind, self.beside = job, job.kind, bool(others)
        for one in others:
            one.beside = True
        assert self._child.stdin
        with contextlib.suppress(OSError):  # it is gone: then its stdout tells
            request = {**job.request, "beside": self.at_once > 1}
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()

    def end(self, kill: bool = False) -> None:
        """Returns when it has left, and holds nothing of the card any more."""
        with contextlib.suppress(OSError):
            if self._child.stdin:
                self._child.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if not kill:
                self._child.wait(LEAVING)
        self._child.kill()
        self._child.wait()

    def _listen(self) -> None:
        assert self._child.stdout
        for line in self._child.stdout:
            self.told.put((self, line))
        self.told.put((self, None))


def _environment(at_once: int) -> dict[str, str]:
    """Of a child: of those that compile at once each has its share of the cores."""
    cores = os.cpu_count() or 1
    share = str(max(1, cores // at_once))
    if at_once == 1:
        return environment()
    return environment() | {"TORCHINDUCTOR_COMPILE_THREADS": share, "OMP_NUM_THREADS": share}
