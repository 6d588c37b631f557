"""The panel of the machine that trains: its GPUs, or its CPU and memory where it has none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from core.runs.events import Gpu
from tui.widgets import gpu_panel, host_panel
from tui.widgets.picture import Picture

MOST_PROCESSES = 3
LOW_GPUS = 6
"""Rows that GPUs get on a low screen, where one GPU has three."""


class MachinePanel(Picture):
    """As high as what it has to say, where there is room."""

    def look(self, samples: Sequence[tuple[float, Gpu]], *, low: bool, room: int) -> None:
        """Draws (seconds, sample) in order of time, in at most `room` rows, or few on a `low` screen."""
        gpus = samples[-1][1].gpus if samples else []
        if gpus:
            self.border_title = gpu_panel.title(gpus[0]) if len(gpus) == 1 else f"{len(gpus)} GPUs"
            self.show(partial(gpu_panel.draw, [(when, one.gpus) for when, one in samples]))
        else:
            self.border_title = "CPU and memory: there is no GPU" if samples else "machine"
            self.show(partial(host_panel.draw, [(when, one.host) for when, one in samples]))
        if len(gpus) > 1:
            rows = gpu_panel.rows_for(len(gpus), LOW_GPUS if low else room)
        elif gpus:
            rows = 3 if low else 5 + min(len(gpus[0].get("processes") or [0]), MOST_PROCESSES)
        else:
            rows = 2 if low else 4
        self.styles.height = rows + 2
