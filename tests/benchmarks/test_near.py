"""A row says how the host ran and what the card held."""

from benchmarks import near
from benchmarks.memory_grid_cells import read
from benchmarks.speed_grid import STEPS

CELL = read("llama-3.1-8b", "lora16:8:2048:1")


def test_a_row_of_what_was_held() -> None:
    steps = [[1.0 * step, 10_000 * step] for step in range(1, STEPS[0] + 1)]
    row = {"steps": steps, "peak": 18 * 2**30, "active": 19 * 2**30, "reserved": 21.5 * 2**30}
    told = near.line(CELL, "near", False, row)
    assert told == f"| {CELL} | near | all | 10,000 | 18.00 | 19.00 | 21.50 |"
    assert len(told.split("|")) == len(near.COLUMNS) + 2


def test_a_row_of_what_did_not_fit_has_as_many_columns() -> None:
    told = near.line(CELL, "far ahead", True, {"out_of_memory": "…"})
    assert "out of memory" in told
    assert len(told.split("|")) == len(near.COLUMNS) + 2
