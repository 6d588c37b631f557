"""A run's folder: the only thing that its worker and its screens share, and where each file in it lies."""

import os
import re
from pathlib import Path

import platformdirs

from core.errors import UserError, nearest
from core.spec import RunSpec, load_spec

_CHECKPOINT = re.compile(r"checkpoint-(\d+)$")


def home() -> Path:
    """Where finetui keeps what is the user's: $FINETUI_HOME, or the user's data directory."""
    given = os.environ.get("FINETUI_HOME")
    return Path(given).expanduser() if given else Path(platformdirs.user_data_dir("finetui"))


def runs_dir(given: str | Path | None = None) -> Path:
    """The folder of all runs: the one given, or the one under `home`."""
    return (Path(given).expanduser() if given else home() / "runs").absolute()


class RunFolder:
    """The paths of one run; nothing is kept in memory."""

    def __init__(self, path: Path):
        self.path = path
        self.name = path.name
        self.spec_file = path / "run.yaml"
        self.events_file = path / "events.jsonl"
        self.log = path / "worker.log"
        self.worker_file = path / "worker.json"
        self.lock_file = path / "worker.lock"
        self.checkpoints = path / "checkpoints"
        self.adapter = path / "adapter"
        self.model = path / "model"
        self.report_file = path / "report.json"
        self.stop_file = path / "stop"
        self.save_file = path / "save"

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    def spec(self) -> RunSpec:
        """The resolved spec. UserError when the folder is damaged."""
        try:
            return load_spec(self.spec_file)
        except UserError as error:
            todo = f"delete it with: finetui rm {self.name}"
            raise UserError(f"run {self.name} is damaged", error.line(), todo, code=1) from None

    def result(self) -> Path | None:
        """What the run made: the adapter's folder or the model's, None before it is saved."""
        for path, mark in ((self.adapter, "adapter_config.json"), (self.model, "config.json")):
            if (path / mark).exists():
                return path
        return None

    def checkpoint_list(self) -> list[tuple[int, Path]]:
        """Step and folder of every complete checkpoint, oldest first.

        The trainer writes `trainer_state.json` last, so a folder without it was cut off.
        """
        found = []
        for path in self.checkpoints.glob("checkpoint-*"):
            match = _CHECKPOINT.match(path.name)
            if match and (path / "trainer_state.json").exists():
                found.append((int(match.group(1)), path))
        return sorted(found)


def create(where: Path, name: str) -> RunFolder:
    """A new, empty run folder called `name`, or `name-2`, `name-3`, … where that is taken."""
    try:
        where.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            path = where / (name if number == 1 else f"{name}-{number}")
            try:
                path.mkdir()
                return RunFolder(path)
            except FileExistsError:
                continue
    except OSError as error:
        raise UserError(
            f"no run folder can be made in {where}",
            error.strerror or str(error),
            "choose another with --runs DIR",
        ) from None
    raise UserError(f"no free name for {name} in {where}", "ten thousand runs have it", "give another name")


def every(where: Path) -> list[RunFolder]:
    """All runs in `where`, newest first. A folder counts as a run by its run.yaml or its events."""
    if not where.is_dir():
        return []
    runs = [RunFolder(path) for path in where.iterdir() if path.is_dir()]
    runs = [run for run in runs if run.spec_file.exists() or run.events_file.exists()]
    return sorted(runs, key=lambda run: run.path.stat().st_mtime, reverse=True)


def find(where: Path, name: str) -> RunFolder:
    """The run called `name`, or the folder at that path. UserError names the nearest."""
    for path in (where / name, Path(name).expanduser().absolute()):
        run = RunFolder(path)
        if run.spec_file.exists() or run.events_file.exists():
            return run
    names = [run.name for run in every(where)]
    meant = nearest(name, names)
    if meant:
        todo = f"did you mean {meant}?"
    elif names:
        todo = "finetui runs lists them"
    else:
        todo = "there are none yet: start one with finetui train"
    raise UserError(f"no run is called {name}", f"{where} has {len(names)} runs", todo)
