"""The benchmark of training: what a cell means, what becomes of one that fails, and one that runs."""

import argparse
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import train
from benchmarks.train_cells import PRESETS, Cell, count_of, padded, plain_of, read, wanted, write
from benchmarks.train_table import Results, load
from core.data.tokenizer import load_tokenizer
from core.errors import UserError

DEMO = Path(__file__).resolve().parents[2] / "core" / "demo" / "model"
HEAD = {"model": "m", "card": "c", "rate": 8e14, "product": "p", "versions": {"trl": "1"}}
HEAD |= {"torch": "2", "cuda": None, "driver": None}


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("lora:8:2048:0.5", Cell("lora", 8, 2048, 0.5)),
        ("full:4:512:1:adamw_8bit", Cell("full", 4, 512, 1.0, "adamw_8bit")),
        ("qlora:2:64:auto:compile=false:packed", Cell("qlora", 2, 64, "auto", compile=False, rows="packed")),
        ("lora:1:64:0:adamw:compile=true:alpaca", Cell("lora", 1, 64, 0.0, "adamw", True, "alpaca")),
    ],
)
def test_a_cell_is_read_and_said_again(text: str, cell: Cell) -> None:
    assert read(text) == cell
    assert str(cell) == text


@pytest.mark.parametrize(
    "text", ["lora", "all:8:64:1", "lora:x:64:1", "lora:8:64:2", "lora:0:64:1", "lora:8:64:1:sgd"]
)
def test_what_is_no_cell_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=text):
        read(text)


def test_every_preset_is_made_of_different_cells() -> None:
    for cells in PRESETS.values():
        assert len({read(one) for one in cells}) == len(cells)


def test_rows_have_exactly_the_tokens_that_are_told(tmp_path: Path) -> None:
    from core.data.rows import build

    cell = read("lora:2:64:1:alpaca")
    lengths = [*wanted(cell, 5), 16, 20]
    tokenizer = load_tokenizer(str(DEMO))
    write(tmp_path / "rows.jsonl", lengths, tokenizer)
    spec = train.spec_of(cell, str(DEMO), tmp_path / "rows.jsonl", 2)
    built = build(spec, tokenizer, lambda *_: None)
    assert sorted(built.train.lengths().tolist()) == sorted(lengths)


def test_padding_is_counted_as_rows_are_laid() -> None:
    cell = read("lora:2:100:1:alpaca")
    assert padded(cell, [100, 50]) == pytest.approx(0.25)
    assert padded(cell, [100, 50], end_to_end=True) == 0
    packed = read("lora:2:100:1:packed")
    assert padded(packed, [60, 40, 50]) == pytest.approx(0.25)
    lengths = wanted(read("lora:8:2048:1:packed"), 4000)
    assert 160 <= sum(lengths) / len(lengths) <= 260
    assert sum(lengths[: count_of(read("lora:8:2048:1:packed"), 12)]) > 12 * 8 * 2048


def test_the_pace_is_the_median_step_after_those_that_are_skipped() -> None:
    steps = [(10.0, 100), (11.0, 200), (12.0, 300), (12.5, 400), (14.5, 500)]
    assert train.pace(steps, 2) == pytest.approx(100)


def row_of(cell: Cell, rate: float, **more: Any) -> dict[str, Any]:
    return {"cell": str(cell), **cell.__dict__, "tokens_per_second": rate, "matrix_share": 0.5, **more}


def test_a_row_says_how_it_is_beside_others_and_how_far_the_plan_was_off(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.begin(lambda: HEAD)
    cell = read("lora:8:2048:0")
    results.add(row_of(cell, 10_000, peak=20 * 2**30, planned=22 * 2**30, padded=0.0, compiled=True))
    results.add(row_of(plain_of(cell), 5_000))
    results.add(row_of(read("lora:8:2048:0:packed"), 9_500, compiled=False, why="too short"))
    table = (tmp_path / "table.md").read_text()
    assert "| lora:8:2048:0 | 10,000 | 2.000 x plain | 0.0% | 50.0% | 20.00 | – | 22.00 (+10.0%) |" in table
    assert "0.950 x full rows" in table and "no: too short" in table
    assert "| lora:8:2048:0 | 75 | 16,500 | 20.00 · 10,000 | no |" in table


def test_results_are_gone_on_with_and_never_overwritten(tmp_path: Path) -> None:
    done, failed = read("lora:8:64:0"), read("lora:8:64:1")
    results = Results(tmp_path)
    results.begin(lambda: HEAD)
    results.add(row_of(done, 1.0))
    results.add({"cell": str(failed), **failed.__dict__, "error": "out of memory"})
    assert results.failed()
    with pytest.raises(UserError, match="holds results already"):
        Results(tmp_path)
    again = Results(tmp_path, resume=True)
    assert again.has(done) and not again.has(failed)
    assert load(tmp_path / "results.jsonl")[0] == HEAD


def measured(cells: list[str], out: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(train, "_head", lambda _: HEAD)
    more = ["--steps", "4", "--skip", "1", "--timeout", "100", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["train", str(DEMO), *cells, *more])
    return train.main()


def test_a_cell_that_fails_is_a_row_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def by_worker(cell: Cell, *_: Any) -> dict[str, Any]:
        if cell.batch == 3:
            raise UserError("the GPU is out of memory", "it wanted | more")
        return {"tokens_per_second": 7.0}

    monkeypatch.setattr(train, "by_worker", by_worker)
    assert measured(["lora:3:32:1", "lora:2:32:1"], tmp_path, monkeypatch) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "| lora:3:32:1 | failed: the GPU is out of memory: it wanted / more |" in lines[4]
    assert lines[5].startswith("| lora:2:32:1 | 7 |")
    rows = load(tmp_path / "results.jsonl")[1]
    assert [row.get("error") is None for row in rows] == [False, True]


def test_a_tiny_cell_runs_through_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert measured(["lora:2:32:1"], tmp_path, monkeypatch) == 0
    (row,) = load(tmp_path / "results.jsonl")[1]
    assert row["tokens_per_second"] > 0 and row["padded"] == 0 and row["peak"] is None
    assert row["optimizer"] == "adamw" and row["compiled"] is False and row["load_rate"] > 0
    assert sum(row["holds"].values()) > 0


def test_the_same_run_bare_and_by_trl_at_its_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ["lora:2:32:1", "--bare", "--plain"]
    results = Results(tmp_path)
    results.begin(lambda: HEAD)
    results.add(row_of(read("lora:2:32:1"), 1.0))  # is there already, so the other two are measured alone
    assert measured([*more, "--resume"], tmp_path, monkeypatch) == 0
    rows = {row["cell"]: row for row in load(tmp_path / "results.jsonl")[1]}
    assert set(rows) == {"lora:2:32:1", "bare:lora:2:32:1", "plain:lora:2:32"}
    assert all(row["tokens_per_second"] > 0 for row in rows.values())
    assert rows["plain:lora:2:32"]["first_step_seconds"] > 0


def test_a_worker_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = SimpleNamespace(path=tmp_path, log=tmp_path / "worker.log", events_file=tmp_path / "events")
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(train, "command", lambda _: sleeper)
    with pytest.raises(UserError, match="took too long"):
        train.train(folder, "any", 0.05, {})  # type: ignore[arg-type]
