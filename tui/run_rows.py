"""The home screen's rows: one a run, read off the event loop; a damaged run is a row with its reason."""

import time
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError
from core.runs.events import Follow
from core.runs.folder import RunFolder, every
from core.runs.history import History
from core.runs.state import LIVE, status


@dataclass(frozen=True)
class RunRow:
    name: str
    path: Path
    state: str
    """A run's state, or "damaged"."""
    why: str = ""
    model: str = ""
    data: str = ""
    method: str = ""
    step: int = 0
    steps: int | None = None
    loss: float | None = None
    """The training loss, smoothed."""
    held_out: float | None = None
    started: float | None = None
    """Seconds since the epoch."""
    talks: bool = False
    """There is something to chat with: a result or a checkpoint."""

    @property
    def live(self) -> bool:
        return self.state in LIVE


class RunReader:
    """Reads all runs of a folder again and again.

    What has ended and not changed is not read twice, and of a run that lives only what is new.
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[object, RunRow]] = {}
        self._followed: dict[Path, tuple[Follow, History]] = {}

    def rows(self, where: Path) -> list[RunRow]:
        """One row a run, newest first. Blocks for the disk: call it in a thread."""
        try:
            runs = every(where)
        except OSError:
            return []
        rows = []
        for run in runs:
            seen = _signature(run)
            before = self._known.get(run.path)
            if before is None or before[0] != seen or before[1].live:
                self._known[run.path] = before = (seen, self._read(run))
            rows.append(before[1])
        return sorted(rows, key=lambda row: row.started or time.time(), reverse=True)

    def _read(self, run: RunFolder) -> RunRow:
        follow, history = self._followed.pop(run.path, (Follow(run.events_file), History()))
        row = read_row(run, follow, history)
        if row.live:
            self._followed[run.path] = (follow, history)
        return row


def _signature(run: RunFolder) -> tuple[object, ...]:
    """Changes whenever a file that a row is made from does."""
    marks: list[object] = []
    for file in (run.events_file, run.worker_file, run.spec_file, run.adapter, run.model, run.checkpoints):
        try:
            stat = file.stat()
            marks.append((stat.st_size, stat.st_mtime_ns))
        except OSError:
            marks.append(None)
    return tuple(marks)


def read_row(run: RunFolder, follow: Follow, history: History) -> RunRow:
    """One run as it stands now. Never raises: what cannot be read is said in `why`."""
    try:
        history.fold(follow.poll())
        spec = run.spec()
        now = status(run, history)
    except UserError as error:
        return RunRow(run.name, run.path, "damaged", error.line(), started=history.started)
    except OSError as error:
        return RunRow(run.name, run.path, "damaged", f"{error.filename}: {error.strerror}")
    smooth = history.smooth[-1] if history.smooth else None
    evals = [item.loss for item in history.evals if item.loss is not None]
    return RunRow(
        name=run.name,
        path=run.path,
        state=now.state,
        why=now.why,
        model=spec.model.rstrip("/").rsplit("/", 1)[-1],
        data=spec.data.source.rstrip("/").rsplit("/", 1)[-1],
        method=spec.method,
        step=history.step,
        steps=history.steps_total,
        loss=smooth,
        held_out=evals[-1] if evals else None,
        started=history.started,
        talks=bool(run.result() or run.checkpoint_list()),
    )
