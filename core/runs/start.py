"""Starts a run's worker, detached from the terminal, and refuses a GPU that another run holds."""

import subprocess
from pathlib import Path
from typing import Any

import psutil

from core.errors import UserError
from core.job import command, environment
from core.machine.gpus import Gpu
from core.machine.look import look
from core.runs.control import let_leave
from core.runs.folder import RunFolder, create
from core.runs.lock import worker_facts, worker_lives, write_facts, write_whole
from core.runs.state import status
from core.spec import RunSpec, dump_spec

WORKER = "core.train.worker"


class Busy(UserError):
    """A GPU that another run holds: it can be waited for, or shared with `anyway`."""


def start(spec: RunSpec, where: Path, *, anyway: bool = False) -> RunFolder:
    """A new run of a resolved spec. Busy (unless `anyway`); UserError: nothing can be written."""
    gpus = choose(spec, anyway)
    run = create(where, spec.name or "run")
    try:
        write_whole(run.spec_file, dump_spec(spec.model_copy(update={"name": run.name}), full=True))
        _spawn(run, gpus)
    except OSError as error:
        why = error.strerror or str(error)
        raise UserError(f"run {run.name} cannot start", why, f"make room for {run.path}", code=1) from None
    return run


def resume(run: RunFolder, *, anyway: bool = False) -> None:
    """Continues a run with its own settings from its newest complete checkpoint."""
    now = status(run)
    if now.live:
        todo = f"watch it with: finetui attach {run.name}"
        raise UserError(f"run {run.name} is {now.state}", "only a run without a worker is resumed", todo)
    if now.state == "finished":
        todo = "to train further, start a new run"
        raise UserError(f"run {run.name} is finished", "there is nothing left to do in it", todo)
    let_leave(run)
    gpus = choose(run.spec(), anyway)
    run.stop_file.unlink(missing_ok=True)
    run.save_file.unlink(missing_ok=True)
    _spawn(run, gpus)


def _spawn(run: RunFolder, gpus: list[Gpu]) -> None:
    """The worker lives in a session of its own: the end of this terminal does not reach it."""
    env = environment()
    if gpus:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.uuid or str(gpu.index) for gpu in gpus)
    with run.log.open("ab") as log:
        worker = subprocess.Popen(
            [*command(WORKER), str(run.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=run.path,
            env=env,
            start_new_session=True,
        )
    try:
        write_facts(run, worker.pid, gpus=[gpu.uuid or str(gpu.index) for gpu in gpus])
    except psutil.NoSuchProcess:
        return  # it left at once; its log says why


def choose(spec: RunSpec, anyway: bool) -> list[Gpu]:
    """The GPUs to use: those asked for, else the one with most free memory that no run holds."""
    present = [gpu for gpu in look().gpus if not gpu.error]
    held = _held()
    if spec.gpus == "auto":
        free = [gpu for gpu in present if (gpu.uuid or str(gpu.index)) not in held]
        candidates = free or (present if anyway else [])
        if present and not candidates:
            raise _busy(present[0], held)
        return sorted(candidates, key=lambda gpu: -(gpu.memory_free or 0))[:1]
    chosen = []
    for index in spec.gpus:
        match = [gpu for gpu in present if gpu.index == index]
        if not match:
            have = ", ".join(str(gpu.index) for gpu in present) or "none"
            raise UserError(
                f"GPU {index} is not there", f"this machine has: {have}", "change gpus in the spec"
            )
        if (match[0].uuid or str(index)) in held and not anyway:
            raise _busy(match[0], held)
        chosen += match
    return chosen


def _busy(gpu: Gpu, held: dict[str, str]) -> Busy:
    run = held.get(gpu.uuid or str(gpu.index), "another run")
    todo = f"wait for it, stop it with finetui stop {run}, or start with --anyway"
    return Busy(f"GPU {gpu.index} is busy", f"run {run} trains on it", todo, code=1)


def _held() -> dict[str, str]:
    """GPU (uuid, or index as text) -> the run that holds it, whatever its runs folder."""
    held: dict[str, str] = {}
    for process in psutil.process_iter(["cmdline"]):
        words: Any = process.info["cmdline"] or []
        if WORKER in words and len(words) > words.index(WORKER) + 1:
            run = RunFolder(Path(words[words.index(WORKER) + 1]))
            let_leave(run)  # one that has ended still holds its memory for a moment
            if worker_lives(run):
                held |= {gpu: run.name for gpu in worker_facts(run).get("gpus") or []}
    return held
