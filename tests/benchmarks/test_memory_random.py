"""Settings at random: the same again by their seed, traced, and beside what the closed form says today."""

import itertools
import json
import random
from pathlib import Path

from benchmarks import memory_random
from benchmarks.memory_grid_cells import GRID
from core.plan.phases import ERROR

KEPT = Path(__file__).resolve().parents[2] / "docs" / "measured" / "random.jsonl"


def drawn(seed: int, many: int = 200, shapes: tuple[str, ...] = tuple(GRID)) -> list[dict[str, object]]:
    return list(itertools.islice(memory_random.drawn(random.Random(seed), shapes), many))


def test_a_seed_draws_the_same_and_every_kind_is_drawn(tmp_path: Path) -> None:
    rows = drawn(1)
    assert rows == drawn(1) != drawn(2)
    assert {row["optimizer"] for row in rows} == set(memory_random.OPTIMIZERS)
    assert {row["accumulate"] for row in rows} == {1, 2} and {row["host"] for row in rows} == {True, False}
    for row in rows:
        work, setting = memory_random.asked(row, tmp_path)
        assert setting.host <= setting.compiled and work.accumulate(setting.batch) == row["accumulate"]


def test_what_is_drawn_is_traced_and_far_ones_are_named(tmp_path: Path) -> None:
    (row,) = drawn(3, 1, ("tiny",))
    row |= memory_random.traced(row, tmp_path)
    assert abs(memory_random.off(row, tmp_path)) < 0.1
    twice = {"far": row | {"cell": "far", "traced": 2 * row["traced"]}, str(row["cell"]): row}  # type: ignore[operator]
    text = memory_random.table(twice, tmp_path)
    assert text.splitlines()[2].startswith("| 2 |") and "| far |" in text and "-5" in text


def test_the_closed_form_is_as_near_to_the_recorded_ones_as_it_says(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in KEPT.read_text().splitlines()]
    shares = [memory_random.off(row, tmp_path) for row in rows]
    assert len(shares) > 150 and ERROR[0] <= min(shares)
    assert max(shares) <= 0.025 and sorted(map(abs, shares))[len(shares) // 2] < 0.003
