"""The table of speeds: the steps at the beginning are left out, and what was checked stands apart."""

import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import speed_grid
from benchmarks.memory_grid_cells import cells
from core.plan.cards import card_named

SHAPES, SETTINGS = ("mistral-7b", "llama-3.1-8b"), ("lora16:8:2048:0", "lora16:8:2048:1")


def row(cell: object, rate: float, last: float = 1.0) -> dict[str, Any]:
    """Steps of 16,384 tokens; those that are not counted take ten times as long, the `last` so many times."""
    seconds, steps = 0.0, []
    steps_run = speed_grid.STEPS[0]
    for step in range(steps_run):
        times = 10 if step < speed_grid.SKIP else last if step == steps_run - 1 else 1
        seconds += 16_384 / rate * times
        steps.append([seconds, 16_384 * (step + 1)])
    return {"cell": str(cell), "steps": steps, "recorded": False, "took": 20.0}


def test_each_cell_stands_beside_what_is_planned_for_it(tmp_path: Path) -> None:
    wanted, card = cells(SHAPES, SETTINGS), card_named("H200", ram=speed_grid.RAM)
    said = {str(one): speed_grid.planned(one, tmp_path, card) for one in wanted}
    off = {True: 1.25, False: 0.8}
    rows = {
        str(one): row(one, said[str(one)] / off[one.shape not in speed_grid.CHECKED]) for one in wanted[:3]
    }
    text = speed_grid.table(wanted, rows, tmp_path, card)
    assert "| checked only | 2 | 20.0% | -20.0% | +0.0% |" in text
    assert "| of shapes that the form was fitted to | 1 | 25.0% | 0.0% | +25.0% |" in text
    assert str(wanted[3]) not in text, "it was not run"


def test_a_row_says_how_quick_it_was_or_what_went_wrong() -> None:
    assert "9,000 tokens/s" in speed_grid.line(row("a", 9000.0))
    assert speed_grid.line({"cell": "a", "error": "it broke", "took": 1.0}).endswith("it broke")


def test_a_row_says_by_how_much_its_steps_differ(tmp_path: Path) -> None:
    wanted, card = cells(SHAPES[:1], SETTINGS), card_named("H200", ram=speed_grid.RAM)
    said = {str(one): speed_grid.planned(one, tmp_path, card) for one in wanted}
    rows = {str(one): row(one, said[str(one)], last) for one, last in zip(wanted, (1.05, 1.3), strict=True)}
    text = speed_grid.table(wanted, rows, tmp_path, card)
    first, second = (f"| {one} | {said[str(one)]:,.0f} |" for one in wanted)
    assert f"{first} – | – |" in text and f"{second} 30% | – |" in text
    assert "| checked only | 2 | 0.0% |" in text and "| all | 2 |" in text


def test_it_is_compared_with_a_plan_for_a_box_of_such_cores(tmp_path: Path) -> None:
    wanted, card = cells(SHAPES[:1], ("lora16:2:1024:0:eager",)), card_named("H200", ram=speed_grid.RAM)
    said = speed_grid.planned(wanted[0], tmp_path, card)
    for core_ms, error in ((2.2, -0.45), (1.1, 0.0)):
        rows = {str(wanted[0]): row(wanted[0], said) | {"core_ms": core_ms}}
        text = speed_grid.table(wanted, rows, tmp_path, card).splitlines()[-1]
        cells_of = [one.strip() for one in text.strip("|").split("|")]
        assert cells_of[3] == f"{core_ms:.2f}"
        assert float(cells_of[5].rstrip("%")) / 100 == pytest.approx(error, abs=0.05)


def test_a_cell_is_run_for_some_seconds_and_some_steps(tmp_path: Path) -> None:
    (cell,) = cells(SHAPES[:1], SETTINGS[:1])
    least, most = speed_grid.STEPS
    a_step = cell.batch * cell.length
    assert (
        speed_grid.steps_of(cell, a_step / 100) == least and speed_grid.steps_of(cell, 100 * a_step) == most
    )
    assert speed_grid.steps_of(cell, 2 * a_step) == 2 * speed_grid.SECONDS


def test_rows_are_run_again_where_that_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, card = cells(("qwen2.5-0.5b",), SETTINGS), card_named("H200", ram=speed_grid.RAM)
    file, asked = tmp_path / "speed.jsonl", []
    file.write_text(json.dumps(row(wanted[0], 9000.0)) + "\n")
    monkeypatch.setattr(speed_grid, "side_by_side", lambda jobs, *_, **__: asked.append(jobs) or [])
    for again in (False, True):
        speed_grid.on_card(wanted, file, tmp_path, 0.0, card, again)
    assert [[job.key for job in jobs] for jobs in asked] == [[str(wanted[1])], [str(one) for one in wanted]]
    assert all(job.request["steps"] >= speed_grid.STEPS[0] for job in asked[1])


def test_the_recorded_cells_are_of_the_grid() -> None:
    kept = Path(__file__).resolve().parents[2] / "docs" / "measured" / "speed_grid.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    counted = [one for one in rows if "cell" in one]
    assert counted and all(map(speed_grid.went, counted))
    assert all(len(one["steps"]) > speed_grid.SKIP + 1 for one in counted)


def test_what_is_planned_is_near_what_was_measured(tmp_path: Path) -> None:
    kept = Path(__file__).resolve().parents[2] / "docs" / "measured" / "speed_grid.jsonl"
    rows = {one["cell"]: one for one in map(json.loads, kept.read_text().splitlines()) if "cell" in one}
    card, off = card_named("H200", ram=speed_grid.RAM), []
    for one in cells(settings=speed_grid.SETTINGS):
        found = rows[str(one)]
        on = replace(card, core_ms=found.get("core_ms"))
        off.append(abs(speed_grid.planned(one, tmp_path, on) / speed_grid.measured(found) - 1))
    median, worst = speed_grid.GOALS
    assert len(off) == 45 and statistics.median(off) <= median and max(off) <= worst
