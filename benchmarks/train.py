"""How fast training is and what it takes, a process a cell: `python -m benchmarks.train MODEL CELL …`.

A CELL is method:batch:length:recompute[:optimizer][:compile=true|false][:packed|:alpaca], such as
lora:8:2048:0.5 or full:8:2048:1:adamw_8bit; `--preset` names several. Rows are made here: all exactly
`length` tokens, or a mix of short ones (`alpaca`), or that mix in packs (`packed`). Each cell is one run of
the worker from its spec to its adapter, planned as any run is, and read from its events and report.json;
`--plain` adds the same rows by TRL at its defaults, `--bare` the same run without events, watch and pulse.
Tokens are useful ones, padding not counted.

On a card layers are compiled where a cell does not say otherwise: so short a run would not do it by itself.
Prints a table, and with `--out DIR` writes it (results.jsonl, table.md); `--resume` goes on with the cells
that are not in it yet. Exit status 1 where a cell failed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import train_table as table
from benchmarks.train_cells import PRESETS, Cell, count_of, padded, plain_of, read, wanted, write
from core.data.lengths import describe
from core.errors import UserError
from core.job import command, environment, run_job
from core.machine import look
from core.models.shape import ModelShape, read_shape
from core.plan import speed
from core.plan.advise import advise
from core.plan.cards import card_here
from core.plan.resolve import resolve
from core.runs.events import Checkpoint, Error, Follow, Record, Stage, Step
from core.runs.folder import RunFolder, create
from core.spec import RunSpec, dump_spec, parse_spec
from core.train.ready import library_versions

STEPS, SKIP = 12, 4
"""Of a cell, and those at its beginning that are not looked at."""


def main() -> int:
    given = _arguments().parse_args()
    cells = [*(read(one) for one in PRESETS.get(given.preset, ())), *given.cells]
    more = [replace(cell, by="bare") for cell in cells if given.bare]
    more += [plain_of(cell) for cell in cells if given.plain and cell.method != "qlora"]
    cells += more
    if not cells or not 0 < given.skip < given.steps - 1:
        raise SystemExit("give a cell or a preset, and more steps than are skipped by two")
    model = str(Path(given.model).absolute()) if Path(given.model).is_dir() else given.model
    try:
        shape = read_shape(model)
        results = table.Results(given.out, given.resume)
        results.begin(lambda: _head(given.model))
    except UserError as error:
        raise SystemExit(error.line()) from None
    from core.data.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(model)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no worker is left on the card
    print(results.heading(), flush=True)
    for cell in dict.fromkeys(cells):
        if results.has(cell):
            continue
        begun = time.monotonic()
        row: dict[str, Any] = {"cell": str(cell), **cell.__dict__}
        try:
            with tempfile.TemporaryDirectory(dir=given.where) as home:
                row |= measure(cell, model, shape, tokenizer, Path(home), given, results.head["rate"])
        except UserError as error:
            row["error"] = f"{error.what}: {error.why}"
        except Exception as error:  # a cell that went wrong is a row, and the others go on
            row["error"] = f"{type(error).__name__}: {error}"
        row["took"] = round(time.monotonic() - begun, 1)
        results.add(row)
        print(results.line(row), flush=True)
    print(results.ending(), flush=True)
    return 1 if results.failed() else 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("cells", nargs="*", type=read, metavar="CELL")
    parser.add_argument("--preset", choices=sorted(PRESETS))
    parser.add_argument("--plain", action="store_true", help="also by TRL at its defaults")
    parser.add_argument("--bare", action="store_true", help="also without what surrounds the trainer")
    parser.add_argument("--cold", action="store_true", help="every cell compiles with an empty cache")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--skip", type=int, default=SKIP, help="steps at the beginning that are not counted")
    parser.add_argument("--save", type=int, help="a checkpoint every so many steps, and how long it takes")
    parser.add_argument("--timeout", type=float, default=600, help="seconds that a cell may take")
    parser.add_argument("--out", type=Path, help="folder for results.jsonl and table.md")
    parser.add_argument("--resume", action="store_true", help="leave out what --out holds already")
    parser.add_argument("--where", type=Path, help="folder for runs; they are deleted")
    return parser


def _head(model: str) -> dict[str, Any]:
    """What all rows have in common."""
    machine = look()
    here = {"model": Path(model).name, "driver": machine.driver, "cpus": machine.cpus}
    return {**here, "versions": library_versions(), **run_job("benchmarks.matrix_rate", {})}


def measure(
    cell: Cell,
    model: str,
    shape: ModelShape,
    tokenizer: Any,
    home: Path,
    given: argparse.Namespace,
    matrix_rate: float,
) -> dict[str, Any]:
    """One cell's row. UserError: why there is none."""
    data, lengths = home / "rows.jsonl", wanted(cell, count_of(cell, given.steps))
    write(data, lengths, tokenizer)
    if cell.by == "plain":
        row = by_plain(cell, model, data, given)
    else:
        row = by_worker(cell, model, shape, data, lengths, home, given)
    work = speed.operations(shape, cell.method, 0.0)
    share = row["tokens_per_second"] * work / matrix_rate
    end_to_end = "without padding" in (row.get("attention") or "")
    return {**row, "padded": padded(cell, lengths, end_to_end), "matrix_share": share}


def by_plain(cell: Cell, model: str, data: Path, given: argparse.Namespace) -> dict[str, Any]:
    request = {"model": model, "data": str(data), "method": cell.method, "batch": cell.batch}
    request |= {"length": cell.length, "steps": given.steps, "skip": given.skip}
    told = run_job("benchmarks.trl_defaults", request, timeout=given.timeout)
    return {
        "tokens_per_second": pace(told["steps"], given.skip),
        "peak": told["peak"],
        "first_step_seconds": told["steps"][0][0],
    }


def by_worker(
    cell: Cell,
    model: str,
    shape: ModelShape,
    data: Path,
    lengths: list[int],
    home: Path,
    given: argparse.Namespace,
) -> dict[str, Any]:
    """Planned as any run is, trained by the worker, and read from what it tells."""
    machine, spec = look(), spec_of(cell, model, data, given.steps, given.save)
    on_gpu = card_here(spec, machine).kind == "gpu"
    if cell.compile is None and on_gpu:
        spec = spec.model_copy(update={"compile": True})
    known = {"format": "text", "train_rows": len(lengths), "lengths": describe(lengths)}
    plan = advise(spec, machine, shape, known)
    planned = plan.of(cell.method)
    resolved = resolve(spec, plan, shape, known)
    folder = create(home, "cell")
    folder.spec_file.write_text(dump_spec(resolved, full=True), encoding="utf-8")
    module = "core.train.worker" if cell.by == "finetui" else "benchmarks.bare"
    kept = {"TORCHINDUCTOR_CACHE_DIR": str(home / "compiled")} if given.cold else {}
    records = train(folder, module, given.timeout, kept)
    steps = [one.event for one in records if isinstance(one.event, Step)]
    report = json.loads(folder.report_file.read_text(encoding="utf-8"))
    engine = report.get("engine") or {}
    seconds = engine.get("load_seconds")
    peaks = [step.memory for step in steps[given.skip :] if step.memory]
    return {
        "recompute": resolved.recompute,
        "optimizer": resolved.optimizer,
        "tokens_per_second": pace([(step.seconds, step.tokens) for step in steps], given.skip),
        "peak": max(peaks, default=None),
        "host": engine.get("host_bytes"),
        "save_seconds": saving(records),
        "compile_seconds": engine.get("compile_seconds"),
        "first_step_seconds": engine.get("first_step_seconds") or steps[0].seconds,
        "load_rate": engine["load_bytes"] / seconds if seconds else None,
        "planned": planned.bytes.tensors if on_gpu else None,
        "planned_tokens_per_second": planned.tokens_per_second,
        "compiled": engine.get("compiled"),
        "why": engine.get("why"),
        "attention": engine.get("attention"),
        "holds": engine.get("holds"),
        "recorded": engine.get("recorded"),
        "recorded_why": engine.get("recorded_why"),
    }


def spec_of(cell: Cell, model: str, data: Path, steps: int, save: int | None = None) -> RunSpec:
    """The run of a cell: nothing held out, one pass a step, a checkpoint every `save` steps or never."""
    asked: dict[str, Any] = {
        "model": model,
        "data": {"source": str(data), "format": "text", "eval": 0},
        "learn": "all",
        "method": cell.method,
        "batch": cell.batch,
        "accumulate": 1,
        "steps": steps,
        "length": cell.length,
        "packing": cell.rows == "packed",
        "recompute": cell.recompute,
        "optimizer": cell.optimizer,
        "learning_rate": 1e-5,
        "lora": {"rank": 16, "alpha": 32},
        "save": {"every": save or 1_000_000, "keep": 1},
        "name": "cell",
    }
    return parse_spec(asked if cell.compile is None else {**asked, "compile": cell.compile})


def train(folder: RunFolder, module: str, timeout: float, more: dict[str, str]) -> list[Record]:
    """What the worker told, with `more` in its environment. UserError where it failed or was not
    done in so many seconds."""
    with folder.log.open("ab") as log:
        worker = subprocess.Popen(
            [*command(module), str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment() | more,
            start_new_session=True,
        )
        try:
            worker.wait(timeout)
        except subprocess.TimeoutExpired:
            raise UserError("it took too long", f"more than {timeout:g} s") from None
        finally:
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()
    records = Follow(folder.events_file).poll()
    for record in records:
        if isinstance(record.event, Error):
            raise UserError(record.event.what, record.event.why)
    if worker.returncode:
        last = folder.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise UserError("the worker broke off", last[0] if last else f"exit status {worker.returncode}")
    return records


def saving(records: list[Record]) -> float | None:
    """Seconds that the steps waited for a checkpoint, the median; None where none was due."""
    took, begun = [], 0.0
    for _, when, event in records:
        if isinstance(event, Stage) and event.name == "save":
            begun = when
        elif isinstance(event, Checkpoint) and event.reason == "schedule":
            took.append(when - begun)
    return statistics.median(took) if took else None


def pace(steps: list[Any], skip: int) -> float:
    """Tokens a second, the median step after the first `skip`; a step is (seconds, tokens) so far."""
    rates = [
        (tokens - before) / max(seconds - begun, 1e-9)
        for (begun, before), (seconds, tokens) in pairwise(steps[skip - 1 :])
    ]
    return statistics.median(rates)


if __name__ == "__main__":
    sys.exit(main())
