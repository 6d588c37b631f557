"""Speed over memory as a picture: `python -m benchmarks.curve RESULTS.jsonl OUT.svg`.

RESULTS is what `benchmarks.train --out` wrote. A line a method joins its places of the recompute dial, of
rows of one length; grey marks are other trainers on the same shape and card. For light and dark pages.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.train_table import GIB, load
from core.errors import UserError

OTHERS = Path(__file__).with_name("others.json")
WIDTH, HEIGHT = 900, 520
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 84, 58
LETTER, LINE = 6.6, 14
"""Width and height of a letter of a label, in pixels."""
NAMES = {"lora": "LoRA", "qlora": "QLoRA", "full": "full"}
COLOURS = {
    # of a light page and a dark one
    "page": ("#ffffff", "#0d1117"),
    "text": ("#1f2328", "#e6edf3"),
    "soft": ("#656d76", "#9198a1"),
    "grid": ("#d8dee4", "#30363d"),
    "lora": ("#1f6feb", "#58a6ff"),
    "qlora": ("#bc4c00", "#f0883e"),
    "full": ("#1a7f37", "#3fb950"),
}


def style() -> str:
    """`NAME` is filled with a colour, `NAME line` drawn in it."""
    fixed = ".line { fill: none; stroke-width: 2.5 } .cross { fill: none; stroke-width: 2 }"
    light, dark = ("\n".join(_rules(name, both[theme]) for name, both in COLOURS.items()) for theme in (0, 1))
    return f"{fixed}\n{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"


def _rules(name: str, colour: str) -> str:
    return f".{name} {{ fill: {colour} }} .{name}.line, .{name}.cross {{ fill: none; stroke: {colour} }}"


@dataclass(frozen=True)
class Point:
    gib: float
    rate: float
    label: str


def lines_of(rows: list[dict[str, Any]]) -> dict[str, tuple[str, list[Point]]]:
    """method -> (what was trained, its points by dial): of the batch and length with the most of them."""
    found = {}
    for method in NAMES:
        known = [
            row
            for row in rows
            if row["method"] == method
            and row["by"] == "finetui"
            and row["rows"] == "full"
            and row.get("peak")
            and row.get("compile") is not False
        ]
        if not known:
            continue
        (batch, length), _ = Counter((row["batch"], row["length"]) for row in known).most_common(1)[0]
        known = [row for row in known if (row["batch"], row["length"]) == (batch, length)]
        known.sort(key=lambda row: row["recompute"])
        points = [
            Point(row["peak"] / GIB, row["tokens_per_second"], f"{row['recompute']:g}") for row in known
        ]
        found[method] = (f"{NAMES[method]}, batch {batch} × {length:,}", points)
    return found


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """About so many round numbers that hold both ends between them."""
    rough = max(high - low, 1e-9) / count
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * one for one in (1, 2, 2.5, 5, 10) if size * one >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * one for one in range(first, last + 1)]


class Labels:
    """Words beside points, each where it covers nothing that is there already."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, float, float, float]] = []

    def keep_free(self, x: float, y: float, around: float = 5) -> None:
        self._taken.append((x - around, y - around, x + around, y + around))

    def place(self, x: float, y: float, text: str, kind: str) -> str:
        wide = len(text) * LETTER
        before, middle, behind = x - wide, x - wide / 2, x
        spots = [
            (middle, y - 9),
            (before - 3, y - 7),
            (middle, y + 19),
            (behind + 9, y + 4),
            (before - 9, y + 4),
        ]
        spots += [(behind + 7, y - 9), (behind + 7, y + 19), (before - 7, y - 9), (before - 7, y + 19)]
        spots += [(middle, y - 24), (middle, y + 34)]
        spots = [(left, base) for left, base in spots if left > LEFT and left + wide < WIDTH - 4]
        free = [spot for spot in spots if not self._covers(*spot, wide)]
        left, base = (free or spots)[0]
        self._taken.append((left, base - LINE + 3, left + wide, base + 3))
        return _text(left, base, text, kind)

    def _covers(self, left: float, base: float, wide: float) -> bool:
        return any(
            left < right and left + wide > start and base - LINE + 3 < bottom and base + 3 > top
            for start, top, right, bottom in self._taken
        )


def picture(head: dict[str, Any], rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> str:
    """The SVG. UserError: no row has a peak."""
    lines = lines_of(rows)
    if not lines:
        raise UserError("there is nothing to draw", "no row has a peak of memory", "measure on a GPU")
    marks = [Point(one["gib"], one["tokens_per_second"], one["name"]) for one in others]
    every = [*marks, *(point for _, points in lines.values() for point in points)]
    across = ticks(0, max(point.gib for point in every), 7)
    up = ticks(min(point.rate for point in every) * 0.94, max(point.rate for point in every) * 1.02)

    def x(gib: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * gib / across[-1]

    def y(rate: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (rate - up[0]) / (up[-1] - up[0])

    about = f"Speed over memory: {head['model']} on {head['card']}"
    how = "tokens a second over torch's peak; the number at a point is recompute: 0 keeps all, 1 the least"
    out = [
        f'<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="8"/>',
        _text(LEFT, 32, about, "text", 'font-size="17" font-weight="600"'),
        _text(LEFT, 54, how, "soft"),
        _text(WIDTH - RIGHT, HEIGHT - 14, "GiB", "soft", 'text-anchor="end"'),
    ]
    for rate in up:
        out.append(
            f'<path class="grid line" style="stroke-width:1" d="M{LEFT} {y(rate):.1f}H{WIDTH - RIGHT}"/>'
        )
        out.append(_text(LEFT - 10, y(rate) + 4, f"{rate:,.0f}", "soft", 'text-anchor="end"'))
    for gib in across:
        out.append(_text(x(gib), HEIGHT - BOTTOM + 22, f"{gib:g}", "soft", 'text-anchor="middle"'))

    labels = Labels()
    for point in every:
        labels.keep_free(x(point.gib), y(point.rate))
    for _, points in lines.values():
        for one, other in pairwise(points):
            for share in (n / 16 for n in range(1, 16)):
                gib, rate = (
                    one.gib + share * (other.gib - one.gib),
                    one.rate + share * (other.rate - one.rate),
                )
                labels.keep_free(x(gib), y(rate), 1)
    for method, (_, points) in lines.items():
        path = " ".join(f"{x(point.gib):.1f},{y(point.rate):.1f}" for point in points)
        out.append(f'<polyline class="{method} line" points="{path}"/>')
        out += [_dot(x(point.gib), y(point.rate), method) for point in points]
        out += [labels.place(x(point.gib), y(point.rate), point.label, method) for point in points]
    for point in marks:
        a, b = x(point.gib), y(point.rate)
        out.append(f'<path class="soft cross" d="M{a - 5:.1f} {b - 5:.1f}l10 10m0 -10l-10 10"/>')
        out.append(labels.place(a, b, point.label, "soft"))
    at = LEFT + 5
    for method, (said, _) in lines.items():
        out.append(_dot(at, 71, method))
        out.append(_text(at + 11, 75.5, said, method, 'font-weight="600"'))
        at += 40 + int(len(said) * 7.2)
    body = "\n".join(out)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" '
        f'font-size="12.5"><title>{escape(about)}</title>\n<style>{style()}</style>\n{body}\n</svg>\n'
    )


def _text(x: float, y: float, words: str, kind: str, more: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" {more}>{escape(words)}</text>'


def _dot(x: float, y: float, kind: str) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--others", type=Path, default=OTHERS, help="figures of other trainers")
    given = parser.parse_args()
    try:
        head, rows = load(given.results)
        drawn = picture(head, rows, json.loads(given.others.read_text(encoding="utf-8")))
    except UserError as error:
        raise SystemExit(error.line()) from None
    given.out.write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
