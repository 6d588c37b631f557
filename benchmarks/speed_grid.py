"""Speed as planned against the card, over a grid: `python -m benchmarks.speed_grid WHAT --out DIR`.

`card` runs cells of `benchmarks.memory_grid_cells` one after the other on the card that is here, STEPS steps
each on full rows or packs, passes started as a whole where the engine finds that quicker, and writes
speed.jsonl; it leaves out what that holds already, and stops in time for `--minutes`. `table` joins it with
what a plan for such a card says today, of the same spec, into table.md.

A row whose steps differ from each other by more than STEADY is told apart, and wants to be run again with
nothing else on the host, for which passes of many small kernels wait. `--again` does so with those in the
file, and with rows of which no steps are kept. "Of Python" is what a fixed piece of it takes on the host.

`--shape` names shapes (default: the grid's), `--setting` settings (default: SETTINGS).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.memory_beside import room_of, side_by_side
from benchmarks.memory_caps import head
from benchmarks.memory_grid import VRAM, folder_of, job_of, written
from benchmarks.memory_grid_card import pack_of
from benchmarks.memory_grid_cells import GRID, Cell, cells
from benchmarks.memory_rows import add, rows_in
from benchmarks.train import pace
from core.data.lengths import describe
from core.machine import look
from core.models.shape import read_folder
from core.plan.advise import advise
from core.plan.cards import Card, card_named

STEPS, SKIP = 9, 4
"""Steps a cell, and those at its beginning that are not counted."""
SETTINGS = (
    "lora16:8:2048:0",
    "lora16:8:2048:1",
    "qlora16:2:4096:0.5:packed",
    "full:4:2048:0.5",
    "lora16:2:1024:0:eager",
)
STEADY = 0.10
"""Of the median step, between the slowest and the quickest of those that are counted."""
CHECKED = ("mistral-7b", "qwen2.5-14b")
"""Shapes of which no run told a constant of the form of speed (`core.plan.speed`)."""
RAM = 128 * 2**30
"""Of the host of the recorded cells; layers that are planned to wait there had room in all of them."""
GOALS = (0.10, 0.25)
"""Of the error: median, worst."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("card", "table"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shape", nargs="*", default=GRID)
    parser.add_argument("--setting", nargs="*", default=SETTINGS)
    parser.add_argument("--again", action="store_true", help="run rows without steady steps anew")
    parser.add_argument("--card", default="H200", help="the card of speed.jsonl, for `table`")
    parser.add_argument("--minutes", type=float, default=600)
    parser.add_argument("--where", type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    wanted = cells(tuple(given.shape), tuple(given.setting))
    file = given.out / "speed.jsonl"
    with tempfile.TemporaryDirectory(dir=given.where) as made:
        if given.what == "card":
            return on_card(wanted, file, Path(made), time.monotonic() + 60 * given.minutes, given.again)
        text = table(wanted, rows_in(file), Path(made), card_named(given.card, ram=RAM))
    (given.out / "table.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def on_card(wanted: Sequence[Cell], file: Path, where: Path, until: float, again: bool = False) -> int:
    """Runs what is not in the file yet, and `again` what is there without steady steps; exit status 1 where
    something went wrong."""
    machine = look()
    if not file.exists():
        add(file, head(machine))
    seen = rows_in(file)
    done = {cell for cell, row in seen.items() if not again or ("steps" in row and not unsteady(row))}
    left = [job_of(one, folder_of(one.shape, where), VRAM) for one in wanted if str(one) not in done]
    for job in filter(None, left):
        job.request["steps"] = STEPS
    results = side_by_side(
        [one for one in left if one],
        "benchmarks.memory_grid_card",
        at_once=1,
        room=room_of(machine, VRAM),
        until=until,
    )
    return written(file, results, line)


def measured(row: dict[str, Any]) -> float:
    """Tokens a second of the median step; of some rows only that is kept, not the steps."""
    kept = row.get("tokens_per_second")
    return float(kept) if kept else pace(row["steps"], SKIP)


def unsteady(row: dict[str, Any]) -> float:
    """By how much its counted steps differ, as a share of the median, where that is more than STEADY; else 0.
    What is not known to be unsteady is not."""
    times = [0.0, *(seconds for seconds, _ in row.get("steps", []))]
    each = [after - before for before, after in pairwise(times)][SKIP:]
    if len(each) < 2:
        return 0.0
    apart = (max(each) - min(each)) / statistics.median(each)
    return apart if apart > STEADY else 0.0


def went(row: dict[str, Any]) -> bool:
    """Whether it came to its end."""
    return "steps" in row or "tokens_per_second" in row


def planned(cell: Cell, where: Path, card: Card) -> float:
    """Tokens a second of the same run, as a plan says."""
    folder = folder_of(cell.shape, where)
    lengths = pack_of(cell.length) if cell.packed else [cell.length]
    report = {"format": "text", "train_rows": 1000, "lengths": describe(lengths * 1000)}
    plan = advise(cell.spec(str(folder), 1000), look(), read_folder(folder, str(folder)), report, card=card)
    rate = plan.of(cell.method).tokens_per_second
    assert rate is not None, "the card's rates are known"
    return rate


def line(row: dict[str, Any]) -> str:
    """A row of the file, in a line."""
    said = f"{row['cell']:<44}"
    if not went(row):
        return said + str(row.get("error") or "out of memory")
    return said + f"{measured(row):>10,.0f} tokens/s  {row.get('recorded_why') or ''}  {row['took']:.0f} s"


def table(wanted: Sequence[Cell], rows: dict[str, dict[str, Any]], where: Path, card: Card) -> str:
    """Markdown: errors in short, then a row a cell."""
    there = [one for one in wanted if went(rows.get(str(one), {}))]
    both = {str(one): (measured(rows[str(one)]), planned(one, where, card)) for one in there}
    short = ["| cells | number | median | most under | most over | goals |", "|---|---|---|---|---|---|"]
    apart = {str(one): unsteady(rows[str(one)]) for one in there}
    steady = [one for one in there if not apart[str(one)]]
    for name, some in (
        ("checked only", [one for one in steady if one.shape in CHECKED]),
        ("of shapes that the form was fitted to", [one for one in steady if one.shape not in CHECKED]),
        (f"whose steps differ by more than {STEADY:.0%}", [one for one in there if apart[str(one)]]),
        ("all", there),
    ):
        off = [both[str(one)][1] / both[str(one)][0] - 1 for one in some]
        if off:
            short.append(
                f"| {name} | {len(off)} | {statistics.median(map(abs, off)):.1%} | {min(0.0, *off):.1%} "
                f"| {max(0.0, *off):+.1%} | {GOALS[0]:.0%}, {GOALS[1]:.0%} |"
            )
    long = [
        "| cell | tokens/s | steps differ by | planned | error | of Python, ms |",
        "|---|---|---|---|---|---|",
    ]
    for one in there:
        real, said = both[str(one)]
        differ = f"{apart[str(one)]:.0%}" if apart[str(one)] else "–"
        core = rows[str(one)].get("python")
        python = f"{core:.2f}" if core else "–"
        long.append(f"| {one} | {real:,.0f} | {differ} | {said:,.0f} | {said / real - 1:+.1%} | {python} |")
    return "\n".join([*short, "", *long, ""])


if __name__ == "__main__":
    sys.exit(main())
