"""The grid of memory: its cells, a run of it without a card, and what its table says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import memory_grid
from benchmarks.memory_grid_cells import FITTED, GRID, cells, read
from benchmarks.random_model import SHAPES
from core.plan.phases import ERROR

ROOT = Path(__file__).resolve().parents[2]
EAGER = ("lora4:2:64:0:eager", "full:2:64:0.5:packed:eager")


def test_the_grid_is_as_wide_as_it_should_be():
    all_of_it = cells()
    assert len(all_of_it) >= 120 and len({str(one) for one in all_of_it}) == len(all_of_it)
    assert set(GRID) <= set(SHAPES) and 0 < len(FITTED) < len(GRID) / 2
    assert {one.method for one in all_of_it} == {"full", "lora", "qlora"}
    assert {one.rank for one in all_of_it} >= {8, 16, 64} and {one.dial for one in all_of_it} == {0, 0.5, 1}
    assert min(one.length for one in all_of_it) == 512 and max(one.length for one in all_of_it) == 8192
    assert min(one.batch for one in all_of_it) == 1 and max(one.batch for one in all_of_it) == 16
    assert {one.packed for one in all_of_it} == {one.compiled for one in all_of_it} == {True, False}
    for one in all_of_it:
        assert read(one.shape, str(one).removeprefix(f"{one.shape}:")) == one
    with pytest.raises(ValueError, match="is not method"):
        read("tiny", "lora:1:64:0:folded")


def test_the_closed_form_is_as_near_to_each_recorded_cell_as_it_says(tmp_path):
    kept = [json.loads(line) for line in (ROOT / "docs/measured/grid.jsonl").read_text().splitlines()]
    peaks = {one["cell"]: one["peak"] for one in kept if one.get("peak")}
    found = {str(one): one for one in cells() if str(one) in peaks}
    assert len(found) == len(peaks) > 120
    for name, one in found.items():
        closed = memory_grid._closed(one, memory_grid.folder_of(one.shape, tmp_path), memory_grid.VRAM)
        assert ERROR[0] <= closed.step.tensors / peaks[name] - 1 <= ERROR[1], name


def run(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.memory_grid", *words, "--out", str(out), "--shape", "tiny"]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)


def test_cells_run_and_go_on_where_they_were(tmp_path):
    done = run(tmp_path, "card", "--setting", *EAGER)
    assert done.returncode == 0, done.stderr
    rows = memory_grid.rows_in(tmp_path / "card.jsonl")
    assert set(rows) == {f"tiny:{one}" for one in EAGER}
    assert all(row["ram"] and row["peak"] is None for row in rows.values()), "there is no card to ask"
    assert rows[f"tiny:{EAGER[1]}"]["holds"]["narrow"] == 2
    again = run(tmp_path, "card", "--setting", *EAGER)
    assert again.returncode == 0 and "tiny" not in again.stdout
    closed = run(tmp_path, "estimate", "--no-trace", "--setting", *EAGER)
    assert closed.returncode == 0, closed.stderr
    assert set(memory_grid.rows_in(tmp_path / "estimates.jsonl")) == set(rows)


def test_the_table_keeps_checked_cells_apart(tmp_path):
    shapes = ("llama-3.1-8b", "mistral-7b")
    some = cells(shapes, ("lora16:8:2048:0", "full:8:1024:0"))
    for place, cell in enumerate(some):
        told = {"peak": 100 * 2**30, "took": 1.0}
        memory_grid.add(tmp_path / "card.jsonl", cell.to_dict() | told)
        off = {"tensors": (100 + place) * 2**30, "evaluation": 2**30}
        memory_grid.add(tmp_path / "estimates.jsonl", cell.to_dict() | {"formula": off, "trace": off})
    with (tmp_path / "card.jsonl").open("a") as file:
        file.write('{"cell": "torn')
    text = memory_grid.table(tmp_path, some)
    checked, fitted = text.split("## Cells")[1:]
    assert "checked only: 2" in checked and "llama" not in checked and "+3.0%" in checked
    assert "fitted to: 2" in fitted and "mistral" not in fitted and "| trace | 2 | 0.5% | +1.0% |" in fitted


def test_a_folder_of_a_shape_is_one_that_can_be_planned(tmp_path):
    from core.models.shape import read_folder

    for name in ("gemma-2-9b", "qwen3-moe-4b", "qwen2.5-14b"):
        folder = memory_grid.folder_of(name, tmp_path)
        shape = read_folder(folder, name)
        assert not shape.has_weights and not shape.estimated
        assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == shape.layers
