"""What the card holds while tensors leave for the host's memory: `python -m benchmarks.near SHAPE SETTING …`.

Cells of `benchmarks.memory_grid_cells` whose layers wait there, alone on the card: with the host as near to
the card as `core.train.engine.host` keeps it, and as far ahead as it likes; and each once more where torch
may take hardly more than the peak. Prints a Markdown row a run: tokens a second, torch's peak, what was held
with what was on its way, and torch's pool, GiB.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks import memory_grid_card
from benchmarks.memory_grid import folder_of
from benchmarks.memory_grid_cells import Cell, read
from benchmarks.memory_run import answer
from benchmarks.speed_grid import STEPS, measured
from core.train.engine import host

GIB = 2**30
FAR = 2**60
"""Bytes: no limit."""
CAPPED = 1.06, GIB // 2
"""Times the peak, and bytes beside, that torch may take where it is capped."""
COLUMNS = ("cell", "the host", "torch may take", "tokens/s", "torch's peak", "held", "pool")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("shape")
    parser.add_argument("settings", nargs="+", help="such as lora16:8:2048:1")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("benchmarks.near needs a CUDA card: here is none that torch sees", file=sys.stderr)
        return 1
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    with tempfile.TemporaryDirectory() as made:
        for cell in (read(given.shape, text) for text in given.settings):
            folder, peak = folder_of(cell.shape, Path(made)), None
            for share in (1.0, None):
                for name, ahead in (("near", host.AHEAD), ("far ahead", FAR)):
                    row = run(cell, folder, ahead, share if share else allowed(peak))
                    peak = row.get("peak", peak)
                    print(line(cell, name, share is None, row), flush=True)
    return 0


def allowed(peak: int | None) -> float:
    """Of the card, what torch may take where it is capped."""
    times, beside = CAPPED
    return min(1.0, ((peak or FAR) * times + beside) / torch.cuda.get_device_properties(0).total_memory)


def run(cell: Cell, folder: Path, ahead: int, share: float) -> dict[str, Any]:
    """The row of a cell with the host so many bytes ahead and torch's pool of such a share of the card."""
    told = {key: value for key, value in cell.to_dict().items() if key != "cell"}
    request = {"row": {}, "cell": told, "folder": str(folder), "beside": False, "steps": STEPS[0]}
    torch.cuda.set_per_process_memory_fraction(share)
    try:
        with mock.patch.object(host, "AHEAD", ahead):
            return answer(memory_grid_card.run, request)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def line(cell: Cell, name: str, capped: bool, row: dict[str, Any]) -> str:
    said = f"| {cell} | {name} | {'little more than the peak' if capped else 'all'} |"
    if "steps" not in row:
        return f"{said} {row.get('error') or 'out of memory'} | | | |"
    sizes = " | ".join(f"{row[key] / GIB:.2f}" for key in ("peak", "active", "reserved"))
    return f"{said} {measured(row):,.0f} | {sizes} |"


if __name__ == "__main__":
    sys.exit(main())
