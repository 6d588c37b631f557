"""What is held out is fixed by the seed and by what rows say, and sources are mixed by their weights."""

import random
from pathlib import Path

import numpy as np

from core.data import dividing, held_out
from core.data.held_out import bin_of
from tests.data.conftest import write_jsonl
from tests.data.test_rows import PAIRS, built, report_on, spec_of


def test_rows_one_by_one_and_all_at_once_fall_alike() -> None:
    chance = random.Random(3)
    keys = [chance.getrandbits(64) for _ in range(500)]
    for seed in (0, 42, 2**32 - 1):
        assert dividing.bins_of(np.array(keys, np.uint64), seed).tolist() == [
            bin_of(one, seed) for one in keys
        ]
        for weight in (0.25, 1.0, 2.5):
            rows = np.arange(1, 400)
            found = dividing.repeats(np.full(399, 3), rows, {0: 1.0, 3: weight}, seed).tolist()
            assert found == [held_out.repeats(3, row, weight, seed) for row in range(1, 400)]
            assert abs(sum(found) - 399 * weight) < 50


def test_sources_are_mixed_by_weight_and_agree_with_the_report(tmp_path: Path) -> None:
    other = [{"prompt": f"Why {n}?", "completion": f"Because of {n}."} for n in range(60)]
    first, second = write_jsonl(tmp_path / "a.jsonl", PAIRS), write_jsonl(tmp_path / "b.jsonl", other)
    spec = spec_of(first, data={"weight": 2, "eval": 0.1, "more": [{"source": str(second), "weight": 0.5}]})
    made, report = built(spec), report_on(spec)
    seen = [(row["source"], row["row"]) for row in made.train]
    assert all(seen.count(one) == 2 for one in seen if one[0] == 0)
    assert 10 < sum(one[0] == 1 for one in seen) < 50
    assert all(seen.count(one) == 1 for one in seen if one[0] == 1)
    assert made.eval is not None and len(made.eval) == 10 == report["eval_rows"]
    assert report["train_rows"] == len(seen) == made.counts["train_rows"]
    assert not {(row["source"], row["row"]) for row in made.eval} & set(seen)
    assert [one["rows"] for one in report["sources"]] == [40, 60] and report["rows"] == 100


def test_the_same_rows_are_held_out_whatever_the_length(tmp_path: Path) -> None:
    rows = [{"prompt": f"What is {n}?", "completion": "word " * (5 + 7 * (n % 9))} for n in range(60)]
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    held = []
    for length, long in ((None, "cut"), (40, "cut"), (24, "split")):
        made = built(spec_of(source, data={"eval": 0.2, "long": long}, length=length))
        held.append({row["row"] for row in made.eval or []})
        report = report_on(spec_of(source, data={"eval": 0.2, "long": long}, length=length))
        assert (report["train_rows"], report["eval_rows"]) == (len(made.train), len(made.eval or []))
    assert held[0] == held[1] == held[2] and len(held[0]) == 12


def test_rows_that_ask_the_same_are_on_one_side(tmp_path: Path) -> None:
    rows = [{"prompt": f"What is {n % 30}?", "completion": f"Some say {n}."} for n in range(90)]
    made = built(spec_of(write_jsonl(tmp_path / "rows.jsonl", rows), data={"eval": 0.2}))
    asked = [{(row["row"] - 1) % 30 for row in side} for side in (made.train, made.eval or [])]
    assert asked[1] and not asked[0] & asked[1]
