"""A run without what `finetui train` puts around it: `python -m benchmarks.bare RUN_FOLDER`.

The same spec, rows, model, engine and trainer as in the worker, but its events go nowhere, nothing is watched
between steps, and no thread samples the card. The steps are noted in memory and told when all is over.
"""

import sys
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from core.runs.events import Event, EventLog, Step
from core.runs.folder import RunFolder
from core.train import watch, worker
from core.train.asked import Asked

STEPS: list[Step] = []


class Nowhere:
    """An event log that keeps nothing."""

    def write(self, event: Event) -> None:
        pass


class Clock(TrainerCallback):
    """Stands where the worker has its watch, and has what the worker reads of it."""

    def __init__(self, *_: Any, **__: Any):
        self.tokens, self.seconds, self.peak = 0, 0.0, None
        self.step = self.first_step_seconds = None
        self.losses: list[float] = []
        self.held_out: dict[int, float] = {}
        self.preferences: dict[int, dict[str, float]] = {}
        self._begun = 0.0

    def evaluating(self, done: int, total: int) -> bool:
        return True

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._begun = time.monotonic()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        if logs and "loss" in logs:
            seconds, tokens = time.monotonic() - self._begun, int(logs["num_tokens"])
            step = int(logs.get("step", state.global_step))
            STEPS.append(Step(step, state.max_steps, 0.0, None, 0.0, None, tokens, None, None, seconds))


def main() -> None:
    run = RunFolder(Path(sys.argv[1]).absolute())
    watch.Watch = Clock  # type: ignore[misc,assignment]
    worker.train(run, Nowhere(), Asked(run), worker.Course.begin(run))  # type: ignore[arg-type]
    log = EventLog(run.events_file)
    for step in STEPS:
        log.write(step)
    log.close()


if __name__ == "__main__":
    main()
