"""Preference runs are measured by their own trainers, on their own fullest passes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from core.train import measure, pairs
from tests.train.test_measure import nobody, request
from tests.train.test_preference import CASES, Prefer
from tests.train.test_preference import labels_file as labels_file
from tests.train.test_preference import pairs_file as pairs_file
from tests.train.test_preference import prefer as prefer


@pytest.mark.parametrize(("objective", "method"), CASES)
def test_each_objective_is_measured(prefer: Prefer, tmp_path: Path, monkeypatch, objective, method) -> None:
    seen: list[tuple[int, ...]] = []

    def noting(make: Any) -> Any:
        def made(rows: list[Any], **more: Any) -> Any:
            batch = make(rows, **more)
            if torch.is_grad_enabled():
                seen.append(tuple(sorted(len(row["input_ids"]) for row in rows)))
            return batch

        return made

    for name in ("paired", "labelled"):
        monkeypatch.setattr(pairs, name, noting(getattr(pairs, name)))
    run = prefer(objective, method)
    told = measure.measure(request(run.spec(), tmp_path / "folder"), nobody)
    assert told["fits"] and told["objective"] == objective
    assert set(told["phases"]) == {"load", "step", "evaluation", "save"}
    assert told["tokens_per_second"] > 0 and told["saved"]
    fullest, longest = seen[-6], seen[-5]
    assert seen[-4:-2] == [fullest, longest], "twice over, before two ordinary passes"
