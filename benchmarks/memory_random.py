"""The closed form against the trace, over settings drawn at random: `python -m benchmarks.memory_random`.

Needs no card: what the grid of runs (`benchmarks.memory_grid`) does not reach, such as large passes of full
tuning or Adafactor, is compared with what the real modules hold on tensors without numbers, some seconds a
setting. `draw` adds a line to random.jsonl for each; `table` says how far off the closed form is of them as
it stands now, and which are furthest.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.memory_grid import GIB, VRAM, folder_of
from benchmarks.memory_grid_cells import GRID, Cell, read
from benchmarks.memory_rows import add, rows_in
from core.errors import UserError
from core.models.shape import read_folder
from core.plan import trace
from core.plan.cards import card_of_size
from core.plan.phases import formula
from core.plan.work import Setting, Work, work_of

RAM = 2**39
TOKENS = (512, 40_000)
"""Of a pass, at least and at most."""
OPTIMIZERS = ("adamw", "adamw_8bit", "adafactor", "paged_adamw_8bit")
FAR = 0.02


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("draw", "table"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shape", nargs="*", default=GRID)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "random.jsonl"
    with tempfile.TemporaryDirectory() as made:
        if given.what == "table":
            print(table(rows_in(file), Path(made)))
            return 0
        until, done = time.monotonic() + 60 * given.minutes, rows_in(file)
        for row in drawn(random.Random(given.seed), tuple(given.shape)):
            if time.monotonic() > until:
                return 0
            if row["cell"] not in done:
                row |= traced(row, Path(made))
                add(file, row)
                print(line(row, Path(made)), flush=True)
    return 0


def drawn(chance: random.Random, shapes: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Settings, without end; two that differ in nothing but how they are drawn have one name."""
    while True:
        method = chance.choice(("lora", "lora", "qlora", "full"))
        batch, length = chance.choice((1, 2, 3, 4, 8, 16)), 2 ** chance.randint(8, 13)
        if not TOKENS[0] <= batch * length <= TOKENS[1]:
            continue
        rank = "" if method == "full" else str(chance.choice((8, 16, 64)))
        dial = chance.choice((0, 0.25, 0.5, 0.6, 0.75, 0.9, 1))
        words = [f"{method}{rank}", str(batch), str(length), f"{dial:g}"]
        words += ["packed"] * (chance.random() < 0.3)
        compiled = chance.random() < 0.75
        words += ["eager"] * (not compiled)
        row = {
            "shape": chance.choice(shapes),
            "setting": ":".join(words),
            "host": compiled and chance.random() < 0.75,
            "accumulate": chance.choice((1, 1, 2)),
            "optimizer": chance.choice(OPTIMIZERS) if method == "full" else "adamw",
        }
        yield {"cell": " ".join(map(str, row.values())), **row}


def asked(row: dict[str, Any], where: Path) -> tuple[Work, Setting]:
    cell: Cell = replace(read(row["shape"], row["setting"]), optimizer=row["optimizer"])
    folder = folder_of(cell.shape, where)
    spec = cell.spec(str(folder), 100).model_copy(update={"accumulate": row["accumulate"]})
    card = replace(card_of_size(VRAM), ram=RAM)
    work = work_of(spec, read_folder(folder, str(folder)), card, None, cell.method)
    return work, cell.setting(host=row["host"])


def traced(row: dict[str, Any], where: Path) -> dict[str, Any]:
    """Bytes of the tensors at a step's peak, or why there are none."""
    try:
        return {"traced": trace.trace(*asked(row, where)).step.tensors}
    except UserError as error:
        return {"error": error.line()}


def off(row: dict[str, Any], where: Path) -> float:
    """By how much the closed form, as it stands now, is over the trace."""
    return formula(*asked(row, where)).step.tensors / int(row["traced"]) - 1


def line(row: dict[str, Any], where: Path) -> str:
    if "error" in row:
        return f"| {row['cell']} | {row['error']} | |"
    return f"| {row['cell']} | {row['traced'] / GIB:.2f} | {off(row, where):+.1%} |"


def table(rows: dict[str, dict[str, Any]], where: Path) -> str:
    """Markdown: how far off, and a row for each that is further off than FAR."""
    if not rows:
        return "nothing was drawn"
    found = {name: off(row, where) for name, row in rows.items()}
    shares = list(found.values())
    lines = [
        "| settings | median | most under | most over |\n|---|---|---|---|",
        f"| {len(shares)} | {statistics.median(map(abs, shares)):.1%} | {min(shares):.1%} "
        f"| {max(shares):+.1%} |\n",
        "| shape, setting, host, accumulate, optimiser | traced, GiB | closed form |\n|---|---|---|",
    ]
    for name, share in sorted(found.items(), key=lambda one: -abs(one[1])):
        if abs(share) > FAR:
            lines.append(line(rows[name], where))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
