"""The numbers of a run: losses, rate, norm, speed, time and money; as tiles where they fit, else lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core import numbers
from core.runs.history import History
from tui.widgets.gpu_panel import SPARKS, clip
from tui.widgets.picture import Line

MISSING = "–"
TILES_HEIGHT, LINES_HEIGHT = 7, 3


@dataclass(frozen=True)
class Figures:
    """What is shown. None is unknown."""

    loss: float | None = None
    held_out: float | None = None
    held_before: float | None = None
    """The held-out loss one evaluation earlier."""
    rate: float | None = None
    norm: float | None = None
    speed: float | None = None
    """Tokens a second."""
    tokens: int | None = None
    epoch: float | None = None
    memory: int | None = None
    """Peak bytes on the GPU, as the worker saw it."""
    step: int = 0
    steps: int | None = None
    elapsed: float | None = None
    left: float | None = None
    cost: float | None = None
    cost_all: float | None = None
    past: dict[str, Sequence[float | None]] | None = None
    """loss, rate, norm and speed by step."""


def figures(history: History, now: float, price: float | None, *, live: bool) -> Figures:
    """`now` in seconds since the epoch; `price` an hour, None where nobody said; `live`: it has a worker."""
    last = history.last
    held = [one.loss for one in history.evals if one.loss is not None]
    elapsed = time_taken(history, now if live else history.last_time or now)
    left = history.seconds_left if live else None
    cost = None if price is None or elapsed is None else price * elapsed / 3600
    recent = history.steps[-200:]
    speeds = [step.tokens_per_second for step in recent[-10:] if step.tokens_per_second]
    return Figures(
        loss=history.smooth[-1] if history.smooth else None,
        held_out=held[-1] if held else None,
        held_before=held[-2] if len(held) > 1 else None,
        rate=last.learning_rate if last else None,
        norm=last.grad_norm if last else None,
        speed=sum(speeds) / len(speeds) if speeds else None,
        tokens=last.tokens if last else None,
        epoch=last.epoch if last else None,
        memory=last.memory if last else None,
        step=history.step,
        steps=history.steps_total,
        elapsed=elapsed,
        left=left,
        cost=cost,
        cost_all=cost + price * left / 3600 if cost is not None and price and left is not None else None,
        past={
            "rate": [step.learning_rate for step in thin(history.steps)],
            "norm": [step.grad_norm for step in recent],
            "speed": [step.tokens_per_second for step in recent],
        },
    )


def thin(steps: Sequence[object], most: int = 200) -> Sequence:
    """Every n-th, so that at most `most` are left."""
    return steps[:: max(1, len(steps) // most)]


def time_taken(history: History, now: float) -> int | None:
    """Whole seconds from this worker's start to its end or `now`, and what those before it spent training."""
    if history.start_time is None:
        return None
    before = 0.0
    if history.start and history.start.resumed_from is not None:
        earlier = [step.seconds for step in history.steps if step.step <= history.start.resumed_from]
        before = earlier[-1] if earlier else 0.0
    return int(max((history.end_time or now) - history.start_time, 0.0) + before)


def draw(f: Figures, width: int, height: int) -> list[Line]:
    """At most `height` lines: tiles from seven rows and 54 columns on, else two lines and the bar."""
    lines = tiles(f, width) if height >= TILES_HEIGHT and width >= 54 else flow(f, width)
    return [clip(line, width) for line in lines[:height]]


def tiles(f: Figures, width: int) -> list[Line]:
    """Two rows of tiles, a label over a value over a trend, and how far the run is."""
    past = f.past or {}
    cell = max((width - 2) // 5, 10)
    trend = ""
    if f.held_out is not None and f.held_before is not None:
        trend = ("↓ " if f.held_out < f.held_before else "↑ ") + loss(abs(f.held_out - f.held_before))
    first = [
        ("train", loss(f.loss), "smooth", ""),
        ("held out", loss(f.held_out), "held", trend),
        ("rate", rate(f.rate), "strong", shape(past.get("rate", ()), cell - 2)),
        ("norm", small(f.norm), "strong", shape(past.get("norm", ()), cell - 2)),
        ("tokens/s", speed(f.speed), "strong", shape(past.get("speed", ()), cell - 2, from_zero=True)),
    ]
    whole = f.tokens * f.steps / f.step if f.tokens and f.steps and f.step else None
    second = [
        ("elapsed", clock(f.elapsed), "strong", ""),
        ("left", clock(f.left), "strong", ""),
        ("cost", MISSING if f.cost is None else f"{f.cost:.2f}", "strong", of(f.cost_all, "{:.2f}".format)),
        ("tokens", count(f.tokens), "strong", of(whole, numbers.count)),
        ("epoch", MISSING if f.epoch is None else f"{f.epoch:.2f}", "strong", ""),
    ]
    lines: list[Line] = []
    for row in (first, second):
        lines.append([(label.ljust(cell), "label") for label, *_ in row])
        lines.append([(value.ljust(cell), role) for _, value, role, _ in row])
        lines.append([(under.ljust(cell), "train") for *_, under in row])
    return [*lines, progress(f, width)]


def of(value: float | None, say: Callable[[float], str]) -> str:
    return "" if value is None else f"of {say(value)}"


def count(value: float | None) -> str:
    return MISSING if value is None else numbers.count(value)


def flow(f: Figures, width: int) -> list[Line]:
    """The same in two lines of words, and the bar. What has no room is left out, the least needed first."""
    items = [
        ("train ", loss(f.loss), "smooth"),
        ("held out ", loss(f.held_out), "held"),
        ("rate ", rate(f.rate), "strong"),
        ("norm ", small(f.norm), "strong"),
        ("", f"{speed(f.speed)} tok/s", "strong"),
        ("", f"{clock(f.elapsed)} done", ""),
        ("", f"{clock(f.left)} left", ""),
        *([("cost ", money(f), "")] if f.cost is not None else []),
        ("", f"{count(f.tokens)} tokens", ""),
    ]
    lines: list[Line] = [[], []]
    used = [0, 0]
    place = 0
    for label, value, role in items:
        size = len(label) + len(value) + 2
        if place == 0 and (used[0] + size - 2 > width or value.endswith("done")):
            place = 1
        if used[place] + size - 2 <= width:
            lines[place] += [(label, "label"), (value, role), ("  ", "")]
            used[place] += size
    return [*lines, progress(f, width)]


def progress(f: Figures, width: int) -> Line:
    """━━━━━━━━╸────────── 412 / 1,350  31 %"""
    if not f.steps:
        return [("─" * width, "track")]
    share = min(f.step / f.steps, 1.0)
    text = f" {f.step:,} / {f.steps:,}  {share * 100:.0f} %"
    length = max(width - len(text), 1)
    halves = round(share * length * 2)
    ink = "━" * (halves // 2) + ("╸" if halves % 2 else "")
    return [(ink, "bar"), ("─" * (length - len(ink)), "track"), (text, "label")]


def shape(values: Sequence[float | None], width: int, *, from_zero: bool = False) -> str:
    """A one-row spark of the values, means a cell, scaled between their own lowest and highest."""
    known = [v for v in values if v is not None]
    if len(known) < 2 or width < 2:
        return ""
    width = min(width, len(known))
    cells = [known[i * len(known) // width : (i + 1) * len(known) // width] for i in range(width)]
    means = [sum(part) / len(part) for part in cells]
    low, high = 0.0 if from_zero else min(means), max(means)
    if high <= low:
        return SPARKS[3] * width
    return "".join(SPARKS[min(max(round((v - low) / (high - low) * 6), 0), 6)] for v in means)


def loss(value: float | None) -> str:
    if value is None:
        return MISSING
    return f"{value:.2f}" if value >= 0.995 else f"{value:.3f}"


def rate(value: float | None) -> str:
    return MISSING if value is None else numbers.rate(value) if value else "0"


def small(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2g}" if value < 100 else f"{value:,.0f}"


def speed(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.0f}"


def clock(seconds: float | None) -> str:
    """0:41 for forty-one seconds, 1:33:05 for an hour and a half: it ticks, so seconds are shown."""
    if seconds is None:
        return MISSING
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def money(f: Figures) -> str:
    if f.cost is None:
        return MISSING
    of = f" of {f.cost_all:.2f}" if f.cost_all is not None else ""
    return f"{f.cost:.2f}{of}"
