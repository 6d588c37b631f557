"""The GPU panel: what each GPU does now and did over ten minutes, drawn as wide and as high as there is room.

Every value may be missing and then reads "–"; a GPU that no longer answers is a row that says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice, zip_longest
from typing import Any

from core import numbers
from tui.widgets.picture import Line

MISSING = "–"
WINDOW = 600.0
"""Seconds of history in the spark line."""
HOT, TOO_HOT = 83, 90
"""°C: where data-centre cards begin to slow down, and where they shut down soon."""
FULL, BRIM = 0.92, 0.98
"""Share of the memory in use from which the bar warns, and from which the next long row may not fit."""
TALL = (5, 3, 2)
"""Rows of a GPU in its full form, as bars, and as two lines."""
TWO_COLUMNS = 66
"""Cells from which a low panel stands in two columns."""
SPARKS = "▁▂▃▄▅▆▇"
"""Not the whole block: a row above stays apart from one that is full."""

Sample = tuple[float, Sequence[Mapping[str, Any]]]
"""(seconds since the epoch, one mapping a GPU as the `gpu` event has them)."""


def draw(samples: Sequence[Sample], width: int, height: int) -> list[Line]:
    """At most `height` lines: every GPU in the tallest form that fits for all of them."""
    gpus = samples[-1][1] if samples else []
    if not gpus or width < 12 or height < 1:
        return []
    alone = len(gpus) == 1
    if alone and 3 <= height < 5 and width >= TWO_COLUMNS and not dead(gpus[0]):
        past = [(when, at(all_, 0)) for when, all_ in samples]
        half = width // 2 - 1
        right = [over_time(past, half), clocks(gpus[0]), *processes(gpus[0], half)]
        return beside(bars(gpus[0], past, half), right, half, height)
    for tall, form in zip(TALL, (full, bars, two_lines), strict=True):
        if len(gpus) * (tall + (not alone)) <= height:
            lines: list[Line] = []
            for place, gpu in enumerate(gpus):
                if not alone:
                    lines.append([(f"{title(gpu)}"[:width], "strong")])
                lines += form(gpu, [(when, at(all_, place)) for when, all_ in samples], width)
            if alone:
                lines += processes(gpus[0], width)
            return [clip(line, width) for line in lines[:height]]
    rows = [clip(one_line(gpu, width), width) for gpu in gpus]
    if len(rows) > height:
        hidden = gpus[height - 1 :]
        rows = [*rows[: height - 1], clip([(f"and {len(hidden)} more", "soft")], width)]
    return rows


def rows_for(count: int, room: int) -> int:
    """The rows that several GPUs need in the tallest form that fits into `room`."""
    return next((count * (tall + 1) for tall in TALL if count * (tall + 1) <= room), min(count, room))


def title(gpu: Mapping[str, Any]) -> str:
    return f"GPU {gpu.get('index', MISSING)}  {gpu.get('name') or MISSING}"


def at(gpus: Sequence[Mapping[str, Any]], place: int) -> Mapping[str, Any]:
    return gpus[place] if place < len(gpus) else {}


def dead(gpu: Mapping[str, Any]) -> str | None:
    """Why a GPU says nothing: its error, or that every value is missing."""
    if gpu.get("error"):
        return str(gpu["error"])
    values = ("utilisation", "memory_used", "power", "temperature")
    return "gives no values" if all(gpu.get(key) is None for key in values) else None


def full(gpu: Mapping[str, Any], past: Sequence[tuple[float, Mapping[str, Any]]], width: int) -> list[Line]:
    """Three bars, the clocks and ten minutes of use: 5 lines."""
    if why := dead(gpu):
        return [[(f"does not answer: {why}", "bad")]]
    return [*bars(gpu, past, width), clocks(gpu), over_time(past, width)]


def bars(gpu: Mapping[str, Any], past: Sequence[tuple[float, Mapping[str, Any]]], width: int) -> list[Line]:
    """Use, memory and power with the temperature: 3 lines."""
    if why := dead(gpu):
        return [[(f"does not answer: {why}", "bad")]]
    use, memory = gpu.get("utilisation"), share(gpu, "memory_used", "memory_total")
    room = max(len(memory_text(gpu)), len(power_text(gpu)), 14)
    return [
        bar("use", use, percent(use), "bar", width, room),
        bar("memory", memory, memory_text(gpu), heat(memory, FULL, BRIM), width, room),
        bar("power", share(gpu, "power", "power_limit"), power_text(gpu), "bar", width, room),
    ]  # fmt: skip


def two_lines(
    gpu: Mapping[str, Any], past: Sequence[tuple[float, Mapping[str, Any]]], width: int
) -> list[Line]:
    """Numbers above, ten minutes of use below: 2 lines."""
    if why := dead(gpu):
        return [[(f"does not answer: {why}", "bad")]]
    return [one_line(gpu, width)[2:], over_time(past, width)]


def one_line(gpu: Mapping[str, Any], width: int) -> Line:
    index = str(gpu.get("index", MISSING))
    if why := dead(gpu):
        return [(index, "label"), (" ", ""), (f"does not answer: {why}", "bad")]
    use, memory = gpu.get("utilisation"), share(gpu, "memory_used", "memory_total")
    words: Line = [
        (f" {percent(use):>5}  ", ""),
        (memory_text(gpu), heat(memory, FULL, BRIM, usual="")),
        (f"  {watts(gpu.get('power'))} W  ", ""),
        (degrees(gpu), heat(gpu.get("temperature"), HOT, TOO_HOT, usual="")),
    ]
    room = width - len(index) - 1 - sum(len(text) for text, _ in words)
    return [(index, "label"), (" ", ""), *gauge(use, min(max(room, 3), 24), "bar"), *words]


def clocks(gpu: Mapping[str, Any]) -> Line:
    text = f"{mhz(gpu.get('clock_sm'))} MHz, memory {mhz(gpu.get('clock_memory'))} MHz"
    return [("clocks ", "label"), (text, "")]


def beside(left: Sequence[Line], right: Sequence[Line], width: int, height: int) -> list[Line]:
    """Two columns of `width` cells each, with two cells between them."""
    pairs = zip_longest(left, right, fillvalue=list[tuple[str, str]]())
    return [[*filled(a, width), ("  ", ""), *clip(b, width)] for a, b in islice(pairs, height)]


def filled(line: Line, width: int) -> Line:
    line = clip(line, width)
    return [*line, (" " * (width - sum(len(text) for text, _ in line)), "")]


def bar(label: str, value: float | None, text: str, role: str, width: int, room: int) -> Line:
    """`label ████▌    text`: the text in `room` cells at the right."""
    length = max(width - 8 - room, 4)
    return [(f"{label:<7}", "label"), *gauge(value, length, role), (f" {text:<{room}}"[: room + 1], "")]


def gauge(value: float | None, length: int, role: str) -> Line:
    """A bar of `length` cells, in halves; empty where the value is missing."""
    whole, half = divmod(round(min(max(value or 0.0, 0.0), 1.0) * length * 2), 2)
    ink = "━" * whole + "╸" * half
    return [(ink, role), ("─" * (length - len(ink)), "track")]


def over_time(past: Sequence[tuple[float, Mapping[str, Any]]], width: int) -> Line:
    label = "10 min "
    values = [(when, gpu.get("utilisation")) for when, gpu in past]
    return [(label, "label"), (spark(values, width - len(label)), "train")]


def spark(values: Sequence[tuple[float, float | None]], width: int) -> str:
    """The last ten minutes in `width` cells, newest at the right; a blank where nothing was seen.

    values: (seconds, share of 1), in order of time. A cell shows the mean of what falls into it.
    """
    if not values or width < 1:
        return ""
    end, cell = values[-1][0], WINDOW / width
    sums, counts = [0.0] * width, [0] * width
    for when, value in values:
        place = width - 1 - int((end - when) / cell)
        if value is not None and 0 <= place < width:
            sums[place] += min(max(value, 0.0), 1.0)
            counts[place] += 1
    return "".join(SPARKS[round(s / n * 6)] if n else " " for s, n in zip(sums, counts, strict=True))


def processes(gpu: Mapping[str, Any], width: int) -> list[Line]:
    """Who holds the memory. In containers the driver often names no process."""
    found = gpu.get("processes")
    if found is None:
        return [[("held by ", "label"), (MISSING, "")]]
    if not found:
        return [[("held by ", "label"), ("the driver names no process here", "soft")]]
    lines: list[Line] = []
    for number, one in enumerate(found):
        size = numbers.gib(one["bytes"]) if one.get("bytes") is not None else MISSING
        name = f"{one.get('name') or MISSING} {one.get('pid', '')}".strip()
        lines.append(
            [("held by " if number == 0 else " " * 8, "label"), (f"{name}  {size}"[: width - 8], "")]
        )
    return lines


def share(gpu: Mapping[str, Any], part: str, whole: str) -> float | None:
    a, b = gpu.get(part), gpu.get(whole)
    return a / b if a is not None and b else None


def heat(value: float | None, warn: float, bad: float, *, usual: str = "bar") -> str:
    if value is None or value < warn:
        return usual
    return "bad" if value >= bad else "warn"


def percent(value: float | None) -> str:
    return MISSING if value is None else f"{value * 100:.0f} %"


def memory_text(gpu: Mapping[str, Any]) -> str:
    used, total = (
        MISSING
        if (v := gpu.get(key)) is None
        else f"{v / numbers.GIB:.{0 if v >= 99.5 * numbers.GIB else 1}f}"
        for key in ("memory_used", "memory_total")
    )
    return f"{used}/{total} GiB"


def power_text(gpu: Mapping[str, Any]) -> str:
    limit = gpu.get("power_limit")
    of = f"/{limit:.0f}" if limit else ""
    return f"{watts(gpu.get('power'))}{of} W  {degrees(gpu)}"


def watts(value: float | None) -> str:
    return MISSING if value is None else f"{value:.0f}"


def degrees(gpu: Mapping[str, Any]) -> str:
    value = gpu.get("temperature")
    return f"{MISSING} °C" if value is None else f"{value:.0f} °C"


def mhz(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.0f}"


def clip(line: Line, width: int) -> Line:
    """The line cut to `width` cells (all characters here are one cell wide)."""
    out: Line = []
    for text, role in line:
        out.append((text[:width], role))
        width -= len(text)
        if width <= 0:
            break
    return out
