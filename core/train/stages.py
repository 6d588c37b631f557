"""What the worker is doing now, told as `stage` events: often enough to watch, rarely enough to keep."""

import time

from core.runs.events import Log, Stage
from core.train.asked import Asked

SECONDS_BETWEEN = 0.25


class Stages:
    """Call it with a stage's name and how far it is. Raises Stopped when the run was asked to end."""

    def __init__(self, log: Log, asked: Asked):
        self._log, self._asked = log, asked
        self.name = ""
        """What is happening now."""
        self._told = 0.0

    def __call__(
        self, name: str, done: float = 0, total: float | None = None, unit: str = "", note: str = ""
    ) -> None:
        if self._asked.may_break_off:
            self._asked.check()
        now = time.monotonic()
        last = total is not None and done >= total
        if name == self.name and not last and now - self._told < SECONDS_BETWEEN:
            return
        self.name, self._told = name, now
        self._log.write(Stage(name, done, total, unit, note))
