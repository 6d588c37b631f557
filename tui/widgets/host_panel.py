"""The host panel, shown where there is no GPU: CPU, memory, and what the worker takes of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.numbers import GIB
from tui.widgets.gpu_panel import (
    BRIM,
    FULL,
    MISSING,
    TWO_COLUMNS,
    bar,
    beside,
    clip,
    heat,
    percent,
    share,
    spark,
)
from tui.widgets.picture import Line

Sample = tuple[float, Mapping[str, Any]]
"""(seconds since the epoch, the host as the `gpu` event has it)."""


def draw(samples: Sequence[Sample], width: int, height: int) -> list[Line]:
    """At most `height` lines: CPU, RAM, the worker, ten minutes of CPU."""
    if not samples or width < 12:
        return []
    host = samples[-1][1]
    cpu, memory = host.get("cpu"), share(host, "ram_used", "ram_total")
    text = f"{gigabytes(host.get('ram_used'))}/{gigabytes(host.get('ram_total'))} GiB"
    room = max(len(text), 14)
    cores = host.get("worker_cpu")
    worker = f"{MISSING if cores is None else f'{cores:.1f}'} cores, {gigabytes(host.get('worker_ram'))} GiB"
    past = [(when, one.get("cpu")) for when, one in samples]
    columns = 2 if height < 4 and width >= TWO_COLUMNS else 1
    wide = width // columns - (columns - 1)
    lines: list[Line] = [
        bar("CPU", cpu, percent(cpu), "bar", wide, room),
        bar("memory", memory, text, heat(memory, FULL, BRIM), wide, room),
        [("worker ", "label"), (worker, "")],
        [("10 min ", "label"), (spark(past, wide - 7), "train")],
    ]
    if columns == 2:
        return beside(lines[:2], lines[2:], wide, height)
    return [clip(line, width) for line in lines[:height]]


def gigabytes(value: float | None) -> str:
    return MISSING if value is None else f"{value / GIB:.1f}"
