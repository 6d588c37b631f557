"""Runs cells on the card, for `benchmarks.memory_grid`: a request a line on stdin, a JSON line a cell.

Each cell is STEPS steps of the optimiser on full rows, and a look at held-out rows (`benchmarks.memory_run`).
Passes are not recorded as CUDA graphs, which a run does only where there is room to spare: but for
`benchmarks.speed_grid`, which asks for more steps and for runs as they are.
"""

from pathlib import Path
from typing import Any

from benchmarks.memory_grid_cells import Cell
from benchmarks.memory_run import Row, Rows, serve, train
from core.models.shape import ModelShape
from core.spec import RunSpec

STEPS = 2
"""Of the optimiser: its state is made in the first, so the second is as full as any."""


def run(request: Row, home: Path, row: Row) -> None:
    """`request`: cell; folder of its shape; beside: whether others may be on the card; steps, if not STEPS,
    and then passes are recorded where that is quicker."""
    import numpy as np
    import torch

    cell = Cell(**request["cell"])
    steps = request.get("steps", STEPS)
    spec = cell.spec(request["folder"], steps)

    def rows(layout: Any, shape: ModelShape) -> tuple[RunSpec, Rows]:
        made = rows_of(cell, shape.vocab, steps)
        return spec, Rows(made, made[: cell.batch])

    lengths = np.array([cell.length] if not cell.packed else pack_of(cell.length))
    train(
        spec,
        home,
        row,
        lengths,
        rows,
        compiled=cell.compiled,
        records="steps" in request,
        waits=cell.compiled and torch.cuda.is_available(),
        alone=not request["beside"],
    )


def pack_of(length: int) -> list[int]:
    """Tokens of the rows that fill a pack: a long one and shorter ones."""
    return [length // 2, length // 4, length - length // 2 - length // 4]


def rows_of(cell: Cell, vocab: int, steps: int) -> list[Any]:
    """Full rows for so many steps, or packs of some rows each; every token is learned."""

    def row(length: int, seed: int) -> dict[str, list[int]]:
        return {"input_ids": [(seed + 7 * n) % vocab for n in range(length)], "learned": [1] * length}

    count = cell.batch * steps
    if cell.packed:
        return [[row(length, place) for length in pack_of(cell.length)] for place in range(count)]
    return [row(cell.length, place) for place in range(count)]


if __name__ == "__main__":
    serve(run)
