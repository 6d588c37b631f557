"""What others ask of a running worker: the files `stop` and `save`, and the signals that end it."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

from core.runs.folder import RunFolder


class Stopped(Exception):
    """The run was asked to end before there was anything to save."""


class Asked:
    """Looked at between stages (`check`) and at each step (`stop`, `save`)."""

    def __init__(self, run: RunFolder):
        self._run = run
        self._signalled = False
        self.may_break_off = True
        """Until the first step a signal ends the work at once; after it, the step ends first and is saved."""

    @property
    def stop(self) -> bool:
        return self._signalled or self._run.stop_file.exists()

    @property
    def save(self) -> bool:
        return self._run.save_file.exists()

    def check(self) -> None:
        """Raises Stopped when the end was asked for."""
        if self.stop:
            raise Stopped

    def saved(self) -> None:
        self._run.save_file.unlink(missing_ok=True)

    def done(self) -> None:
        """The worker leaves: nothing that was asked of it is asked of the next one."""
        with contextlib.suppress(OSError):
            self._run.stop_file.unlink(missing_ok=True)
            self._run.save_file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """SIGTERM (a host that takes its machine back) and SIGINT ask for the end; SIGHUP is for screens."""
        wanted: dict[int, Any] = {
            signal.SIGTERM: self._on_signal,
            signal.SIGINT: self._on_signal,
            signal.SIGHUP: signal.SIG_IGN,
        }
        before = {number: signal.signal(number, answer) for number, answer in wanted.items()}
        try:
            yield
        finally:
            for number, answer in before.items():
                signal.signal(number, answer)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True
        if self.may_break_off:
            self.may_break_off = False  # once: what follows the exception must not be broken off as well
            raise Stopped
