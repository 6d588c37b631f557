"""How fast one core of the host is. A card's kernels are started by one, and short passes wait for it.

On rented boxes cores differ by up to two times at one moment, as others seem to compute on their second
threads: of 32 cores of an H200's host seven took 1.2 to 1.4 ms for Python that the rest did in 0.7 to 0.9,
and it was others a second later (`python -m benchmarks.cores`). A run moves among them, so what is planned
with is their mean.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time

MOST = 16
"""Cores that are tried, of those that this process may use."""
ROUNDS = 5_000
TRIES = 3
"""On each core, of which the quickest counts: the first finds it cold."""
SCALE = 20_000 / ROUNDS


def core_ms() -> float:
    """Milliseconds in which a core goes 20,000 times round a short loop of Python, in the mean of those that
    this process may use. Takes some ten milliseconds itself. Never raises."""
    times = of_each(MOST)
    return sum(times) / len(times)


def of_each(most: int) -> list[float]:
    """The same of each core, or of so many of them; of the one that is had where none can be chosen."""
    if not hasattr(os, "sched_setaffinity"):
        return [_quickest()]
    own, times = os.sched_getaffinity(0), []
    few, every = min(most, len(own)), sorted(own)
    try:
        for core in (every[place * len(every) // few] for place in range(few)):
            os.sched_setaffinity(0, {core})
            times.append(_quickest())
    except OSError:  # a container may forbid it, or take a core away meanwhile
        times.append(_quickest())
    finally:
        _back_to(own)
    return times


@functools.cache
def usual_core_ms() -> float:
    """As `core_ms`, looked at once in this process: plans that are made again say the same."""
    return round(core_ms(), 2)


def _back_to(cores: set[int]) -> None:
    try:
        os.sched_setaffinity(0, cores)
    except OSError:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, range(os.cpu_count() or 1))


def _quickest() -> float:
    return min(_once() for _ in range(TRIES))


def _once() -> float:
    begun, total = time.perf_counter(), 0
    for number in range(ROUNDS):
        total += number % 7
    return 1000 * SCALE * (time.perf_counter() - begun)
