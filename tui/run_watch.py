"""One run followed by a screen: history, state and log by plain polling, and what comes of asking it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from core.errors import UserError
from core.runs.events import Follow
from core.runs.folder import RunFolder
from core.runs.history import History, catch_up
from core.runs.state import Status, last_words, status
from core.runs.words import Words, words

STATUS_SECONDS = 1.0
"""Between looks at the worker: asking the system for a process costs more than reading what is new."""
BACKLOG = 64 * 1024
"""Bytes of the log shown when it is opened; the whole of it may be gigabytes."""


class RunWatch:
    """What is known of a run. `poll` is for one thread at a time; it never raises for a missing file."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.history = History()
        self.status = Status("starting")
        self.price: float | None = None
        self.damage = ""
        """Why run.yaml cannot be read, in one line, or nothing."""
        self._follow = Follow(run.events_file)
        self._looked = 0.0

    def read_spec(self) -> None:
        try:
            self.price = self.run.spec().price_per_hour
        except UserError as error:
            self.damage = error.line()

    def poll(self) -> bool:
        """Takes in what is new. True when something changed."""
        end = self.history.end
        fresh = catch_up(self.history, self._follow)
        before, now = self.status, time.monotonic()
        if self.history.end is not end or now - self._looked >= STATUS_SECONDS:
            self._looked = now
            self.status = status(self.run, self.history)
        return bool(fresh) or self.status != before

    @property
    def damaged_lines(self) -> int:
        return self._follow.damaged

    def words(self, now: float) -> Words:
        last = last_words(self.run) if self.status.state == "died" else ()
        return words(self.history, self.status, name=self.run.name, now=now, last_words=last)


class LogTail:
    """The end of a growing text file, in whole lines. Bytes are kept until their line is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset: int | None = None
        self._tail = b""

    def poll(self) -> list[str]:
        """The lines that are new since the last call; at first the last 64 KiB of them."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, 2)
                cut = self._offset is None and size > BACKLOG
                start = size - BACKLOG if cut else self._offset or 0
                if start > size:  # the file was replaced by a shorter one
                    start, self._tail = 0, b""
                file.seek(start)
                fresh = file.read()
        except OSError:
            return []
        self._offset = start + len(fresh)
        *lines, self._tail = (self._tail + fresh).split(b"\n")
        if cut:
            lines = lines[1:]
        # a progress bar writes over itself with \r: its last state is what a terminal would show
        return [line.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace") for line in lines]


def asked(what: Callable[[], None], then: str) -> tuple[str, bool]:
    """What to tell after asking for something: `then`, or why not; and whether it went well."""
    try:
        what()
    except UserError as error:
        return error.line(), False
    return then, True
