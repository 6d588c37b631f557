"""Memory ran out in a run: it goes on by itself, one rung down the ladder, in a program that begins anew.

In the same program it would be fragile. The error's traceback holds the tensors of the pass that failed,
libraries hold others, what the allocator has left is in pieces, and compiled layers know the old sizes. So
the worker becomes a new program in the same process (`os.execv`): all of the card's memory goes back to the
driver, while the pid, its start time and with them the lock and the state of the run stay what they were. No
second worker can slip in, and whoever watches sees one run that goes on.
"""

import atexit
import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import psutil

from core.job import command
from core.models.shape import ModelShape
from core.plan.ladder import Phase, Rung, step_down, total_of
from core.runs.events import Finding
from core.runs.folder import RunFolder
from core.runs.lock import write_whole
from core.spec import Objective, RunSpec, dump_spec
from core.train import checkpoints, failures

MOST = 3
"""Times that a worker goes down by itself; then the user is asked."""
PHASES: dict[str, Phase] = {
    **dict.fromkeys(("", "download", "tokenise", "load"), "load"),
    **dict.fromkeys(("evaluate", "reference"), "evaluation"),
    "save": "save",
}
"""What is happening (`core.train.stages`) -> what of the memory that is; all else is a step."""


@dataclass(frozen=True)
class Settled:
    """What a run turned out to be; the closed form wants to know it."""

    shape: ModelShape
    objective: Objective
    on_gpu: bool
    compiled: bool


def phase_of(stage: str) -> Phase:
    return PHASES.get(stage, "step")


def lower(error: BaseException, spec: RunSpec, settled: Settled, stage: str, *, resumes: bool) -> Rung | None:
    """The rung that makes as much room as was wanted, or as much as there is; None: no rung is left, or it
    was not memory that was short. `resumes`: it would go on from a checkpoint."""
    if not failures.is_out_of_memory(error):
        return None

    def takes(one: RunSpec) -> int:
        return total_of(
            one,
            settled.shape,
            objective=settled.objective,
            on_gpu=settled.on_gpu,
            compiled=settled.compiled,
            ram=psutil.virtual_memory().available,
        )

    return step_down(
        spec,
        objective=settled.objective,
        on_gpu=settled.on_gpu,
        phase=phase_of(stage),
        resumes=resumes,
        takes=takes,
        by=failures.wanted(error),
    )


def record(run: RunFolder, rung: Rung) -> None:
    """From here on the run's spec is the rung's, so that whoever resumes it goes on with that."""
    write_whole(run.spec_file, dump_spec(rung.spec, full=True))


def finding(error: BaseException, run: RunFolder, rung: Rung, step: int | None) -> Finding:
    """What is told of it."""
    newest = checkpoints.newest_whole(run)
    whence = f"from the checkpoint of step {newest[0]}" if newest else "from the start"
    what = f"the GPU ran out of memory {failures.when_of(step)}: it goes on {whence}, and {rung.said}"
    return Finding(
        "warn", "out_of_memory", what, failures.short_of(error), f"next time begin with {rung.keys}"
    )


def become(module: str, run: RunFolder, times: int) -> NoReturn:
    """This process begins anew as the worker of the same run, which has gone down so many times."""
    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()  # what libraries do when a program ends: it does end here
    sys.stdout.flush()
    sys.stderr.flush()
    _close_all_but(run.lock_file)
    words = [*command(module), str(run.path), str(times)]
    os.execv(words[0], words)


def _close_all_but(lock: Path) -> None:
    """Libraries may leave files open for programs that follow, the driver's among them, and with those the
    card's memory. The lock alone is meant to stay."""
    kept = lock.stat()
    for number in _open_files():
        with contextlib.suppress(OSError):
            if not os.path.samestat(os.fstat(number), kept):
                os.set_inheritable(number, False)


def _open_files() -> list[int]:
    with contextlib.suppress(OSError):
        return [int(file.name) for file in Path("/proc/self/fd").iterdir() if int(file.name) > 2]
    return list(range(3, 1024))
