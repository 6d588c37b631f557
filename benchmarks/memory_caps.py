"""What is recommended on smaller cards, run under a cap: `python -m benchmarks.memory_caps WHAT --out DIR`.

`plans` says what would be run (`benchmarks.memory_caps_cells`), and needs no card. `card` runs it on the
card that is here, up to `--at-once` processes beside each other (`benchmarks.memory_beside`), each under the
cap of its cell's card (`benchmarks.memory_caps_card`); it writes caps.jsonl as it goes, leaves out what that
holds already, and stops in time for `--minutes`. `table` makes table.md of it.

`--shape` names shapes (default: the grid's), `--gib` sizes of cards, `--turn` which data each has (0, 1, 2).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.memory_beside import PROCESS, Job, aside, room_of, side_by_side
from benchmarks.memory_caps_cells import CARDS, GIB, Try, cells, tries
from benchmarks.memory_caps_table import table
from benchmarks.memory_grid import VRAM, folder_of, written
from benchmarks.memory_grid_cells import GRID
from benchmarks.memory_rows import add, crowded_in, rows_in
from core.machine import Machine, look
from core.plan.memory import CONTEXT
from core.train.ready import library_versions


def main() -> int:
    given = _arguments().parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "caps.jsonl"
    if given.what == "table":
        text = table([one for one in rows_in(file).values()])
        (given.out / "table.md").write_text(text, encoding="utf-8")
        print(text)
        return 0
    until = time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory(dir=given.where) as made:
        run, told = wanted(given, Path(made))
        if given.what == "plans":
            for one in run:
                print(planned(one))
            for row in told:
                print(line(row))
            print(*expected(run), sep="\n")
            return 0
        return on_card(given, file, run, told, until)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("card", "plans", "table"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shape", nargs="*", default=GRID)
    parser.add_argument("--gib", nargs="*", type=float, default=CARDS)
    parser.add_argument("--turn", nargs="*", type=int, default=[0])
    parser.add_argument("--minutes", type=float, default=600)
    parser.add_argument("--at-once", type=int, default=1, help="processes beside each other")
    parser.add_argument("--where", type=Path)
    return parser


def wanted(given: argparse.Namespace, where: Path) -> tuple[list[Try], list[dict[str, Any]]]:
    """What is to be run, and rows of what need not be."""
    run: list[Try] = []
    told: list[dict[str, Any]] = []
    machine = look()
    for cell in cells(tuple(given.shape), tuple(given.gib), tuple(given.turn)):
        more, known = tries(cell, folder_of(cell.shape, where), machine)
        run += more
        told += known
    return run, told


def on_card(
    given: argparse.Namespace, file: Path, run: list[Try], told: list[dict[str, Any]], until: float
) -> int:
    """Runs what is not in the file yet; exit status 1 where something went wrong."""
    machine = look()
    if not file.exists():
        add(file, head(machine))
    done = rows_in(file)
    for row in told:
        if row["cell"] not in done:
            add(file, row)
    results = side_by_side(
        [job_of(one) for one in run if str(one) not in done],
        "benchmarks.memory_caps_card",
        at_once=given.at_once,
        room=room_of(machine, VRAM),
        until=until,
        crowded=crowded_in(file),
    )
    return written(file, results, line)


def head(machine: Machine) -> dict[str, Any]:
    gpus = [gpu.name for gpu in machine.gpus]
    return {"head": {"gpus": gpus, "driver": machine.driver, "versions": library_versions()}}


def job_of(one: Try) -> Job:
    """Its cap is the most that it takes of the card, but for moments that may leave it: torch does not count
    those, and here they need not leave."""
    step, size = one.planned.step, one.cell.card.memory_total
    paged = 4 * step.optimizer if one.setting.optimizer.startswith("paged") else 0
    request = {
        "row": one.to_dict(),
        "spec": one.spec.model_dump(mode="json"),
        "mix": one.cell.mix,
        "size": size,
        "ram": one.cell.ram,
        "host": one.setting.host,
        "compiled": one.setting.compiled,
        "recorded": one.setting.recorded,
    }
    return Job(
        str(one),
        one.cell.shape,
        f"{one.method}:{one.setting.compiled}",
        request,
        card=min(size, aside(one.planned.peak - CONTEXT)) + paged,
        host=step.host + PROCESS,
    )


def planned(one: Try) -> str:
    """What is to be run, in a line."""
    set_to, need = one.setting, one.planned.peak
    switches = [name for name in ("host", "compiled", "recorded") if getattr(set_to, name)]
    words = [
        f"{one!s:<44}{one.method:<6}{set_to.batch} x {one.spec.accumulate} rows of {one.spec.length}",
        f"recompute {set_to.recompute:g}",
        set_to.optimizer,
        *switches,
        f"{need / GIB:.2f} GiB, {need / one.cell.card.memory_total:.0%} of the card",
        f"{one.full:.0%} by its own fullest pass",
    ]
    return ", ".join(words) + (", memory decides" if one.limit else "")


def expected(run: list[Try]) -> list[str]:
    """Of the card what recommended plans will use where memory decides, by the closed form, in Markdown."""
    limited = [one for one in run if one.limit and one.role == "recommended"]
    lines = ["| data | plans | median | least | under 85 % |", "|---|---|---|---|---|"]
    for mix in dict.fromkeys(one.cell.mix for one in limited):
        shares = [one.full for one in limited if one.cell.mix == mix]
        few = sum(share < 0.85 for share in shares)
        middle = statistics.median(shares)
        lines.append(f"| {mix} | {len(shares)} | {middle:.0%} | {min(shares):.0%} | {few} |")
    return lines


def line(row: dict[str, Any]) -> str:
    """A row of the file, in a line."""
    said = f"{row['cell']:<44}"
    for key, words in (("nothing_fits", "nothing fits"), ("no_larger", "no larger method is called too big")):
        if row.get(key):
            return said + words
    said += f"{row['method']:<6}"
    if "not_tried" in row:
        return said + f"not tried: planned {row['not_tried']:.2f} times the card"
    if "error" in row:
        return said + str(row["error"])
    if "out_of_memory" in row:
        return said + f"out of memory ({row.get('stage')}): {row['out_of_memory']}"
    if row.get("peak"):
        said += f"{(row['peak'] + CONTEXT) / GIB:>8.2f}{(row['reserved'] + CONTEXT) / GIB:>8.2f} GiB"
        said += f", planned {row['planned']['peak'] / GIB:.2f}"
    return said + (", held otherwise" if row.get("otherwise") else "") + f"  {row['took']:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
