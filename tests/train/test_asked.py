"""A run hears what is asked of it: stop, save, the host's signal; and goes on where it was."""

import os
import signal
import subprocess
import time

import psutil
import pytest

from core.job import command, environment
from core.runs import control
from core.runs.events import Checkpoint, End, Event, Stage, Start, Step
from core.runs.folder import RunFolder
from core.runs.history import replay
from core.runs.lock import WorkerLock
from core.runs.state import status
from core.train import worker
from core.train.checkpoints import is_whole
from tests.train.conftest import Make
from tests.train.following import told, told_of

LONG = {"steps": 100, "save": {"every": 1000}, "evaluate": {"every": 1000}, "learning_rate": 0.001}


def third_step(event: Event) -> bool:
    return isinstance(event, Step) and event.step >= 3


def test_stop_saves_and_ends_and_resume_finishes(make_run: Make, when) -> None:
    run = make_run("stopped", **LONG)
    when(run, third_step, lambda: control.stop(run))
    assert worker.work(run) == 0
    last = told_of(run, Step)[-1].step
    assert 3 <= last < 100
    assert status(run).state == "stopped"
    kept = [(one.step, one.reason) for one in told_of(run, Checkpoint)]
    assert kept == [(last, "stop"), (last, "stop")], "the checkpoint to go on from, and the adapter to use"
    assert run.result() == run.adapter and is_whole(run.checkpoint_list()[-1][1])
    assert not run.stop_file.exists()

    assert worker.work(run) == 0
    assert told_of(run, Start)[-1].resumed_from == last
    history = replay(run)
    assert [step.step for step in history.steps] == list(range(1, 101))
    tokens = [step.tokens for step in history.steps]
    assert tokens == sorted(tokens), "tokens and seconds go on from where the first worker left"
    assert history.steps[last].seconds > history.steps[last - 1].seconds
    assert status(run).state == "finished"


def test_save_makes_a_checkpoint_and_goes_on(make_run: Make, when) -> None:
    run = make_run("saved", **{**LONG, "steps": 60})
    when(run, third_step, lambda: control.save(run))
    assert worker.work(run) == 0
    (asked,) = [one for one in told_of(run, Checkpoint) if one.reason == "asked"]
    assert 3 <= asked.step < 60
    assert not run.save_file.exists()
    assert status(run).state == "finished"


def test_the_last_step_is_saved_as_the_result_alone(make_run: Make) -> None:
    run = make_run("last", steps=1)
    run.save_file.touch()
    assert worker.work(run) == 0
    assert [one.reason for one in told_of(run, Checkpoint)] == ["end"]
    assert not run.checkpoint_list() and not run.save_file.exists()


def test_sigterm_saves_and_ends(make_run: Make, when) -> None:
    run = make_run("signalled", **LONG)
    when(run, third_step, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert worker.work(run) == 0
    assert status(run).state == "stopped"
    assert told_of(run, Checkpoint)[0].reason == "stop"
    assert run.checkpoint_list()


def test_stop_before_the_first_step_saves_nothing(make_run: Make) -> None:
    run = make_run("early")
    run.stop_file.touch()
    assert worker.work(run) == 0
    assert told_of(run, End) == [
        End("stopped", "before the first step, so there was nothing to save")
    ] and not told_of(run, Step)
    assert not run.checkpoint_list() and run.result() is None


def test_a_killed_worker_is_resumed_as_if_it_had_lived(make_run: Make) -> None:
    settings = {"steps": 48, "save": {"every": 4}, "evaluate": {"every": 1000}, "lora": {"dropout": 0.1}}
    whole, killed = make_run("whole", **settings), make_run("killed", **settings)
    with killed.log.open("ab") as log:
        process = subprocess.Popen(
            [*command("core.train.worker"), str(killed.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=killed.path,
            env=environment() | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
    assert worker.work(whole) == 0
    _until(lambda: len(told_of(killed, Checkpoint)) >= 2, process, killed)
    process.kill()
    process.wait(10)
    assert status(killed).state == "died"
    newest = killed.checkpoint_list()[-1][0]

    assert worker.work(killed) == 0
    assert told_of(killed, Start)[-1].resumed_from == newest
    once, again = replay(whole), replay(killed)
    assert [step.step for step in again.steps] == [step.step for step in once.steps]
    # the same rows in the same order, the same dropout, the same moments of the optimiser
    assert again.losses == pytest.approx(once.losses, rel=1e-3)
    assert status(killed).state == "finished"


def _until(ready, process: subprocess.Popen[bytes], run: RunFolder) -> None:
    deadline = time.monotonic() + 90
    while not ready():
        assert time.monotonic() < deadline and process.poll() is None, run.log.read_text()[-2000:]
        with_pause = psutil.Process(process.pid)
        with_pause.cpu_percent(interval=0.02)


def test_two_workers_may_not_hold_one_run(make_run: Make, capsys) -> None:
    run = make_run("held")
    # a lock of this process would be given to it again: another one must hold it
    code = (
        "import sys; from pathlib import Path; from core.runs.folder import RunFolder; "
        "from core.runs.lock import WorkerLock; WorkerLock(RunFolder(Path(sys.argv[1]))).acquire(); "
        "print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [*command("core.train.worker")[:-2], "-c", code, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        assert worker.work(run) == 1
        assert "has a worker already" in capsys.readouterr().err
        assert not run.events_file.exists()
    finally:
        holder.communicate()
    WorkerLock(run).acquire()


def test_the_gpus_and_the_host_are_sampled(make_run: Make) -> None:
    from core.runs.events import Gpu

    run = make_run("sampled", steps=2)
    assert worker.work(run) == 0
    (first, *_) = told_of(run, Gpu)
    assert first.host["ram_total"] > 0 and first.host["worker_ram"] > 0
    assert isinstance(told(run)[-1].event, End), "nothing is told after the end"
    assert any(isinstance(event, Stage) for event in (record.event for record in told(run)))
