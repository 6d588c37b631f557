"""A run's state, derived from its events and whether its worker lives; it is kept nowhere else."""

from dataclasses import dataclass
from typing import Literal

from core.runs.folder import RunFolder
from core.runs.history import History, replay
from core.runs.lock import QUIET_SECONDS, quiet_seconds, worker_facts, worker_lives, worker_process

State = Literal["starting", "running", "stopping", "stopped", "finished", "failed", "died"]
LIVE: tuple[State, ...] = ("starting", "running", "stopping")


@dataclass(frozen=True)
class Status:
    state: State
    why: str = ""
    """One line: the reason of an end, or how a worker was lost."""
    pid: int | None = None
    quiet: float | None = None
    """Seconds without a sign of a worker that should be there, when that is unusually long."""

    @property
    def live(self) -> bool:
        return self.state in LIVE


def status(run: RunFolder, history: History | None = None) -> Status:
    """The state now. `history` spares reading the events again."""
    history = history if history is not None else replay(run)
    if worker_lives(run):
        process = worker_process(run)
        # after a resume the log still ends with the last worker's words, until the new one speaks
        spoken = history.start is not None and (process is None or process.pid == history.start.pid)
        if history.end is None or not spoken:
            return _living(run, history, process.pid if process else None, spoken)
    if history.end is not None:
        return _ended(history)
    return Status("died", _how_lost(run, history))


def _living(run: RunFolder, history: History, pid: int | None, spoken: bool) -> Status:
    quiet = quiet_seconds(run)
    quiet = quiet if quiet is not None and quiet >= QUIET_SECONDS else None
    state: State = "running"
    begun = history.start_time or 0
    if run.stop_file.exists():
        state = "stopping"
    elif not spoken or not history.step_times or history.step_times[-1] < begun:
        state = "starting"
    return Status(state, pid=pid, quiet=quiet)


def _ended(history: History) -> Status:
    assert history.end is not None
    reason = history.end.reason
    if history.end.state == "failed" and history.error is not None:
        reason = ": ".join(filter(None, (history.error.what, history.error.why)))
    states: dict[str, State] = {"finished": "finished", "stopped": "stopped"}
    return Status(states.get(history.end.state, "failed"), reason)


def _how_lost(run: RunFolder, history: History) -> str:
    if not worker_facts(run):
        return "its worker never started"
    if history.start is None:
        return "its worker left before its first word"
    return "its worker is gone without a word: killed, out of memory, or the machine was restarted"


def last_words(run: RunFolder, lines: int = 5) -> list[str]:
    """The last lines that the worker logged."""
    try:
        with run.log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 20_000))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]
