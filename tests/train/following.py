"""Reads what a run tells, and reacts to it while it trains in the main thread."""

import threading
import time
from collections.abc import Callable
from typing import Any

from core.runs.events import Event, Follow, Record
from core.runs.folder import RunFolder


def told(run: RunFolder) -> list[Record]:
    """All that a run has told, in order."""
    return Follow(run.events_file).poll()


def told_of(run: RunFolder, kind: type[Event]) -> list[Any]:
    return [record.event for record in told(run) if isinstance(record.event, kind)]


class Reaction(threading.Thread):
    """Follows a run while it trains in the main thread, and acts on the first event that `wanted` accepts."""

    def __init__(self, run: RunFolder, wanted: Callable[[Event], bool], act: Callable[[], None]):
        super().__init__(daemon=True)
        self.run_folder, self.wanted, self.act = run, wanted, act
        self.acted = False
        self.over = threading.Event()

    def run(self) -> None:
        follow, deadline = Follow(self.run_folder.events_file), time.monotonic() + 120
        while time.monotonic() < deadline and not self.over.is_set():
            if any(self.wanted(record.event) for record in follow.poll()):
                self.act()
                self.acted = True
                return
            self.over.wait(0.005)
