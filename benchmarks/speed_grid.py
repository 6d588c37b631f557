"""Speed as planned against the card, over a grid: `python -m benchmarks.speed_grid WHAT --out DIR`.

`card` runs cells of `benchmarks.memory_grid_cells` one after the other on the card that is here, each for
SECONDS or so on full rows or packs, passes started as a whole where the engine finds that quicker, and writes
speed.jsonl; it leaves out what that holds already, but for `--again`, and stops in time for `--minutes`.
`table` joins it with what a plan says today of the same spec, for such a card in a box whose cores were as
quick as that row found them (`core.machine.core_speed`) before it began, into table.md.

`--shape` names shapes (default: the grid's), `--setting` settings (default: SETTINGS).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
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

STEPS, SKIP = (9, 60), 4
"""Steps a cell, and those at its beginning that are not counted."""
SECONDS = 6
"""That they shall take: a run moves among the host's cores, and short passes are as quick as the core."""
SETTINGS = (
    "lora16:8:2048:0",
    "lora16:8:2048:1",
    "qlora16:2:4096:0.5:packed",
    "full:4:2048:0.5",
    "lora16:2:1024:0:eager",
)
STEADY = 0.10
"""Of the median step, between the slowest and the quickest of those that are counted: up to that not said."""
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
    parser.add_argument("--again", action="store_true", help="run those that the file holds anew")
    parser.add_argument("--card", default="H200", help="the card that is here, or of speed.jsonl")
    parser.add_argument("--minutes", type=float, default=600)
    parser.add_argument("--where", type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    wanted = cells(tuple(given.shape), tuple(given.setting))
    file, card = given.out / "speed.jsonl", card_named(given.card, ram=RAM)
    with tempfile.TemporaryDirectory(dir=given.where) as made:
        if given.what == "card":
            return on_card(wanted, file, Path(made), time.monotonic() + 60 * given.minutes, card, given.again)
        text = table(wanted, rows_in(file), Path(made), card)
    (given.out / "table.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def on_card(wanted: Sequence[Cell], file: Path, where: Path, until: float, card: Card, again: bool) -> int:
    """Runs what is not in the file yet, or all `again`; exit status 1 where something went wrong."""
    machine = look()
    if not file.exists():
        add(file, head(machine))
    done = {} if again else rows_in(file)
    left = []
    for one in wanted:
        job = job_of(one, folder_of(one.shape, where), VRAM) if str(one) not in done else None
        if job:
            rate = planned(one, where, replace(card, core_ms=machine.core_ms))
            job.request["steps"] = steps_of(one, rate)
            left.append(job)
    results = side_by_side(
        left,
        "benchmarks.memory_grid_card",
        at_once=1,
        room=room_of(machine, VRAM),
        until=until,
    )
    return written(file, results, line)


def steps_of(cell: Cell, rate: float) -> int:
    """Steps that take SECONDS at a rate of tokens a second."""
    least, most = STEPS
    return min(most, max(least, round(SECONDS * rate / (cell.batch * cell.length))))


def measured(row: dict[str, Any]) -> float:
    """Tokens a second of the median step."""
    return pace(row["steps"], SKIP)


def unsteady(row: dict[str, Any]) -> float:
    """By how much its counted steps differ, as a share of the median; 0 where that is STEADY or less."""
    times = [0.0, *(seconds for seconds, _ in row["steps"])]
    each = [after - before for before, after in pairwise(times)][SKIP:]
    apart = (max(each) - min(each)) / statistics.median(each)
    return apart if apart > STEADY else 0.0


def went(row: dict[str, Any]) -> bool:
    """Whether it came to its end."""
    return "steps" in row


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
    both = {}
    for one in there:
        row = rows[str(one)]
        both[str(one)] = (measured(row), planned(one, where, replace(card, core_ms=row.get("core_ms"))))
    short = ["| cells | number | median | most under | most over | goals |", "|---|---|---|---|---|---|"]
    for name, some in (
        ("checked only", [one for one in there if one.shape in CHECKED]),
        ("of shapes that the form was fitted to", [one for one in there if one.shape not in CHECKED]),
        ("all", there),
    ):
        off = [both[str(one)][1] / both[str(one)][0] - 1 for one in some]
        if off:
            short.append(
                f"| {name} | {len(off)} | {statistics.median(map(abs, off)):.1%} | {min(0.0, *off):.1%} "
                f"| {max(0.0, *off):+.1%} | {GOALS[0]:.0%}, {GOALS[1]:.0%} |"
            )
    long = ["| cell | tokens/s | steps differ by | core, ms | planned | error |", "|---|---|---|---|---|---|"]
    for one in there:
        real, said = both[str(one)]
        row = rows[str(one)]
        differ = f"{unsteady(row):.0%}" if unsteady(row) else "–"
        core = f"{row['core_ms']:.2f}" if "core_ms" in row else "–"
        long.append(f"| {one} | {real:,.0f} | {differ} | {core} | {said:,.0f} | {said / real - 1:+.1%} |")
    return "\n".join([*short, "", *long, ""])


if __name__ == "__main__":
    sys.exit(main())
