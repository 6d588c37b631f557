"""A run's life, with a real process: started detached, followed, saved, stopped, killed, resumed, deleted."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.errors import UserError
from core.runs import control, start
from core.runs.events import Checkpoint, End, EventLog, Start, Step
from core.runs.folder import RunFolder, create, every, find
from core.runs.history import History, replay
from core.runs.lock import WorkerLock, worker_process, write_facts
from core.runs.state import last_words, status
from core.spec import parse_spec

SPEC = parse_spec({"model": "m", "data": "x.jsonl", "name": "tiny"})


def until(true: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.01)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], RunFolder]]:
    monkeypatch.setattr(start, "WORKER", "tests.runs.tiny_worker")
    begun: list[RunFolder] = []

    def begin() -> RunFolder:
        begun.append(start.start(SPEC, tmp_path))
        return begun[-1]

    yield begin
    for run in begun:
        process = worker_process(run)
        if process:
            process.kill()


def running(run: RunFolder) -> bool:
    return status(run).state == "running"


def test_it_starts_in_a_session_of_its_own_and_stops_when_asked(tiny: Callable[[], RunFolder]) -> None:
    run = tiny()
    assert status(run).state in ("starting", "running")
    until(lambda: running(run))
    pid = status(run).pid
    assert pid and os.getsid(pid) == pid != os.getsid(0)
    assert run.spec().model_dump(exclude={"name"}) == SPEC.model_dump(exclude={"name"})
    control.save(run)
    until(lambda: replay(run).checkpoints)
    with pytest.raises(UserError, match="is running"):
        control.remove(run)
    control.stop(run)
    until(lambda: status(run).state == "stopped")
    with pytest.raises(UserError, match="is stopped"):
        control.stop(run)
    control.remove(run)
    assert not run.path.exists()


def test_a_worker_killed_in_the_middle_is_called_dead_and_can_be_resumed(
    tiny: Callable[[], RunFolder],
) -> None:
    run = tiny()
    until(lambda: running(run))
    os.kill(status(run).pid or 0, signal.SIGKILL)
    until(lambda: status(run).state == "died")
    assert "without a word" in status(run).why
    assert last_words(run)[-1] == "the worker's own words"
    start.resume(run)
    until(lambda: running(run))
    with pytest.raises(UserError, match="only a run without a worker"):
        start.resume(run)
    control.stop(run, now=True)
    assert status(run).state == "stopped"


def test_a_worker_that_hears_nothing_is_killed_in_the_end(
    tiny: Callable[[], RunFolder], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(control, "GRACE_SECONDS", 0.3)
    real = start._spawn

    def deaf(run: RunFolder, gpus: list) -> None:  # type: ignore[type-arg]
        (run.path / "deaf").touch()
        real(run, gpus)

    monkeypatch.setattr(start, "_spawn", deaf)
    run = tiny()
    until(lambda: running(run))
    control.stop(run, now=True)
    assert worker_process(run) is None and status(run).state == "died"


def test_two_workers_may_not_hold_one_run(tiny: Callable[[], RunFolder]) -> None:
    run = tiny()
    until(lambda: running(run))
    with pytest.raises(UserError, match="has a worker already"):
        WorkerLock(run).acquire()


def test_a_pid_that_is_another_programs_by_now_is_no_worker(tmp_path: Path) -> None:
    run = create(tmp_path, "old")
    write_facts(run, os.getpid())
    assert worker_process(run) is not None
    text = run.worker_file.read_text()
    run.worker_file.write_text(text.replace('"created": ', '"created": 1'))
    assert worker_process(run) is None
    EventLog(run.events_file).write(Start(1))
    assert status(run).state == "died"


def test_a_busy_gpu_is_refused_by_the_run_that_holds_it(
    tiny: Callable[[], RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.machine.gpus import Gpu

    class Box:
        gpus = (
            Gpu(index=0, uuid="GPU-a", name="A", memory_total=8, memory_free=8, memory_used=0,
                capability=(9, 0), bf16=True, processes=(), error=None),
        )  # fmt: skip

    monkeypatch.setattr(start, "look", Box)
    first = tiny()
    until(lambda: running(first))
    with pytest.raises(UserError, match="GPU 0 is busy: run tiny trains on it") as caught:
        tiny()
    assert caught.value.code == 1 and "--anyway" in caught.value.line()
    with pytest.raises(UserError, match="GPU 3 is not there"):
        start.start(SPEC.model_copy(update={"gpus": [3]}), first.path.parent)
    second = start.start(SPEC, first.path.parent, anyway=True)
    until(lambda: running(second))
    control.stop(second, now=True)
    assert len(every(first.path.parent)) == 2


def test_names_are_made_unique_and_misspelt_ones_answered(tmp_path: Path) -> None:
    for name in ("llama", "llama-2", "llama-3"):
        run = create(tmp_path, "llama")
        assert run.name == name
        EventLog(run.events_file).write(Start(1))
    with pytest.raises(UserError, match="Did you mean llama-3"):
        find(tmp_path, "lama-3")
    assert find(tmp_path, str(tmp_path / "llama")).name == "llama"


def test_a_damaged_folder_says_so_in_a_line(tmp_path: Path) -> None:
    run = create(tmp_path, "bad")
    run.spec_file.write_text("model: [")
    with pytest.raises(UserError, match="run bad is damaged"):
        run.spec()
    run.events_file.write_bytes(b"\x00\xff{}\n[1]\n")
    run.worker_file.write_text("[]")
    assert status(run).state == "died" and replay(run).folded == 0


def step(number: int, loss: float | None = 1.0) -> Step:
    return Step(number, 10, 0.1, loss, 1e-4, 1.0, number, 1.0, seconds=number * 2.0)


def test_what_is_done_again_after_a_resume_is_not_told_twice(tmp_path: Path) -> None:
    run = create(tmp_path, "r")
    log = EventLog(run.events_file)
    for event in (
        Start(1),
        *[step(n) for n in range(1, 8)],
        Checkpoint(4, "c", "schedule"),
        End("failed", "x"),
        Start(2, resumed_from=4),
        step(5, 0.5),
    ):
        log.write(event)
    history = replay(run)
    assert [item.step for item in history.steps] == [1, 2, 3, 4, 5]
    assert history.losses == [1, 1, 1, 1, 0.5] and history.end is None
    assert len(history.smooth) == len(history.step_times) == 5
    assert history.seconds_left == pytest.approx(10)


def test_smoothing_survives_steps_without_a_loss(tmp_path: Path) -> None:
    history = History()
    for number, loss in enumerate([None, 4.0, None, 2.0], 1):
        history._fold_step(step(number, loss), number)
    assert history.smooth[0] is None and history.smooth[1] == history.smooth[2] == 4.0
    assert 2.0 < (history.smooth[3] or 0) < 4.0
