"""What can be asked of a run from outside: stop, save, delete."""

import contextlib
import os
import shutil
import signal

import psutil

from core.errors import UserError
from core.runs.folder import RunFolder
from core.runs.lock import worker_lives, worker_process
from core.runs.state import status

GRACE_SECONDS = 30
"""Between the asking signal and the one that cannot be refused."""


def stop(run: RunFolder, *, now: bool = False) -> None:
    """Asks the worker to save and end at its next step. `now` also signals it, and after 30 s kills it.

    With `now` this returns when the worker is gone; without, at once.
    """
    _must_live(run)
    run.stop_file.touch()
    if not now:
        return
    process = worker_process(run)
    if process is None:
        raise UserError(
            f"run {run.name} cannot be signalled",
            "its worker runs on another machine or in another container",
            "it ends at its next step all the same",
            code=1,
        )
    _signal(process, signal.SIGTERM)
    try:
        process.wait(GRACE_SECONDS)
    except psutil.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(5)


def save(run: RunFolder) -> None:
    """Asks the worker for a checkpoint after its next step."""
    _must_live(run)
    run.save_file.touch()


def remove(run: RunFolder) -> None:
    """Deletes a run with all that it made. UserError while it has a worker."""
    let_leave(run)
    if worker_lives(run):
        todo = f"stop it first: finetui stop {run.name}"
        raise UserError(f"run {run.name} is running", "its worker writes into the folder", todo, code=1)
    try:
        shutil.rmtree(run.path)
    except OSError as error:
        raise UserError(f"run {run.name} cannot be deleted", str(error), "check its rights", code=1) from None


def let_leave(run: RunFolder, seconds: float = 20) -> None:
    """Waits for a worker that has said its last word: unloading its libraries takes a moment."""
    process = worker_process(run)
    if process is not None and not status(run).live:
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(seconds)


def _must_live(run: RunFolder) -> None:
    now = status(run)
    if not now.live:
        raise UserError(
            f"run {run.name} is {now.state}", "it has no worker", "finetui runs lists them", code=1
        )


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    """To the whole group: the worker leads its own session, its data loaders are in it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
