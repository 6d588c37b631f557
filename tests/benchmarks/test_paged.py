"""A row says how long a step took beside how much of the card was left."""

from benchmarks import paged
from benchmarks.memory_grid_cells import Cell

CELL = Cell("llama-3.2-3b", "full", 1, paged.LENGTH, 1.0, optimizer="paged_adamw_8bit")
GIB = 2**30


def test_a_row_is_of_the_steps_that_are_counted() -> None:
    slow = [[9.0 * step, 0] for step in range(1, paged.SKIP + 1)]
    steps = slow + [[slow[-1][0] + 0.5 * step, 0] for step in range(1, paged.STEPS - paged.SKIP + 1)]
    row = {"steps": steps, "peak": 12 * GIB, "reserved": 13 * GIB}
    told = paged.line(CELL, 16.0, 8 * GIB, row)
    assert told == "| 16 GiB | paged_adamw_8bit | 0.50 | 12.00 | 13.00 | 8.00 |"


def test_a_row_of_what_went_wrong_has_as_many_columns() -> None:
    told = paged.line(CELL, 0.0, 8 * GIB, {"error": "it broke"})
    assert told.startswith("| all |") and "it broke" in told and told.count("|") == 7
