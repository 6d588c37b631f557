"""The worker's pulse: every two seconds its heartbeat, and what the GPUs and the host are doing."""

import contextlib
import threading
from types import TracebackType

from core.machine.sample import Sampler
from core.runs.events import EventLog, Gpu
from core.runs.lock import WorkerLock

SECONDS = 2.0
FIRST = 0.5


class Pulse:
    """A thread for as long as the `with` lasts; it needs neither torch nor the training to get on."""

    def __init__(self, log: EventLog, lock: WorkerLock):
        self._log, self._lock = log, lock
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave.set()
        self._thread.join(timeout=5)

    def _beat(self) -> None:
        sampler = Sampler()
        self._leave.wait(FIRST)  # rates are counted from here on
        while not self._leave.is_set():
            self._lock.heartbeat()
            with contextlib.suppress(
                Exception
            ):  # a sensor must not stop the heart, a full disk is told elsewhere
                self._log.write(Gpu(**sampler.sample()))
            self._leave.wait(SECONDS)
