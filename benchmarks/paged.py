"""Full tuning with paged moments on a card that is full: `python -m benchmarks.paged SHAPE GIB …`.

Moments of `paged_adamw_8bit` are CUDA's managed memory, which torch's peak and a cap on its pool leave out:
whether they find room beside it shows only where the card is really full. So another process takes all of
the card but GIB, and STEPS steps are made with what is left, of one row of LENGTH tokens with everything
computed again. Prints a Markdown row a size: seconds of the median step, torch's peak, its pool, and what the
moments are in all, GiB. A size of 0 is the whole card.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.memory_grid import folder_of
from benchmarks.memory_grid_cells import Cell
from core.job import command, environment
from core.models.shape import read_folder
from core.plan import standing

GIB = 2**30
STEPS, SKIP = 7, 3
LENGTH = 2048
HOLDS = """
import sys, torch
torch.empty(1, device="cuda")
free, left = torch.cuda.mem_get_info()[0], int(sys.argv[1])
held = torch.empty(max(0, free - left), dtype=torch.uint8, device="cuda") if left else None
torch.cuda.synchronize()
print("held", flush=True)
sys.stdin.read()
"""
"""Takes all of the card but so many bytes, until its stdin is closed."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("shape")
    parser.add_argument("gib", nargs="+", type=float)
    parser.add_argument("--optimizer", default="paged_adamw_8bit")
    given = parser.parse_args()
    columns = ("card", "optimiser", "s a step", "torch's peak", "pool", "moments")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|", flush=True)
    with tempfile.TemporaryDirectory() as made:
        folder = folder_of(given.shape, Path(made))
        shape = read_folder(folder, str(folder))
        kind = given.optimizer.removeprefix("paged_")
        moments = standing.moments(shape, shape.parameters, 2, kind, True, 0, None)
        cell = Cell(given.shape, "full", 1, LENGTH, 1.0, optimizer=given.optimizer)
        for size in given.gib:
            print(line(cell, size, moments, run(cell, folder, int(size * GIB))), flush=True)
    return 0


def run(cell: Cell, folder: Path, left: int) -> dict[str, Any]:
    """The row of a cell where another process leaves so many bytes of the card; 0: all."""
    told = {key: value for key, value in cell.to_dict().items() if key != "cell"}
    request = {"row": {}, "cell": told, "folder": str(folder), "beside": True, "steps": STEPS}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    holder: Any = subprocess.Popen([sys.executable, "-c", HOLDS, str(left)], **pipes)  # type: ignore[call-overload]
    try:
        if holder.stdout.readline() != "held\n":
            return {"error": "the rest of the card could not be taken"}
        words = command("benchmarks.memory_grid_card")
        done = subprocess.run(
            words, input=json.dumps(request) + "\n", stdout=subprocess.PIPE, text=True, env=environment()
        )
        rows = done.stdout.splitlines()
        return json.loads(rows[0]) if rows else {"error": "it broke off"}
    finally:
        holder.stdin.close()
        holder.wait()


def line(cell: Cell, size: float, moments: int, row: dict[str, Any]) -> str:
    said = f"| {f'{size:g} GiB' if size else 'all'} | {cell.optimizer} |"
    if "steps" not in row:
        return f"{said} {row.get('error') or row.get('out_of_memory')} | | | |"
    times = [0.0, *(second for second, _ in row["steps"])]
    each = [after - before for before, after in pairwise(times)][SKIP:]
    sizes = " | ".join(f"{one / GIB:.2f}" for one in (row["peak"], row["reserved"], moments))
    return f"{said} {statistics.median(each):.2f} | {sizes} |"


if __name__ == "__main__":
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    sys.exit(main())
