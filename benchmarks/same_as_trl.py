"""Whether a run learns what plain TRL learns: the same rows, order and seed, by both, step by step.

    python -m benchmarks.same_as_trl MODEL DATA --out DIR [--steps 200] [--precision bf16|fp32]
        [--cells full,lora,qlora:0,0.5,1:packed,unpacked] [--compile auto|true|false] [--jobs 6]

A cell is method x recompute x packed or not: one run of finetui's worker, in a process of its own, against
one of `benchmarks.plain_trl`. Before anything is compared, both must have seen the same tokens at every step,
and adapters must have begun at the same weights. What may then lie between them is measured, not supposed:
plain TRL itself is run three times, with roundings that differ and mathematics that does not (its KINDS), and
the noise is what lies between two of those, at most. A cell is the same where it is no farther from plain TRL
than `TIMES` that noise, or than `FLOOR` (`benchmarks.curves`).

Prints a Markdown table, a method and kind of rows as soon as its runs are done, and writes the curves to
DIR/same.json. Exit status 1 where a cell is outside or a run failed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

from benchmarks.curves import ALIKE, FLOOR, Apart, Course, alike, bound, outside, refuse_other_rows
from core.errors import UserError
from core.job import command, environment
from core.runs.folder import RunFolder, create
from core.runs.history import replay
from core.spec import RunSpec, dump_spec, parse_spec

CELLS = "full,lora,qlora:0,0.5,1:packed,unpacked"
PLAIN_KINDS = ("plain", "math", "halves")
"""Those of `benchmarks.plain_trl`, which is too heavy to be imported here."""
RATE = {"full": 2e-4, "lora": 5e-4, "qlora": 5e-4}


@dataclass(frozen=True)
class Job:
    """One run to be made. `kind`: ours, or one of plain TRL."""

    method: str
    packed: bool
    kind: str
    recompute: float = 0.0

    @property
    def name(self) -> str:
        rows = "packed" if self.packed else "unpacked"
        return f"{self.method}-{rows}-{self.kind}" + (f"-{self.recompute:g}" if self.kind == "ours" else "")


def spec_of(job: Job, asked: argparse.Namespace) -> RunSpec:
    source = {"source": str(Path(asked.data).absolute()) if Path(asked.data).exists() else asked.data}
    never = {"every": 10**9}
    mapping = {
        "model": str(Path(asked.model).absolute()) if Path(asked.model).is_dir() else asked.model,
        "data": {**source, "eval": asked.eval},
        "method": job.method,
        "length": asked.length,
        "packing": job.packed,
        "batch": max(2, asked.batch // 4) if job.packed else asked.batch,
        "accumulate": 1,
        "steps": asked.steps,
        "learning_rate": RATE[job.method],
        "warmup": 0.05,
        "optimizer": "adamw",
        "recompute": job.recompute,
        "precision": asked.precision,
        "lora": {"rank": 16, "alpha": 32},
        "seed": asked.seed,
        "shuffle": asked.seed,
        "save": never,
        "evaluate": never,
        "name": job.name,
    }
    if asked.compile and job.kind == "ours":
        mapping["compile"] = asked.compile if asked.compile == "auto" else asked.compile == "true"
    return parse_spec(mapping)


def run(job: Job, spec: RunSpec, where: Path, threads: int) -> tuple[RunFolder, Course]:
    """Makes the run in a process of its own and reads its course. UserError where it failed."""
    folder = create(where, job.name)
    folder.spec_file.write_text(dump_spec(spec, full=True), encoding="utf-8")
    module = ["core.train.worker"] if job.kind == "ours" else ["benchmarks.plain_trl"]
    call = [*command(*module), str(folder.path), *([] if job.kind == "ours" else [job.kind])]
    more = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
    begun = time.monotonic()
    with folder.log.open("ab") as log:
        done = subprocess.run(
            call, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**environment(), **more}
        )
    seconds = round(time.monotonic() - begun, 1)
    if done.returncode:
        told = replay(folder).error
        why = f"{told.what}: {told.why}" if told else _end_of(folder.log)
        raise UserError(f"the run {job.name} failed", why, "mend that and call again", code=1)
    course = our_course(folder) if job.kind == "ours" else plain_course(folder)
    course.about["seconds"] = seconds
    print(f"{job.name}: {seconds:g} s", file=sys.stderr, flush=True)
    return folder, course


def our_course(folder: RunFolder) -> Course:
    steps = replay(folder).steps
    report = json.loads(folder.report_file.read_text(encoding="utf-8"))
    held_out = report["held_out_loss"].get(str(len(steps)))
    about = {name: report.get(name) for name in ("engine", "device", "versions")}
    norms = [one.grad_norm or 0.0 for one in steps]
    return Course([one.loss for one in steps], norms, [one.tokens for one in steps], held_out, about)


def plain_course(folder: RunFolder) -> Course:
    told = json.loads((folder.path / "plain.json").read_text(encoding="utf-8"))
    about = {name: told[name] for name in ("device", "versions")}
    return Course(told["losses"], told["norms"], told["tokens"], told["held_out"], about)


HEAD = (
    "| method | rows | recompute | loss: mean | largest | gradient norm | held out | by plain TRL | same |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def line(job: Job, dial: str, apart: Apart, held: Course | None, plain: Course, verdict: str) -> str:
    ours = "" if held is None or held.held_out is None else f"{held.held_out:.4f}"
    theirs = "" if plain.held_out is None else f"{plain.held_out:.4f}"
    rows = "packed" if job.packed else "unpacked"
    return (
        f"| {job.method} | {rows} | {dial} | {apart.mean:.2e} | {apart.largest:.2e} | {apart.norm:.2e} "
        f"| {ours or f'± {apart.held_out:.1e}'} | {theirs} | {verdict} |"
    )


def read_cells(text: str) -> tuple[list[str], list[float], list[bool]]:
    parts = text.split(":")
    try:
        methods, dials, rows = (part.split(",") for part in parts)
        if set(methods) - set(RATE) or set(rows) - {"packed", "unpacked"}:
            raise ValueError
        return methods, [float(dial) for dial in dials], [one == "packed" for one in rows]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not methods:dials:rows, such as {CELLS}") from None


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--precision", choices=tuple(FLOOR), default="bf16")
    parser.add_argument("--cells", type=read_cells, default=read_cells(CELLS))
    parser.add_argument("--compile", choices=("auto", "true", "false"))
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--batch", type=int, default=16, help="rows a step; packs: a quarter of them")
    parser.add_argument("--eval", type=float, default=0.05, help="share of the rows held out")
    parser.add_argument("--seed", type=int, default=42)
    cores = os.cpu_count() or 1
    parser.add_argument("--jobs", type=int, default=max(1, min(6, cores // 2)), help="processes at a time")
    asked = parser.parse_args()
    if asked.batch % 8:
        parser.error("--batch must be a multiple of 8, since steps are also made of two halves")
    return asked


def compare(asked: argparse.Namespace, home: Path, told: Callable[[dict[str, Any]], None]) -> list[str]:
    """Prints each group of cells (a method and its rows) as soon as all its runs are there.

    `told` is given all that stands behind the groups so far. Returns why groups could not be compared.
    """
    methods, dials, packings = asked.cells
    facts: dict[str, Any] = {"noise": {}, "cells": [], "courses": {}}
    failed = []
    with ThreadPoolExecutor(asked.jobs) as pool:
        groups = []
        for method, packed in product(methods, packings):
            jobs = [Job(method, packed, kind) for kind in PLAIN_KINDS]
            jobs += [Job(method, packed, "ours", dial) for dial in dials]
            threads = max(1, (os.cpu_count() or 1) // asked.jobs)
            groups.append({job: pool.submit(run, job, spec_of(job, asked), home, threads) for job in jobs})
        for group in groups:
            try:
                made = {job: future.result() for job, future in group.items()}
                lines = compare_group(made, asked.precision, facts)
            except UserError as error:
                failed.append(error.line())
                print(error.line(), file=sys.stderr, flush=True)
                continue
            print("\n".join(lines), flush=True)
            told(facts)
    return failed


def compare_group(
    made: dict[Job, tuple[RunFolder, Course]], precision: str, facts: dict[str, Any]
) -> list[str]:
    """Lines of the table for the runs of one method and one kind of rows; adds to `facts`."""
    theirs = [job for job in made if job.kind != "ours"]
    folder, plain = made[theirs[0]]
    for job in theirs:
        refuse_other_rows(plain, made[job][1], f"plain TRL ({job.kind})")
    courses = [made[job][1] for job in theirs]
    noise = Apart.most([Apart.of(one, other) for one, other in combinations(courses, 2)])
    most = bound(noise, precision)
    first = theirs[0]
    name = f"{first.method}-{'packed' if first.packed else 'unpacked'}"
    facts["noise"][name] = asdict(noise) | {"bound": asdict(most)}
    facts["courses"] |= {job.name: asdict(course) for job, (_, course) in made.items()}
    lines = [line(first, "noise", noise, None, plain, "")]
    for job, (our_folder, ours) in made.items():
        if job.kind != "ours":
            continue
        refuse_other_rows(plain, ours, job.name)
        apart = Apart.of(plain, ours)
        wrong = outside(apart, most)
        cosine = alike(our_folder.adapter, folder.adapter) if job.method != "full" else None
        if cosine is not None and cosine < ALIKE:
            wrong.append("the adapter's beginning")
        facts["cells"].append({"job": asdict(job), "apart": asdict(apart), "alike": cosine, "outside": wrong})
        verdict = f"no: {', '.join(wrong)}" if wrong else "yes"
        lines.append(line(job, f"{job.recompute:g}", apart, ours, plain, verdict))
    return lines


def main() -> int:
    asked = arguments()
    begun = time.monotonic()
    asked.out.mkdir(parents=True, exist_ok=True)
    settings = {name: str(one) if isinstance(one, Path) else one for name, one in vars(asked).items()}
    cells: list[dict[str, Any]] = []

    def told(facts: dict[str, Any]) -> None:
        cells[:] = facts["cells"]
        so_far = {"settings": settings, "seconds": round(time.monotonic() - begun, 1), **facts}
        (asked.out / "same.json").write_text(json.dumps(so_far), encoding="utf-8")

    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory(prefix="finetui-same-") as home:
        failed = compare(asked, Path(home), told)
    wrong = sum(bool(cell["outside"]) for cell in cells)
    seconds = time.monotonic() - begun
    print(f"\n{len(cells) - wrong} of {len(cells)} cells are the same, {seconds:.1f} s")
    return 1 if wrong or failed else 0


def _end_of(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it left no word"


if __name__ == "__main__":
    sys.exit(main())
