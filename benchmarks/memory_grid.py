"""Estimates of memory against the card, over a grid: `python -m benchmarks.memory_grid WHAT --out DIR`.

`card` runs the cells (`benchmarks.memory_grid_cells`) on the card that is here, cells of a shape in a process
of their own (`benchmarks.memory_grid_card`) and up to `--at-once` of those beside each other
(`benchmarks.memory_beside`), and writes card.jsonl. `estimate` needs no card: it writes estimates.jsonl,
the closed form and the trace of each cell for a card of `--vram` GiB. Both print as they go, leave out what
their file holds already, and stop in time for `--minutes`. `table` joins the two into table.md: the error of
each estimate as a share of torch's peak, cells of shapes that constants may be fitted to apart from all
others.

`--shape` names shapes (default: all), `--setting` settings, `--where` the place for folders with a config.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.memory_beside import PROCESS, Job, Result, aside, room_of, side_by_side
from benchmarks.memory_grid_cells import GRID, SETTINGS, Cell, cells
from benchmarks.memory_rows import add, crowded_in, rows_in
from benchmarks.random_model import DEMO, describe
from core.errors import UserError
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
    parser.add_argument("--at-once", type=int, default=1, help="processes beside each other")
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


def on_card(given: argparse.Namespace, wanted: Sequence[Cell], where: Path, until: float) -> int:
    """Runs what is not in card.jsonl yet; exit status 1 where something went wrong."""
    file, machine = given.out / "card.jsonl", look()
    if not file.exists():
        gpus = [gpu.name for gpu in machine.gpus]
        add(file, {"head": {"gpus": gpus, "driver": machine.driver, "versions": library_versions()}})
    done = rows_in(file)
    left = [job_of(one, folder_of(one.shape, where), given.vram) for one in wanted if str(one) not in done]
    results = side_by_side(
        [one for one in left if one],
        "benchmarks.memory_grid_card",
        at_once=given.at_once,
        room=room_of(machine, given.vram),
        until=until,
        crowded=crowded_in(file),
    )
    return written(file, results, line)


def written(file: Path, results: Iterable[Result], say: Callable[[dict[str, Any]], str]) -> int:
    """Adds results to the file as they come, and prints them; 1 where something went wrong, else 0."""
    wrong = 0
    for result in results:
        if not result.believed:
            add(file, {"cell": result.job.key, "crowded": result.row or {}})
            print(f"{result.job.key:<44} not beside others", flush=True)
        elif result.row is None:
            wrong = 1
            print(f"{result.job.key:<44} broke off", flush=True)
        else:
            wrong = wrong or int("error" in result.row)
            add(file, result.row)
            print(say(result.row), flush=True)
    return wrong


def job_of(cell: Cell, folder: Path, vram: float) -> Job | None:
    """None: it is so much too large that it is not tried."""
    closed = _closed(cell, folder, vram)
    if closed.step.tensors > MOST * vram * GIB:
        return None
    told = cell.to_dict()
    del told["cell"]
    return Job(
        str(cell),
        cell.shape,
        f"{cell.method}{cell.rank}:{cell.dial:g}:{cell.packed}:{cell.compiled}",
        {"row": cell.to_dict(), "cell": told, "folder": str(folder)},
        card=aside(max(closed.step.tensors, closed.load, closed.evaluation)),
        host=closed.step.host + PROCESS,
    )


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
    otherwise = [str(one) for one in measured if card[str(one)].get("otherwise")]
    measured = [one for one in measured if str(one) not in otherwise]
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
    if otherwise:
        parts.append(
            "Layers held something else, for want of room in the host: " + ", ".join(otherwise) + ".\n"
        )
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
