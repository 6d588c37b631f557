"""Screens in tests: the app with a home of its own, and run folders as a worker would have left them."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.runs.events import Checkpoint, End, Error, Eval, Event, Start, Step, encode
from core.runs.folder import RunFolder, create
from core.spec import dump_spec, parse_spec
from tui.app import FinetuiApp

MakeRun = Callable[..., RunFolder]


@pytest.fixture
def runs_dir(finetui_home: Path) -> Path:
    return finetui_home / "runs"


@pytest.fixture
def app(finetui_home: Path, runs_dir: Path) -> FinetuiApp:
    return FinetuiApp(runs_dir=runs_dir, home=finetui_home)


@pytest.fixture
def make_run(runs_dir: Path) -> MakeRun:
    """`make_run("name", "finished", steps=40, total=120, age=3600)`: a run that has no worker."""

    def make(name: str, end: str = "finished", *, steps: int = 40, total: int = 40, age: float = 3600,
             model: str = "Qwen/Qwen3-0.6B", data: str = "support.jsonl", method: str = "lora",
             error: str = "") -> RunFolder:  # fmt: skip
        run = create(runs_dir, name)
        spec: dict[str, Any] = {"model": model, "data": {"source": data}, "method": method, "name": name}
        run.spec_file.write_text(dump_spec(parse_spec(spec)))
        events: list[Event] = [Start(pid=1)]
        for step in range(1, steps + 1):
            loss = 0.8 + 2.4 * math.exp(-step / 15)
            events.append(
                Step(step, total, step / total, loss, 2e-4, 0.9, step * 4096, 5000.0, None, step * 0.8)
            )
            if step % 20 == 0:
                events.append(Eval(step, loss + 0.1))
        if error:
            events.append(Error(error))
        if end == "finished":
            events.append(Checkpoint(steps, str(run.adapter), "end"))
            run.adapter.mkdir()
            (run.adapter / "adapter_config.json").write_text("{}")
        if end != "died":
            events.append(End(end, "all steps done" if end == "finished" else "asked to stop"))
        begun = time.time() - age
        lines = [encode(event, seq, begun + seq * 0.8) for seq, event in enumerate(events, 1)]
        run.events_file.write_bytes(b"".join(lines))
        return run

    return make
