"""Where a run stands while a worker trains it: what it goes on from, and how far it has come."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.runs.events import Step
from core.runs.folder import RunFolder
from core.runs.history import replay
from core.spec import RunSpec
from core.train import checkpoints, ready
from core.train.again import Settled
from core.train.stages import Stages


@dataclass
class Course:
    """Where a run stands: what it goes on from, and how far it has come, should it have to explain itself."""

    versions: dict[str, str]
    resumed: tuple[int, Path] | None
    """Step and folder of the checkpoint to go on from."""
    before: Step | None
    """What was told of that step."""
    spec: RunSpec | None = None
    stages: Stages | None = None
    settled: Settled | None = None
    """Known when the model is loaded."""
    watch: Any = None
    measuring: Any = None
    """Where this is no run but a measurement of one: `core.train.measure.Measuring`."""

    @classmethod
    def begin(cls, run: RunFolder) -> "Course":
        resumed = checkpoints.newest_whole(run)
        steps = replay(run).steps if resumed else []
        before = next((told for told in reversed(steps) if resumed and told.step <= resumed[0]), None)
        return cls(ready.library_versions(), resumed, before)

    @property
    def step(self) -> int | None:
        """The last whole step; None before the first."""
        return self.watch.step if self.watch else None

    @property
    def stage(self) -> str:
        return self.stages.name if self.stages else ""
