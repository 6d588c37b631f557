"""Screens in tests: the app with a home of its own, and run folders as a worker would have left them."""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.runs.events import Checkpoint, End, Error, Eval, Event, EventLog, Start, Step, encode
from core.runs.folder import RunFolder, create
from core.runs.lock import write_facts
from core.spec import dump_spec, parse_spec
from tests.tui.steps import MODEL, InspectJob, Rows, box, report
from tui import find_out, row_view
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


@pytest.fixture
def run(runs_dir: Path) -> RunFolder:
    """A run whose worker is this very process, so that it counts as alive."""
    folder = create(runs_dir, "owl")
    spec = {"model": "Qwen/Qwen3-0.6B", "data": {"source": "a.jsonl"}, "name": "owl", "price_per_hour": 2.0}
    folder.spec_file.write_text(dump_spec(parse_spec(spec), full=True))
    write_facts(folder, os.getpid())
    folder.lock_file.touch()
    return folder


@pytest.fixture
def log(run: RunFolder) -> EventLog:
    return EventLog(run.events_file)


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> InspectJob:
    """Answers for the process that reads the data."""
    job = InspectJob()
    monkeypatch.setattr(find_out, "run_job_async", job)
    return job


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "train.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "valid.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def at_data(app: FinetuiApp, job: InspectJob, monkeypatch: pytest.MonkeyPatch) -> FinetuiApp:
    monkeypatch.setattr(row_view, "Viewer", Rows)
    app.journey.set("model", "/models/any")
    return app


@pytest.fixture
def at_method(app: FinetuiApp, job: object) -> FinetuiApp:
    app.journey.set("model", MODEL)
    app.journey.set("data.source", "/data/train.jsonl")
    app.journey.machine = box(24)
    app.journey.report = report()
    return app
