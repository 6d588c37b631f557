"""Memory runs out in a run: it goes on by itself with less, at most three times, and never silently."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from core.job import environment
from core.runs.events import Checkpoint, End, Error, Finding, Start, Step
from core.runs.folder import RunFolder
from core.runs.history import replay
from core.runs.lock import WorkerLock, worker_facts
from core.runs.state import status
from core.train import again, worker
from tests.train.conftest import Make
from tests.train.following import told_of
from tests.train.short_of_memory import runs_out


def work(run: RunFolder) -> tuple[int, int]:
    """What the worker ended with, and how often it began anew, here in one program."""
    times = 0
    while (code := worker.work(run, times)) == worker.AGAIN:
        times += 1
    return code, times


def findings(run: RunFolder) -> list[Finding]:
    return [one for one in told_of(run, Finding) if one.code == "out_of_memory"]


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    made = run.result()
    assert made is not None
    return load_file(next(made.glob("*.safetensors")))


def settings(run: RunFolder) -> dict[str, Any]:
    spec = run.spec()
    return {key: getattr(spec, key) for key in ("recompute", "batch", "accumulate", "steps", "length")}


@pytest.mark.parametrize("method", ["lora", "full"])
def test_it_goes_on_from_the_checkpoint_as_the_changed_run_would_have(make_run: Make, monkeypatch, method):
    """Fifteen steps over 39 rows are three epochs and more: the place in the data is kept in the third."""
    plain = {"method": method, "steps": 15, "learning_rate": 1e-3, "recompute": 1, "save": {"every": 4}}
    run = make_run("short", **plain)
    full = []
    runs_out(
        "training_step",
        lambda tuner: tuner.state.global_step == 10 and not full and (full.append(1) or True),
        monkeypatch.setattr,
    )
    assert work(run) == (0, 1)
    (told,) = findings(run)
    assert told.severity == "warn"
    assert "after step 10: it goes on from the checkpoint of step 8" in told.what
    assert "a pass has 2 rows, and a step 2 passes" in told.what
    assert "12.00 KiB more were wanted" in told.why and "batch: 2 and accumulate: 2" in told.todo
    assert [one.resumed_from for one in told_of(run, Start)] == [None, 8]
    assert settings(run) == {"recompute": 1, "batch": 2, "accumulate": 2, "steps": 15, "length": 128}
    assert [one.step for one in replay(run).steps] == list(range(1, 16))
    assert not told_of(run, Error) and status(run).state == "finished"

    undisturbed = make_run("changed", **{**plain, "batch": 2, "accumulate": 2})
    assert work(undisturbed) == (0, 0)
    assert replay(run).losses == pytest.approx(replay(undisturbed).losses, rel=1e-4)
    assert replay(run).last.tokens == replay(undisturbed).last.tokens
    ours, theirs = weights(run), weights(undisturbed)
    assert all(torch.allclose(ours[name], theirs[name], atol=2e-5) for name in theirs)


def test_without_a_checkpoint_it_begins_anew(make_run: Make, monkeypatch):
    run = make_run("early")
    runs_out("training_step", lambda tuner: run.spec().recompute == 0, monkeypatch.setattr)
    assert work(run) == (0, 1)
    (told,) = findings(run)
    assert "before the first step: it goes on from the start, and the dial of recompute" in told.what
    assert settings(run)["recompute"] > 0 and settings(run)["batch"] == 4
    assert [one.step for one in replay(run).steps] == list(range(1, 13))


def test_after_three_times_it_fails_with_one_line(make_run: Make, monkeypatch):
    run = make_run("never", batch=32)
    runs_out("training_step", lambda tuner: True, monkeypatch.setattr)
    assert work(run) == (1, 3)
    assert len(findings(run)) == 3 and len({one.what for one in findings(run)}) == 3
    (error,) = told_of(run, Error)
    assert error.what == "the GPU ran out of memory before the first step"
    assert "start it anew with" in error.todo and status(run).state == "failed"
    spec = run.spec()
    assert spec.batch * spec.accumulate == 32


def test_below_the_last_rung_it_fails_at_once(make_run: Make, monkeypatch):
    run = make_run("last", recompute=1, batch=1)
    runs_out("training_step", lambda tuner: True, monkeypatch.setattr)
    assert work(run) == (1, 0) and not findings(run)
    (error,) = told_of(run, Error)
    assert error.todo == "start it anew with method: qlora"


def test_in_an_evaluation_only_fewer_rows_help(make_run: Make, monkeypatch):
    run = make_run("evaluating")
    runs_out(
        "compute_loss", lambda tuner: not tuner.model.training and run.spec().batch > 2, monkeypatch.setattr
    )
    assert work(run) == (0, 1)
    assert settings(run)["recompute"] == 0 and settings(run)["batch"] == 2


def test_another_error_is_none_of_memory(make_run: Make, monkeypatch):
    run = make_run("other")
    monkeypatch.setattr("core.train.again.failures.is_out_of_memory", lambda error: False)
    runs_out("training_step", lambda tuner: True, monkeypatch.setattr)
    assert work(run) == (1, 0) and not findings(run)


def test_a_stop_that_was_asked_for_meanwhile_is_heard(make_run: Make, monkeypatch):
    run = make_run("stopping", save={"every": 2})
    runs_out(
        "training_step",
        lambda tuner: (
            run.spec().recompute == 0 and tuner.state.global_step == 3 and not run.stop_file.touch()
        ),
        monkeypatch.setattr,
    )
    assert work(run) == (0, 1)
    assert told_of(run, End)[-1].state == "stopped" and not run.stop_file.exists()


def test_the_worker_becomes_a_new_program_and_stays_who_it_is(make_run: Make):
    """As it really happens: the process is the same, so the lock and the state of the run are."""
    run = make_run("process", steps=8, save={"every": 3})
    with run.log.open("wb") as log:
        worked = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.train.short_of_memory", str(run.path), "5"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**environment(), "CUDA_VISIBLE_DEVICES": ""},
            cwd=Path(run.path),
        )
        assert worked.wait(180) == 0, run.log.read_text()
    first, second = told_of(run, Start)
    assert first.pid == second.pid == worked.pid == worker_facts(run)["pid"]
    assert second.resumed_from == 3 and len(findings(run)) == 1
    assert [one.step for one in replay(run).steps] == list(range(1, 9))
    assert told_of(run, Checkpoint)[-1].reason == "end" and told_of(run, End) == [End("finished")]
    assert told_of(run, Step)


def test_the_lock_is_held_from_one_program_to_the_next(make_run: Make):
    """The file stays open over an exec, and with it the lock."""
    run = make_run("locked")
    code = f"""
import os, subprocess, sys
from pathlib import Path
from core.runs.folder import RunFolder
from core.runs.lock import WorkerLock
from core.train.again import _close_all_but
run = RunFolder(Path({str(run.path)!r}))
lock = WorkerLock(run)
lock.acquire()
stray = os.open("/dev/null", os.O_RDONLY)
os.set_inheritable(stray, True)
lock.hand_on()
_close_all_but(run.lock_file)
ask = "import os, sys; print(os.path.exists('/proc/self/fd/' + sys.argv[1]), flush=True); sys.stdin.read()"
os.execv(sys.executable, [sys.executable, "-c", ask, str(stray)])
"""
    held = subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    assert held.stdin and held.stdout
    assert held.stdout.readline() == "False\n", "what else was open is closed"
    with pytest.raises(Exception, match="has a worker already"):
        WorkerLock(run).acquire()
    held.stdin.close()
    held.wait(20)
    lock = WorkerLock(run)
    lock.acquire()
    lock.release()


def test_what_is_happening_says_what_of_the_memory_it_is():
    assert [again.phase_of(stage) for stage in ("", "load", "compile", "train", "evaluate", "save")] == [
        *("load", "load", "step", "step", "evaluation", "save")
    ]
