"""A run's life by the commands, with a real process: followed, left alone, saved, stopped, deleted."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.job import environment
from core.runs import start
from core.runs.events import EventLog, Start, Step
from core.runs.folder import RunFolder
from core.runs.history import replay
from core.runs.lock import worker_process
from core.runs.state import status
from core.spec import dump_spec, parse_spec
from tests.cli.conftest import Called

Call = Callable[..., Called]
SPEC = parse_spec({"model": "m", "data": "rows.jsonl", "name": "tiny"})


def until(true: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunFolder]:
    """A run with a worker that steps at once and needs no model."""
    monkeypatch.setattr(start, "WORKER", "tests.runs.tiny_worker")
    run = start.start(SPEC, tmp_path)
    until(lambda: status(run).state == "running")
    yield run
    process = worker_process(run)
    if process:
        process.kill()


def test_runs_lists_what_there_is(call: Call, tmp_path: Path, tiny: RunFolder) -> None:
    called = call("runs", "--runs", tmp_path, "--json")
    assert called.code == 0
    (one,) = json.loads(called.out)
    assert {"run", "state", "step", "steps", "loss", "started", "folder"} <= set(one)
    assert (one["run"], one["state"], one["steps"], one["folder"]) == (
        "tiny",
        "running",
        10_000,
        str(tiny.path),
    )
    assert one["step"] > 0
    table = call("runs", "--runs", tmp_path).out
    assert "tiny" in table and "running" in table


def test_no_runs_yet(call: Call, tmp_path: Path) -> None:
    assert json.loads(call("runs", "--runs", tmp_path / "none", "--json").out) == []
    assert "No runs" in call("runs", "--runs", tmp_path / "none").out


def test_save_stop_attach_rm(call: Call, tmp_path: Path, tiny: RunFolder) -> None:
    assert call("save", "tiny", "--runs", tmp_path).code == 0
    until(lambda: replay(tiny).checkpoints)

    refused = call("rm", "tiny", "--yes", "--runs", tmp_path)
    assert refused.code == 1
    assert "is running" in refused.line and "finetui stop tiny" in refused.line

    stopped = call("stop", "tiny", "--now", "--runs", tmp_path, "--json")
    assert stopped.code == 0
    assert json.loads(stopped.out) == {"run": "tiny", "state": "stopped"}

    again = call("stop", "tiny", "--runs", tmp_path)
    assert again.code == 1
    assert "tiny is stopped" in again.line

    told = call("attach", "tiny", "--runs", tmp_path)
    assert told.code == 0
    assert "Stopped at step" in told.out and "finetui resume tiny" in told.out
    assert json.loads(call("attach", "tiny", "--runs", tmp_path, "--json").out)["state"] == "stopped"

    resumed = call("resume", "tiny", "--runs", tmp_path, "--detach", "--json")
    assert json.loads(resumed.out) == {"run": "tiny", "folder": str(tiny.path)}
    until(lambda: status(tiny).state == "running")
    twice = call("resume", "tiny", "--runs", tmp_path)
    assert twice.code == 2
    assert "tiny is running" in twice.line
    asked = call("stop", "tiny", "--runs", tmp_path)
    assert "saves after this step and ends" in asked.out
    until(lambda: status(tiny).state == "stopped")

    unsure = call("rm", "tiny", "--runs", tmp_path)  # nobody can be asked: stdin is no terminal
    assert unsure.code == 2
    assert "--yes" in unsure.line
    assert tiny.path.exists()
    assert call("rm", "tiny", "--yes", "--runs", tmp_path).code == 0
    assert not tiny.path.exists()


def test_a_name_that_is_nearly_right(call: Call, tmp_path: Path, tiny: RunFolder) -> None:
    for command in ("attach", "stop", "save", "resume", "rm", "chat"):
        called = call(command, "tinny", "--runs", tmp_path)
        assert called.code == 2
        assert "Did you mean tiny?" in called.line


def test_ctrl_c_leaves_the_run_alone_and_says_how_to_come_back(tmp_path: Path, tiny: RunFolder) -> None:
    # a test runner that was started in the background has Ctrl-C switched off, and its children too
    call = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    call += "from core.cli import main; sys.exit(main(sys.argv[1:]))"
    watcher = subprocess.Popen(
        [sys.executable, "-c", call, "attach", "tiny", "--runs", str(tmp_path)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watcher.stdout
    assert watcher.stdout.readline().startswith("step")
    watcher.send_signal(signal.SIGINT)
    _, told = watcher.communicate(timeout=20)
    assert watcher.returncode == 130
    assert "Traceback" not in told
    assert f"finetui attach tiny --runs {tmp_path}" in told
    step = replay(tiny).step
    until(lambda: replay(tiny).step > step)


def test_a_killed_worker_is_called_dead_with_its_last_words_and_the_way_on(
    call: Call, tmp_path: Path, tiny: RunFolder
) -> None:
    pid = status(tiny).pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: status(tiny).state == "died")
    told = call("attach", "tiny", "--runs", tmp_path)
    assert told.code == 1
    assert "Died" in told.out
    assert "the worker's own words" in told.out
    assert "finetui resume tiny" in told.out


def test_a_damaged_folder_harms_no_other(call: Call, tmp_path: Path, tiny: RunFolder) -> None:
    broken = RunFolder(tmp_path / "broken")
    broken.path.mkdir()
    broken.spec_file.write_text("model: [")
    broken.events_file.write_bytes(b'\x00\xff not an event\n{"v": 1, "seq"')
    listed = {one["run"]: one for one in json.loads(call("runs", "--runs", tmp_path, "--json").out)}
    assert listed["tiny"]["state"] == "running"
    assert listed["broken"]["state"] == "died"
    for command in ("resume", "chat"):
        called = call(command, "broken", "--runs", tmp_path)
        assert called.code == 1
        assert "run broken is damaged" in called.line
        assert "finetui rm broken" in called.line
    assert call("rm", "broken", "--yes", "--runs", tmp_path).code == 0


def test_following_says_each_change_once(call: Call, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "past")
    run.path.mkdir()
    run.spec_file.write_text(dump_spec(SPEC))
    log = EventLog(run.events_file)
    log.write(Start(1))
    for step in range(1, 51):
        log.write(Step(step, 50, 1.0, 1 / step, 1e-4, 1.0, step * 10, 1234.0, seconds=float(step)))
    log.close()
    told = call("attach", "past", "--runs", tmp_path)
    assert told.out.count("step 50/50") == 1
    assert "loss 0.020" in told.out
    assert "1,234 tokens/s" in told.out
