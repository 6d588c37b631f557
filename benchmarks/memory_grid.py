"""Estimates of memory against the card, over a grid: `python -m benchmarks.memory_grid WHAT --out DIR`.

`card` runs the cells (`benchmarks.memory_grid_cells`) on the card that is here, a process a shape
(`benchmarks.memory_grid_card`), and writes card.jsonl. `estimate` needs no card: it writes estimates.jsonl,
the closed form and the trace of each cell for a card of `--vram` GiB. Both print as they go, leave out what
their file holds already, and stop in time for `--minutes`. `table` joins the two into table.md: the error of
each estimate as a share of torch's peak, cells of shapes that constants may be fitted to apart from all
others.

`--shape` names shapes (default: all), `--setting` settings, `--where` the place for folders with a config.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.memory_grid_cells import GRID, SETTINGS, Cell, cells
from benchmarks.random_model import DEMO, describe
from core.errors import UserError
from core.job import command, environment
from core.machine import look
from core.plan.cards import card_of_size
from core.train.ready import library_versions

GIB = 2**30
VRAM = 139.8
"""GiB of the card of the recorded grid."""
MOST = 1.08
"""Of the card, by the closed form: cells beyond are not tried."""
KINDS = {"formula": "closed form", "trace": "trace"}
GOALS = {"formula": (0.06, 0.15, 0.05), "trace": (0.03, 0.08, 0.03)}
"""Of the error: median, worst, and most under."""


def main() -> int:
    given = _arguments().parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    wanted = cells(tuple(given.shape or GRID), tuple(given.setting or SETTINGS))
    if given.what == "table":
        text = table(given.out, wanted)
        (given.out / "table.md").write_text(text, encoding="utf-8")
        print(text)
        return 0
    with tempfile.TemporaryDirectory(dir=given.where) as made:
        step = on_card if given.what == "card" else estimated
        return step(given, wanted, Path(made), time.monotonic() + 60 * given.minutes)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("card", "estimate", "table"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shape", nargs="*")
    parser.add_argument("--setting", nargs="*", help="such as lora16:8:2048:0.5:packed")
    parser.add_argument("--minutes", type=float, default=600)
    parser.add_argument("--vram", type=float, default=VRAM)
    parser.add_argument("--no-trace", action="store_true", help="the closed form alone")
    parser.add_argument("--where", type=Path)
    return parser


def folder_of(shape: str, where: Path) -> Path:
    """A folder with the shape's config and a tokenizer, and no weights."""
    out = where / shape
    if not out.exists():
        config, words = describe(shape, DEMO)
        config.architectures = None
        config.save_pretrained(out)
        words.save_pretrained(out)
    return out


def rows_in(file: Path) -> dict[str, dict[str, Any]]:
    """What was written, by cell; a torn last line and cells that went wrong are left out."""
    found = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if "cell" in row and "error" not in row:
            found[row["cell"]] = row
    return found


def add(file: Path, row: dict[str, Any]) -> None:
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(row) + "\n")


def on_card(given: argparse.Namespace, wanted: Sequence[Cell], where: Path, until: float) -> int:
    """Runs what is not in card.jsonl yet; exit status 1 where something went wrong."""
    file, machine, wrong = given.out / "card.jsonl", look(), 0
    if not file.exists():
        gpus = [gpu.name for gpu in machine.gpus]
        add(file, {"head": {"gpus": gpus, "driver": machine.driver, "versions": library_versions()}})
    tried: set[str] = set()
    for shape in dict.fromkeys(cell.shape for cell in wanted):
        folder = folder_of(shape, where)
        while True:
            done = rows_in(file)
            left = [one for one in wanted if one.shape == shape and str(one) not in {*done, *tried}]
            left = [one for one in left if _may_fit(one, folder, given.vram)]
            if not left or time.monotonic() > until:
                break
            rows = run_cells(left, folder, until - time.monotonic())
            count = 0
            for row in rows:
                count += 1
                tried.add(row["cell"])
                wrong += "error" in row
                add(file, row)
                print(line(row), flush=True)
            if not count:
                wrong += 1
                tried.add(str(left[0]))
                print(f"{left[0]!s:<44} broke off", flush=True)
    return 1 if wrong else 0


def run_cells(some: Sequence[Cell], folder: Path, seconds: float) -> Iterable[dict[str, Any]]:
    """Rows as a process of its own tells them; what it prints goes to this one's stderr."""
    request = {
        "cells": [{key: value for key, value in one.to_dict().items() if key != "cell"} for one in some],
        "folder": str(folder),
        "seconds": seconds,
    }
    child = subprocess.Popen(
        command("benchmarks.memory_grid_card"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    assert child.stdin and child.stdout
    child.stdin.write(json.dumps(request))
    child.stdin.close()
    try:
        for told in child.stdout:
            yield json.loads(told)
    finally:
        child.kill()
        child.wait()


def _may_fit(cell: Cell, folder: Path, vram: float) -> bool:
    return bool(_closed(cell, folder, vram).step.tensors <= MOST * vram * GIB)


def _work(cell: Cell, folder: Path, vram: float) -> Any:
    from core.models.shape import read_folder
    from core.plan.work import work_of

    shape = read_folder(folder, str(folder))
    return work_of(cell.spec(str(folder), 100), shape, card_of_size(vram), None, cell.method)


def _closed(cell: Cell, folder: Path, vram: float) -> Any:
    from core.plan.phases import formula

    return formula(_work(cell, folder, vram), cell.setting(host=cell.compiled))


def estimated(given: argparse.Namespace, wanted: Sequence[Cell], where: Path, until: float) -> int:
    """Writes what is not in estimates.jsonl yet; exit status 1 where a trace could not be made."""
    file, wrong = given.out / "estimates.jsonl", 0
    from core.plan import trace

    done = rows_in(file)
    for cell in wanted:
        if str(cell) in done or time.monotonic() > until:
            continue
        folder = folder_of(cell.shape, where)
        begun = time.perf_counter()
        closed = _closed(cell, folder, given.vram)
        row: dict[str, Any] = cell.to_dict() | {"formula_seconds": time.perf_counter() - begun}
        row["formula"] = closed.to_dict() | {"tensors": closed.step.tensors}
        if not given.no_trace:
            begun = time.perf_counter()
            setting = cell.setting(host=cell.compiled)
            try:
                seen = trace.trace(_work(cell, folder, given.vram), setting)
                row["trace"] = seen.to_dict() | {"tensors": seen.step.tensors}
            except UserError as error:
                wrong += 1
                row["trace_error"] = error.line()
            row["trace_seconds"] = time.perf_counter() - begun
        add(file, row)
        traced = row.get("trace", {}).get("tensors")
        print(
            f"{cell!s:<44}{closed.step.tensors / GIB:>9.2f}{_gib(traced)}  {row.get('trace_error', '')}",
            flush=True,
        )
    return 1 if wrong else 0


def line(row: dict[str, Any]) -> str:
    if "error" in row or "out_of_memory" in row:
        return f"{row['cell']:<44} {row.get('error') or 'out of memory'}"
    parts = [row.get("peak"), row.get("reserved"), row.get("evaluation")]
    return f"{row['cell']:<44}" + "".join(map(_gib, parts)) + f"  {row['took']:.0f} s"


def table(out: Path, wanted: Sequence[Cell]) -> str:
    """Markdown: errors in short, then a row a cell."""
    card, said = rows_in(out / "card.jsonl"), rows_in(out / "estimates.jsonl")
    measured = [one for one in wanted if card.get(str(one), {}).get("peak")]
    parts = []
    for name, some in (
        ("checked only", [one for one in measured if not one.fitted]),
        ("of the shapes that constants were fitted to", [one for one in measured if one.fitted]),
    ):
        parts.append(f"## Cells {name}: {len(some)}\n\n{_short(some, card, said)}\n")
        parts.append(_long(some, card, said))
    full = [str(one) for one in wanted if "out_of_memory" in card.get(str(one), {})]
    if full:
        parts.append("Out of memory on the card: " + ", ".join(full) + ".\n")
    return "\n".join(parts)


def errors(some: Sequence[Cell], card: dict[str, Any], said: dict[str, Any], kind: str) -> list[float]:
    """Of each cell, how far the estimate's tensors were from torch's peak, as a share of it."""
    found = []
    for one in some:
        told = said.get(str(one), {}).get(kind)
        if told:
            found.append(told["tensors"] / card[str(one)]["peak"] - 1)
    return found


def _short(some: Sequence[Cell], card: dict[str, Any], said: dict[str, Any]) -> str:
    head = "| estimate | cells | median | worst | most under | most over | goals |\n"
    head += "|---|---|---|---|---|---|---|\n"
    rows = []
    for kind, name in KINDS.items():
        off = errors(some, card, said, kind)
        if not off:
            continue
        median, worst, under = GOALS[kind]
        rows.append(
            f"| {name} | {len(off)} | {statistics.median(map(abs, off)):.1%} | {max(off, key=abs):+.1%} "
            f"| {min(0.0, *off):.1%} | {max(0.0, *off):.1%} | {median:.0%}, {worst:.0%}, {-under:.0%} |"
        )
    return head + "\n".join(rows)


def _long(some: Sequence[Cell], card: dict[str, Any], said: dict[str, Any]) -> str:
    head = "| cell | torch's peak | closed form | trace | pool | at a look | closed form | host |\n"
    head += "|---|---|---|---|---|---|---|---|\n"
    rows = []
    for one in some:
        row, told = card[str(one)], said.get(str(one), {})
        off = [errors([one], card, said, kind) for kind in KINDS]
        looks = told.get("formula", {}).get("evaluation")
        cells_of = [
            _gib(row["peak"]),
            *(f"{share[0]:+.1%}" if share else "–" for share in off),
            _gib(row.get("reserved")),
            _gib(row.get("evaluation")),
            _gib(looks),
            _gib(row.get("host")),
        ]
        rows.append(f"| {one} | " + " | ".join(cell.strip() for cell in cells_of) + " |")
    return head + "\n".join(rows) + "\n"


def _gib(value: float | None) -> str:
    return f"{value / GIB:>9.2f}" if value else f"{'–':>9}"


if __name__ == "__main__":
    sys.exit(main())
