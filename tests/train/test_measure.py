"""A run is measured before it begins: by the worker's own way, on its fullest passes, and leaves nothing."""

import contextlib
import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from core.data.sources.packed import cache
from core.errors import UserError
from core.job import environment, run_job
from core.models.shape import read_folder
from core.plan import measuring
from core.plan.corrected import Lessons, estimated
from core.plan.estimate import Estimate
from core.plan.ladder import bytes_of
from core.plan.measured import recall, record_of, remember
from core.spec import RunSpec
from core.train import measure, measure_passes, remembered, worker
from core.train.again import Settled
from core.train.batches import Layout
from core.train.pairs import collator
from tests.train.conftest import Make
from tests.train.short_of_memory import runs_out

ROWS, LINES = Layout("rows"), Layout("lines", None, 100)


def nobody(stage: str, done: int, total: int | None) -> None:
    """Nobody watches."""


def formula(spec: RunSpec) -> Estimate:
    shape = read_folder(Path(spec.model), spec.model)
    step = bytes_of(spec, shape, objective="sft", on_gpu=False, compiled=False)
    return Estimate("formula", step, 1, 1, 1, 5, 6, 7, (-0.1, 0.1))


def request(spec: RunSpec, folder: Path) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    return {"spec": spec.model_dump(mode="json"), "folder": str(folder), "cap": None, "gpu": None}


# ---- which passes ----


def test_the_order_is_that_of_the_run(make_run: Make, monkeypatch):
    """Over three epochs, with a short pass at the end of each."""
    seen: list[list[int]] = []

    def noting(parts: Any, make: Any) -> Any:
        collate = collator(parts, make)

        def note(examples: list[dict[str, Any]]) -> Any:
            if examples[0]["part"] == 0:
                seen.append([one["place"] for one in examples])
            return collate(examples)

        return note

    monkeypatch.setattr("core.train.trainer.collator", noting)
    run = make_run("order", batch=4, accumulate=2, steps=14)
    assert worker.work(run) == 0
    rows = json.loads(run.report_file.read_text())["rows"]
    epochs = measure_passes._epochs(rows, 4, run.spec().seed, len(seen))
    foretold = [places for epoch in epochs for places in epoch.tolist()]
    whole = [places for places in seen if len(places) == 4]
    assert len(whole) > 20 and len(whole) < len(seen) and whole == foretold[: len(whole)]


def test_the_fullest_pass_and_the_one_with_the_longest_row():
    lengths = np.array([1, 9, 2, 2, 6, 6, 3, 1])
    lines = measure_passes.of_training(lengths, 2, None, 4, LINES, ordinary=2)
    assert (lines.fullest, lines.longest, lines.tokens) == ([4, 5], [0, 1], 12)
    assert lines.ordinary == [[0, 1], [2, 3]] and lines.hot(1) == [[4, 5], [0, 1]] * 2
    rows = measure_passes.of_training(lengths, 2, None, 4, ROWS)
    assert rows.fullest == [0, 1] and rows.tokens == 18, "padded to the longest"
    begun = measure_passes.of_training(lengths, 2, None, 2, LINES)
    assert begun.fullest == [0, 1], "a run that ends before the fullest pass does not make it"


def test_a_shuffled_run_makes_many_different_passes():
    lengths = np.arange(1, 102)
    once = measure_passes.of_training(lengths, 4, 7, 25, LINES)
    often = measure_passes.of_training(lengths, 4, 7, 500, LINES)
    assert len(once.fullest) == 4 and once.tokens == sum(lengths[once.fullest])
    assert 100 in once.longest or 100 not in {place for one in once.hot(2) + once.ordinary for place in one}
    assert often.tokens > once.tokens and often.tokens <= 98 + 99 + 100 + 101


def test_each_is_made_with_the_state_of_the_optimiser_and_the_gradients_of_another():
    made = measure_passes.of_training(np.array([1, 9, 2, 2, 6, 6, 3, 1]), 2, None, 4, LINES)
    hot = made.hot(2)
    steps = [hot[at : at + 2] for at in range(0, len(hot), 2)]
    assert len(hot) == 2 * len(steps)
    assert {id(second) for _, second in steps[1:]} == {id(made.fullest), id(made.longest)}


def test_few_rows_are_one_pass():
    few = measure_passes.of_training(np.array([3, 5]), 4, 7, 100, ROWS)
    assert sorted(few.fullest) == [0, 1]
    assert measure_passes.of_evaluation(np.array([3, 5]), 4, ROWS) == [0, 1]


def test_of_the_held_out_rows_the_fullest_pass_and_the_longest_row():
    lengths = np.array([1, 9, 2, 2, 6, 6, 30])
    assert measure_passes.of_evaluation(lengths, 2, LINES) == [0, 1, 4, 5]
    assert measure_passes.of_evaluation(lengths, 2, ROWS) == [0, 1]
    assert measure_passes.lengths_of([{"input_ids": [1, 2], "rejected_ids": [1, 2, 3]}]).tolist() == [3]


# ---- the measurement ----


@pytest.mark.parametrize("changes", [{"accumulate": 3}, {"method": "full", "batch": 100}, {"packing": True}])
def test_all_phases_are_measured_and_the_parts_counted(make_run: Make, tmp_path: Path, changes):
    run = make_run("asked", **{"save": {"every": 5}, **changes})
    before = sorted(run.path.rglob("*"))
    spec = run.spec()
    told = measure.measure(request(spec, tmp_path / "folder"), nobody)
    assert told["fits"] and told["kind"] == "cpu" and told["saved"]
    assert set(told["phases"]) == {"load", "step", "evaluation", "save"}
    assert all(50e6 < peak["ram"] < 50e9 and not peak["allocated"] for peak in told["phases"].values())
    assert told["tokens_per_second"] > 0 and told["first_step_seconds"] > 0
    shape = read_folder(Path(spec.model), spec.model)
    held = bytes_of(spec, shape, objective="sft", on_gpu=False, compiled=False)
    parts = told["parts"]
    assert all(
        parts[name] == pytest.approx(getattr(held, name), rel=0.02) for name in ("weights", "adapters")
    )
    assert parts["gradients"] == held.gradients
    assert parts["optimizer"] == pytest.approx(held.optimizer, rel=0.01)
    assert sorted(run.path.rglob("*")) == before, "the run's own folder is left alone"

    found = measuring.estimate_of(measuring.Measured(spec, (), told), formula(spec))
    assert found.kind == "measured" and (found.merge, found.disk) == (5, 7)
    assert found.step.total == told["phases"]["step"]["ram"] and found.load == told["phases"]["load"]["ram"]
    assert found.step.weights == parts["weights"]


def test_the_process_is_gone_with_all_that_it_wrote(make_run: Make):
    """As it is asked for: another process, progress, and an answer that is kept for the next estimate."""
    spec = make_run("asked").spec()
    stages: list[str] = []
    found = measuring.measure(spec, on_progress=lambda stage, *_: stages.append(stage))
    assert found.fits and not found.changes and found.spec == spec and not found.others
    assert {"load", "tokenise", "train", "evaluate", "save"} <= set(stages)
    assert list(cache("measuring").iterdir()) == []
    shape = read_folder(Path(spec.model), spec.model)
    estimate = measuring.kept(found, shape, formula(spec))
    (record,) = recall()
    again = estimated(formula(spec), Lessons([record]).step(record.job, formula(spec).step))
    assert again.step == estimate.step and again.kind == "measured"
    assert again.of == "this very job, measured before"


def test_what_does_not_fit_says_which_rung_would_help(make_run: Make, tmp_path: Path, monkeypatch):
    runs_out("training_step", lambda tuner: True, monkeypatch.setattr)
    told = measure.measure(request(make_run("asked").spec(), tmp_path / "folder"), nobody)
    assert not told["fits"] and told["phase"] == "step" and "12.00 KiB more" in told["why"]
    assert told["rung"]["changes"] == {"recompute": 0.25} and "dial" in told["rung"]["said"]
    last = make_run("asked", recompute=1, batch=1).spec()
    assert measure.measure(request(last, tmp_path / "last"), nobody)["rung"] is None


def test_it_steps_down_until_it_fits_and_says_what_it_changed(make_run: Make, monkeypatch):
    asked: list[RunSpec] = []

    async def answered(module: str, request: dict[str, Any], progress: Any) -> dict[str, Any]:
        asked.append(RunSpec.model_validate(request["spec"]))
        place = asked[-1].recompute
        rung = {"changes": {"recompute": place + 0.25}, "said": f"the dial goes to {place + 0.25}"}
        return {"fits": place >= 0.5, "rung": rung, "why": "too little"}

    monkeypatch.setattr(measuring, "run_job_async", answered)
    spec = make_run("asked").spec()
    found = measuring.measure(spec)
    assert found.fits and [one.recompute for one in asked] == [0, 0.25, 0.5]
    assert found.changes == ("too little: the dial goes to 0.25", "too little: the dial goes to 0.5")
    assert found.spec == spec.model_copy(update={"recompute": 0.5})


def test_what_cannot_run_is_refused_as_by_the_worker(make_run: Make):
    with pytest.raises(UserError, match="is not there"):
        measuring.measure(make_run("asked", model="/nowhere/at/all").spec())
    with pytest.raises(UserError, match="leaves something open"):
        run_job("core.train.measure", request(make_run("asked", batch=None).spec(), cache("here")))


def test_without_room_on_the_disk_nothing_is_saved(make_run: Make, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(measure.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    told = measure.measure(request(make_run("asked").spec(), tmp_path / "folder"), nobody)
    assert told["fits"] and not told["saved"] and "save" not in told["phases"]


def test_when_who_asked_is_killed_it_leaves_and_removes_what_it_wrote(tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "checkpoint").write_text("x")
    child = f"""
import sys, threading
from pathlib import Path
from core.train.measure import _gone_with_its_parent
with _gone_with_its_parent(Path({str(folder)!r})):
    print("here", flush=True)
    threading.Event().wait(60)
"""
    parent = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-P", "-c", {child!r}]).wait()
"""
    asked = subprocess.Popen(
        [sys.executable, "-P", "-c", parent], env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert asked.stdout and asked.stdout.readline() == "here\n"
    asked.kill()
    asked.wait(10)
    assert asked.stdout.read() == "", "the pipe closes when the child is gone"
    assert not folder.exists()


def test_what_both_left_is_removed_by_the_next(monkeypatch):
    left = cache("measuring") / "left"
    left.mkdir()
    (left / measuring.LOCK).touch()
    (left / "run").mkdir()
    with measuring._scratch() as first:
        assert not left.exists()
        with measuring._scratch() as second:
            assert first.exists() and second.exists() and first != second
    assert list(cache("measuring").iterdir()) == []


def test_cancelling_ends_the_process(make_run: Make):
    import asyncio

    begun = threading.Event()
    spec = make_run("asked").spec()

    async def cancelled() -> None:
        asking = asyncio.create_task(measuring.measure_async(spec, on_progress=lambda *_: begun.set()))
        await asyncio.to_thread(begun.wait, 60)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking

    asyncio.run(cancelled())
    assert begun.is_set() and list(cache("measuring").iterdir()) == []


def test_a_finished_run_is_kept_too(make_run: Make, tiny: Path):
    spec = make_run("asked").spec()
    shape = read_folder(tiny, str(tiny))
    rows = SimpleNamespace(lengths=lambda: np.arange(10, 50), __len__=lambda: 40)
    engine = SimpleNamespace(layout=ROWS, compiled=True, recorded=False, holder=SimpleNamespace(host=None))
    watch = SimpleNamespace(peak=10**9, tokens=1000, seconds=2.0)
    remembered.of_run(spec, Settled(shape, "sft", True, True), engine, rows, 12, "a card", watch)
    (record,) = recall()
    assert record.by == "run" and record.tensors == 10**9 and record.tokens_per_second == 500
    assert record.job.settings["compiled"] and record.tokens % 4 == 0
    assert record.expected and record.pace == pytest.approx(500 / record.expected)


def test_a_run_goes_the_way_that_was_measured(make_run: Make, tiny: Path, monkeypatch: pytest.MonkeyPatch):
    spec = make_run("asked").spec()
    known = Settled(read_folder(tiny, str(tiny)), "sft", True, True)
    engine = SimpleNamespace(compiled=True, holder=SimpleNamespace(host=None))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")

    def seen(by: str, recorded: bool, card: str = "a card") -> None:
        how = {"objective": "sft", "compiled": True, "recorded": recorded, "host": False, "on_gpu": True}
        remember(record_of(spec, known.shape, card=card, tokens=90, tensors=10**8, by=by, **how))

    assert remembered.was_recorded(spec, known, engine) is None
    seen("measure", True, card="another")
    assert remembered.was_recorded(spec, known, engine) is None
    seen("measure", False)
    assert remembered.was_recorded(spec, known, engine) is False
    seen("run", False)
    assert remembered.was_recorded(spec, known, engine) is None, "free again once it has run"
    seen("measure", True)
    assert remembered.was_recorded(spec, known, engine) is True
    seen("measure", False)
    assert remembered.was_recorded(spec, known, engine) is False, "the newer of two measurements"
    seen("measure", True)
    other = spec.model_copy(update={"batch": (spec.batch or 1) + 1})
    assert remembered.was_recorded(other, known, engine) is None
    assert remembered.was_recorded(spec, replace(known, on_gpu=False), engine) is None


def test_the_parts_of_a_model_in_four_bits_are_counted():
    from bitsandbytes.nn import Linear4bit

    model = torch.nn.Sequential(Linear4bit(512, 256, bias=False, quant_type="nf4", compress_statistics=True))
    model.to("cpu")
    model[0].weight.requires_grad = False
    adapter = torch.nn.Parameter(torch.zeros(8, 4))
    model.register_parameter("adapter", adapter)
    model.register_buffer("rounded_a", torch.zeros(8, 4, dtype=torch.bfloat16))
    from core.train.measure_gauge import standing

    optimizer = torch.optim.AdamW([adapter])
    adapter.grad = torch.ones_like(adapter)
    optimizer.step()
    found = standing(model, optimizer, full=False)
    assert found["weights"] == 512 * 256 // 2 and found["adapters"] == 8 * 4 * (4 + 2)
    assert found["quantization"] == 512 * 256 // 64 + 4 * (512 * 256 // 64 // 256)
    assert found["gradients"] == 8 * 4 * 4 and found["optimizer"] == pytest.approx(2 * 8 * 4 * 4, abs=8)
