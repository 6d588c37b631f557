"""Work in another process: its answer, its progress, its refusals, its death, and ending it."""

import asyncio

import psutil
import pytest

from core.errors import UserError
from core.job import run_job, run_job_async

ECHO = "tests.echo_job"


def test_the_answer_comes_through_whatever_libraries_print() -> None:
    seen: list[tuple[str, int, int | None]] = []
    text = "long and ünïcode " * 100_000
    answer = run_job(ECHO, {"do": "echo", "say": text}, lambda *step: seen.append(step))
    assert answer == {"echo": text, "python": True}
    assert seen == [("read", 1, 2), ("read", 2, None)]


def test_a_refusal_arrives_as_it_was_said() -> None:
    with pytest.raises(UserError) as caught:
        run_job(ECHO, {"do": "refuse"})
    assert caught.value.line() == "no: because. Do that" and caught.value.code == 1


@pytest.mark.parametrize(("do", "why"), [("break", "it broke here"), ("die", "killed")])
def test_a_child_that_breaks_is_one_line_with_its_log(do: str, why: str) -> None:
    with pytest.raises(UserError) as caught:
        run_job(ECHO, {"do": do})
    line = caught.value.line()
    assert why in line and ".log" in line and "\n" not in line and caught.value.code == 1


async def test_cancelling_ends_the_child() -> None:
    pids: list[int] = []
    started = asyncio.Event()

    def progress(stage: str, done: int, total: int | None) -> None:
        if stage.startswith("pid"):
            pids.append(int(stage.split()[1]))
            started.set()

    task = asyncio.create_task(run_job_async(ECHO, {"do": "hang"}, progress))
    await asyncio.wait_for(started.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not psutil.pid_exists(pids[0])


def test_a_time_limit_is_a_line_too() -> None:
    with pytest.raises(UserError, match="took too long"):
        run_job(ECHO, {"do": "hang"}, timeout=1)
