"""How the Train screen looks, with a recorded run and a clock that stands still."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from core.runs.events import Checkpoint, End, Eval, Event, Sample, Stage, Start, encode
from core.runs.folder import RunFolder
from tests.tui.test_train_screen import GIB, gpus, opened, step
from tui.app import FinetuiApp

BEGUN = 1_760_000_000.0
"""When the recorded run began; the clock stands still some time after it."""


def frozen(run: RunFolder) -> None:
    """A whole finished run with fixed times, so that a picture of it never changes."""
    events: list[tuple[float, Event]] = [(0, Start(1)), (4, Stage("load", 4 * GIB, 4 * GIB, "bytes"))]
    for n in range(1, 401):
        at = 20 + n * 0.4
        events.append((at, step(n)))
        if n % 5 == 0:
            events.append((at, gpus(utilisation=0.97 if n % 50 else 0.4)))
        if n % 40 == 0:
            events.append((at, Eval(n, 1.3 + 3 * math.exp(-n / 60))))
            events.append((at, Sample(n, "user\nWhat is a rank?\nassistant", "The size of an adapter.")))
    events += [(181, Checkpoint(400, "adapter", "end")), (182, End("finished"))]
    lines = [encode(event, i, BEGUN + at) for i, (at, event) in enumerate(events, 1)]
    run.events_file.write_bytes(b"".join(lines))
    run.log.write_text("the worker's last line\n")
    run.worker_file.unlink()


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_it_looks_as_it_did(
    snap_compare: Callable, finetui_home: Path, runs_dir: Path, run: RunFolder, size: tuple[int, int]
) -> None:
    frozen(run)

    async def show(pilot: Pilot) -> None:
        await opened(pilot, run, clock=lambda: BEGUN + 300)

    app = FinetuiApp(runs_dir=runs_dir, home=finetui_home)
    assert snap_compare(app, terminal_size=size, run_before=show)
