"""The order of a run's rows: no pass is fuller than planned, and whoever resumes it goes on in it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.runs.folder import RunFolder, create
from core.spec import RunSpec, dump_spec, parse_spec
from core.train import measure_passes, worker
from core.train.batches import Layout
from core.train.order import in_order, passes_of, planned, seed_of

LINES = Layout("lines", None, 4096)
CHATS = np.clip(np.random.default_rng(7).lognormal(6.2, 0.9, 3_000), 30, 4096).astype(np.int64)


def asked(**more: Any) -> RunSpec:
    return parse_spec({"model": "m", "data": "d", "batch": 8, "accumulate": 2, "epochs": 2, **more})


def fullest(spec: RunSpec, seed: int, batch: int = 8) -> int:
    passes = passes_of(spec, len(CHATS))
    return measure_passes.of_training(CHATS, batch, seed, passes, LINES).tokens


@pytest.mark.parametrize("seed", range(40, 52))
def test_the_order_is_the_first_whose_fullest_pass_is_as_planned(seed: int) -> None:
    spec = asked(seed=seed)
    most, found = planned(spec, CHATS), seed_of(spec, CHATS, LINES)
    assert fullest(spec, found) <= most
    assert all(fullest(spec, one) > most for one in range(seed, found))


def test_where_none_is_found_it_is_the_best_of_those(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = asked(seed=2**32 - 2)
    monkeypatch.setattr("core.train.order.planned", lambda *_: 0)
    monkeypatch.setattr("core.train.order.tries_of", lambda _: 5)
    seeds = [2**32 - 2, 2**32 - 1, 0, 1, 2]
    assert seed_of(spec, CHATS, LINES) == min(seeds, key=lambda one: fullest(spec, one))


@pytest.mark.parametrize("layout", [Layout("rows", 4096), Layout("lines", 4096, 4096), Layout("blocks")])
def test_it_is_the_spec_s_own_where_all_orders_take_the_same(layout: Layout) -> None:
    assert seed_of(asked(seed=5), CHATS, layout) == 5


def test_an_order_that_is_asked_for_is_taken() -> None:
    assert seed_of(asked(shuffle=9), CHATS, LINES) == 9


def kept(tmp_path: Path, spec: RunSpec) -> RunFolder:
    run = create(tmp_path, "run")
    run.spec_file.write_text(dump_spec(spec, full=True))
    return run


def test_it_is_written_down_and_stays_when_the_batch_does_not(tmp_path: Path) -> None:
    run = kept(tmp_path, asked())
    spec = in_order(asked(), run, CHATS, LINES, resumes=False)
    assert spec.shuffle == run.spec().shuffle == seed_of(asked(), CHATS, LINES)
    smaller = run.spec().model_copy(update={"batch": 1, "accumulate": 16})
    assert in_order(smaller, run, CHATS, LINES, resumes=True).shuffle == spec.shuffle


def test_a_run_that_was_begun_without_keeps_its_order(tmp_path: Path) -> None:
    run = kept(tmp_path, asked(seed=3))
    assert in_order(asked(seed=3), run, CHATS, LINES, resumes=True).shuffle == 3


def test_a_run_says_its_order(make_run: Any) -> None:
    run = make_run("ordered", steps=2)
    assert worker.work(run) == 0
    assert json.loads(run.report_file.read_text())["shuffle"] == run.spec().shuffle == run.spec().seed
