"""A worker without a model: it holds the lock, says a step every few milliseconds, and stops when asked."""

import os
import signal
import sys
import time
from pathlib import Path

from core.runs.events import Checkpoint, End, EventLog, Start, Step
from core.runs.folder import RunFolder
from core.runs.lock import WorkerLock

run = RunFolder(Path(sys.argv[1]))
deaf = (run.path / "deaf").exists()
signal.signal(signal.SIGTERM, signal.SIG_IGN if deaf else lambda *_: run.stop_file.touch())
lock = WorkerLock(run)
lock.acquire()
print("the worker's own words", flush=True)
log = EventLog(run.events_file)
log.write(Start(os.getpid()))
step = 0
while deaf or not run.stop_file.exists():
    step += 1
    log.write(Step(step, 10_000, 0.1, 1 / step, 1e-4, 1.0, step, 1.0, seconds=step * 0.005))
    if run.save_file.exists():
        log.write(Checkpoint(step, "checkpoints/x", "asked"))
        run.save_file.unlink()
    time.sleep(0.005)
log.write(End("stopped", "asked to"))
lock.release()
