"""The plan's memory against what runs really take: `python -m benchmarks.memory MODEL SETTING …`.

A SETTING is method:batch:length:recompute[:optimizer], such as lora:8:2048:1 or full:4:2048:1:adamw_8bit.
Each is one real run of the worker, three steps on rows of which half are full and half shorter. On a GPU the
peak of torch's allocator is compared with the plan's tensors, and what NVML shows with all of it; on
a CPU the worker's memory with all of it. Prints a table; exit status 1 where a plan is wrong by over a tenth.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from core.job import command, environment
from core.machine import look
from core.models.shape import read_shape
from core.plan import memory
from core.plan.cards import card_here
from core.runs.events import Error, Follow, Gpu, Step
from core.runs.folder import RunFolder, create
from core.spec import Method, RunSpec, dump_spec, parse_spec

GIB = 2**30
STEPS = 3
TOLERANCE = 0.10


@dataclass(frozen=True)
class Setting:
    method: Method
    batch: int
    length: int
    recompute: float
    optimizer: str = "adamw"

    @classmethod
    def read(cls, text: str) -> Setting:
        parts = text.split(":")
        if len(parts) not in (4, 5) or parts[0] not in get_args(Method):
            raise argparse.ArgumentTypeError(f"{text} is not method:batch:length:recompute[:optimizer]")
        method: Method = parts[0]  # type: ignore[assignment]
        return cls(method, int(parts[1]), int(parts[2]), float(parts[3]), *parts[4:])


def rows(file: Path, count: int, length: int) -> None:
    """Every other row is longer than `length` (and is cut to it), the others about half as long."""
    words = ("the", "run", "holds", "a", "model", "and", "its", "data", "while", "loss", "falls")
    chosen = random.Random(0)
    with file.open("w", encoding="utf-8") as out:
        for place in range(count):
            size = 3 * length if place % 2 == 0 else length // 3
            out.write(json.dumps({"text": " ".join(chosen.choices(words, k=size))}) + "\n")


def spec_of(model: str, data: Path, setting: Setting, precision: str) -> RunSpec:
    return parse_spec(
        {
            "model": model,
            "data": {"source": str(data), "format": "text", "eval": 0},
            "learn": "all",
            "template": "auto",
            "method": setting.method,
            "batch": setting.batch,
            "accumulate": 1,
            "steps": STEPS,
            "length": setting.length,
            "recompute": setting.recompute,
            "optimizer": setting.optimizer,
            "precision": precision,
            "learning_rate": 1e-5,
            "lora": {"rank": 16, "alpha": 32},
            "save": {"every": 1000},
            "evaluate": {"every": 1000},
            "name": "memory",
        }
    )


def run(spec: RunSpec, where: Path) -> RunFolder:
    folder = create(where, "memory")
    folder.spec_file.write_text(dump_spec(spec, full=True), encoding="utf-8")
    with folder.log.open("ab") as log:
        worker = [*command("core.train.worker"), str(folder.path)]
        subprocess.run(worker, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment())
    return folder


def measured(folder: RunFolder) -> tuple[int | None, int | None]:
    """(peak of torch's allocator, most memory that NVML or the system showed) in bytes."""
    allocated: list[int] = []
    shown: list[int] = []
    for event in (record.event for record in Follow(folder.events_file).poll()):
        if isinstance(event, Error):
            raise SystemExit(f"{folder.name}: {event.what}: {event.why}")
        if isinstance(event, Step) and event.memory:
            allocated.append(event.memory)
        if isinstance(event, Gpu):
            used = [one["memory_used"] for one in event.gpus if one.get("memory_used")]
            shown.append(max(used) if used else event.host["worker_ram"])
    return max(allocated, default=None), max(shown, default=None)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("settings", nargs="+", type=Setting.read)
    given = parser.parse_args()
    model = str(Path(given.model).absolute()) if Path(given.model).is_dir() else given.model
    shape, machine = read_shape(model), look()
    wrong = 0
    print(f"{'setting':<34}{'planned':>9}{'torch':>9}{'error':>8}{'with all':>10}{'shown':>9}{'error':>8}")
    for setting in given.settings:
        with tempfile.TemporaryDirectory() as home:
            data = Path(home) / "rows.jsonl"
            rows(data, STEPS * setting.batch * 2, setting.length)
            spec = spec_of(model, data, setting, "auto")
            card = card_here(spec, machine)
            spec = spec.model_copy(update={"precision": card.precision})
            held = memory.estimate(
                shape,
                setting.method,
                batch=setting.batch,
                length=setting.length,
                optimizer=setting.optimizer,
                recompute=setting.recompute,
                precision=card.precision,
                on_gpu=card.kind == "gpu",
            )
            folder = run(spec, Path(home))
            allocated, shown = measured(folder)
        tensors = held.tensors
        errors = [tensors / allocated - 1 if allocated else None, held.total / shown - 1 if shown else None]
        decisive = errors[0] if errors[0] is not None else errors[1]
        wrong += decisive is None or abs(decisive) > TOLERANCE
        name = f"{setting.method}:{setting.batch}:{setting.length}:{setting.recompute:g}:{setting.optimizer}"
        print(
            f"{name:<34}{tensors / GIB:>9.2f}{_gib(allocated)}{_share(errors[0])}"
            f"{held.total / GIB:>10.2f}{_gib(shown)}{_share(errors[1])}",
            flush=True,
        )
    return 1 if wrong else 0


def _gib(value: int | None) -> str:
    return f"{value / GIB:>9.2f}" if value else f"{'?':>9}"


def _share(value: float | None) -> str:
    return f"{value:>+8.1%}" if value is not None else f"{'?':>8}"


if __name__ == "__main__":
    sys.exit(main())
