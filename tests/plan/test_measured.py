"""What was measured is kept: bounded, by several at once, over torn lines; it betters the next estimate."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.job import environment
from core.plan import measured
from core.plan.cards import card_here, room
from core.plan.corrected import BOUNDS, PACES, Lessons, estimated, is_less, lessons_on
from core.plan.estimate import Estimate
from core.plan.ladder import bytes_of
from core.plan.measured import Record, data_of, job_of, passing, recall, record_of, remember, versions
from core.plan.phases import formula as phases_formula
from core.plan.search import fastest
from core.plan.work import Setting, expected_of, work_of
from core.plan.work import job_of as job_of_setting
from core.spec import RunSpec, parse_spec
from tests.plan.boxes import GIB, box, gpu, model
from tests.plan.test_ladder import resolved

LLAMA, QWEN = model("meta-llama/Llama-3.1-8B"), model("Qwen/Qwen2.5-0.5B")
ON = {
    "card": "NVIDIA H200",
    "on_gpu": True,
    "objective": "sft",
    "compiled": True,
    "recorded": False,
    "host": False,
}


def formula(spec: RunSpec, shape: Any = LLAMA) -> Estimate:
    step = bytes_of(spec, shape, objective="sft", on_gpu=True, compiled=True)
    return Estimate("formula", step, step.total // 2, step.total // 2, 0, 0, 0, 0, (-0.02, 0.05))


def seen(spec: RunSpec, factor: float, shape: Any = LLAMA, **on: Any) -> Record:
    """A job whose passing tensors were so many times what the closed form says."""
    step = bytes_of(spec, shape, objective="sft", on_gpu=True, compiled=True)
    tensors = step.tensors + int((factor - 1) * passing(step))
    tokens = spec.batch * spec.length
    return record_of(spec, shape, **{**ON, **on}, tokens=tokens, tensors=tensors, by="run")


def job(spec: RunSpec, shape: Any = LLAMA, **on: Any) -> measured.Job:
    return job_of(spec, shape, **{**ON, **on})


def better(spec: RunSpec, *records: Record, **on: Any) -> Estimate:
    """The estimate of a spec by what the records tell."""
    plain = formula(spec)
    return estimated(plain, Lessons(records).step(job(spec, **on), plain.step))


@pytest.mark.parametrize(("was", "becomes"), [(1.1, 1.1), (0.9, 0.9), (3.0, BOUNDS[1]), (0.1, BOUNDS[0])])
def test_a_neighbour_corrects_what_comes_and_goes_within_bounds(was, becomes):
    spec, other = resolved(batch=8, recompute=0.5), resolved(batch=4, recompute=0.25)
    plain = formula(spec)
    found = better(spec, seen(other, was))
    assert found.correction == pytest.approx(becomes, rel=1e-3) and found.kind == "formula"
    assert passing(found.step) == pytest.approx(becomes * passing(plain.step), rel=1e-3)
    stands = ("weights", "adapters", "gradients", "optimizer", "context")
    assert all(getattr(found.step, name) == getattr(plain.step, name) for name in stands)
    assert found.of == "meta-llama/Llama-3.1-8B, lora, 4 x 2,048 tokens, recompute 0.25 on NVIDIA H200"


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.7])
def test_this_very_job_is_what_it_was(factor):
    spec = resolved()
    record = seen(spec, factor)
    found = better(spec, record)
    assert found.kind == "measured" and found.step.tensors == record.tensors
    assert found.of == "this very job, a run of it before"
    assert found.correction == pytest.approx(factor, rel=1e-3)
    parts = replace(formula(spec), kind="measured", load=7).to_dict()
    whole = better(spec, replace(record, estimate=parts, by="measure", tensors=1))
    assert whole.load == 7 and whole.step == formula(spec).step
    assert whole.of == "this very job, measured before"
    more = int(1.5 * formula(spec).step.tensors)
    larger = better(spec, replace(record, estimate=parts, tensors=more))
    assert larger.step.tensors == more, "a run of it took more than was measured"


@pytest.mark.parametrize(
    "on", [{"card": "NVIDIA A10"}, {"compiled": False}, {"host": True}, {"objective": "dpo"}]
)
def test_another_card_or_another_kind_of_job_tells_nothing(on):
    spec = resolved()
    record = seen(resolved(batch=4), 1.2, **on)
    assert estimated(formula(spec), Lessons([]).step(job(spec), formula(spec).step)) == formula(spec)
    if "card" not in on:
        assert better(spec, record) == formula(spec)
        assert better(resolved(method="qlora"), seen(spec, 1.2)) == formula(resolved(method="qlora"))
    else:
        remember(record)
        assert lessons_on("NVIDIA H200") is None and lessons_on("NVIDIA A10")


def test_other_versions_tell_nothing():
    record = seen(resolved(batch=4), 1.2)
    remember(replace(record, job=replace(record.job, versions={**record.job.versions, "torch": "2.0"})))
    assert lessons_on("NVIDIA H200") is None
    remember(record)
    assert lessons_on("NVIDIA H200")


def timed(spec: RunSpec, pace: float, **on: Any) -> Record:
    return replace(seen(spec, 1.0, **on), tokens_per_second=1000 * pace, expected=1000.0)


def test_speed_is_this_very_jobs_or_the_middle_ones_of_the_nearest():
    spec = resolved(batch=8)
    others = [timed(resolved(batch=batch), pace) for batch, pace in ((1, 0.7), (2, 0.9), (4, 1.4))]
    far = timed(resolved(batch=2), 0.1, shape=QWEN)
    lessons = Lessons([far, *others])
    pace = lessons.pace(job(spec))
    assert pace and pace.factor == 0.9 and pace.of.endswith(", and 2 more")
    pace = Lessons([timed(spec, 0.2), *others]).pace(job(spec))
    assert pace and pace.factor == pytest.approx(0.2) and pace.of == "this very job, a run of it before"
    assert Lessons([far]).pace(job(spec)) is not None
    assert Lessons([timed(spec, 9.0, shape=QWEN)]).pace(job(spec)).factor == PACES[1]  # type: ignore[union-attr]
    assert Lessons([timed(spec, 0.5, compiled=False), seen(spec, 1.0)]).pace(job(spec)) is None


@pytest.mark.parametrize("name", ["NVIDIA GeForce RTX 4090", "NVIDIA Something New"])
def test_a_plan_goes_as_fast_as_such_jobs_went_here(name):
    from core.plan.advise import advise

    spec = parse_spec({"model": "m", "data": "d", "steps": 100})
    machine = box(replace(gpu(24, capability=(8, 9)), name=name))
    plain = advise(spec, machine, LLAMA).of("qlora")
    work = work_of(spec, LLAMA, card_here(spec, machine), None, "qlora")
    setting = fastest(work, room(work.card)).setting
    expected = expected_of(work, setting)
    assert (plain.tokens_per_second is None) == ("New" in name) and expected
    remember(replace(timed(resolved(), 0.5), job=job_of_setting(work, setting), formula=0, tensors=1))
    found = advise(spec, machine, LLAMA).of("qlora")
    assert found.tokens_per_second == pytest.approx(0.5 * expected) and found.pace
    assert found.sure_of_speed.startswith("corrected 0.50 times (")
    rest = 30.0 if setting.compiled else 0.0
    assert plain.seconds is None or found.seconds - rest == pytest.approx(2 * (plain.seconds - rest))


def test_a_line_without_the_speeds_form_is_still_read():
    remember(seen(resolved(), 1.1))
    line = json.loads(measured.path().read_text())
    del line["expected"]
    measured.path().write_text(json.dumps(line) + "\n")
    (record,) = recall()
    assert record.pace is None and record.factor == pytest.approx(1.1, rel=1e-3)


def test_a_cpu_tells_of_the_very_same_job_alone():
    spec = resolved(batch=4)
    assert better(spec, seen(resolved(batch=8), 1.2, on_gpu=False), on_gpu=False) == formula(spec)


def test_of_the_nearest_the_one_that_took_most():
    spec = resolved(batch=8)
    far = [seen(resolved(batch=2, length=64), 1.29, QWEN), seen(resolved(batch=8, length=64), 1.29)]
    near = [seen(resolved(batch=batch), factor) for batch, factor in ((2, 1.0), (4, 1.1), (16, 1.05))]
    found = better(spec, *far, *near)
    assert found.correction == pytest.approx(1.1, rel=1e-3) and found.of.endswith(", and 2 more")


def test_never_less_than_a_smaller_job_took():
    spec, small = resolved(batch=8, recompute=0), resolved(batch=7, recompute=0)
    took = seen(small, 1.6)
    assert is_less(took.job, job(spec)) and not is_less(job(spec), took.job)
    found = better(spec, took)
    assert found.step.tensors >= took.tensors and found.correction and found.correction > BOUNDS[1]
    assert not is_less(job(resolved(recompute=0.5)), job(resolved(recompute=1)))


def test_a_larger_setting_never_seems_to_take_less():
    """So that the search may halve its way: one factor for all of them."""
    lessons = Lessons([seen(resolved(batch=4, recompute=0.5), 1.2), seen(resolved(batch=2), 0.85)])
    for key, values in (("recompute", (1, 0.75, 0.5, 0.25, 0)), ("batch", (1, 2, 3, 4, 6, 8, 16))):
        specs = [resolved(**{key: value}) for value in values]
        totals = [lessons.step(job(one), formula(one).step).step.total for one in specs]
        assert totals == sorted(totals)


def test_a_job_is_known_by_its_rows(tmp_path: Path):
    file = tmp_path / "rows.jsonl"
    file.write_text("{}\n")
    spec = resolved(data=str(file))
    before = data_of(spec)
    assert data_of(resolved(data=str(file), learning_rate=0.01)) == before
    assert data_of(resolved(data=str(file), length=512)) != before
    file.write_text("{}\n{}\n")
    assert data_of(spec) != before


def test_what_is_kept_comes_back():
    assert recall() == ()
    first, second = seen(resolved(), 1.1), seen(resolved(batch=4), 1.2)
    remember(first)
    remember(second)
    assert recall() == (second, first)
    assert job(resolved()) == recall()[1].job
    remember(replace(first, tensors=first.tensors - 5, time=9.0, estimate={"a": 1}))
    newest, _ = recall()
    assert newest.time == 9.0 and newest.tensors == first.tensors, "never less than was seen"
    assert newest.estimate == {"a": 1}


def test_torn_and_strange_lines_are_passed_over():
    remember(seen(resolved(), 1.1))
    with measured.path().open("ab") as file:
        file.write(b'{"job": {"card": "x"}}\nnull\n[1]\n{"job": {"ca')
    remember(seen(resolved(batch=4), 1.2))
    assert len(recall()) == 2


def test_the_file_is_bounded(monkeypatch):
    monkeypatch.setattr(measured, "MOST", 8)
    for batch in range(1, 30):
        remember(seen(resolved(batch=batch), 1.0))
    kept = measured.path().read_text().splitlines()
    assert 8 <= len(kept) <= 10
    assert json.loads(kept[-1])["job"]["settings"]["batch"] == 29


def test_several_processes_may_add_at_once():
    record = seen(resolved(), 1.1)
    remember(record)
    code = """
import sys
import time
from dataclasses import replace
from core.plan import measured
measured.MOST = 40
(record,) = [one for one in measured.recall() if one.job.settings["batch"] == 8]
for number in range(12):
    settings = {**record.job.settings, "batch": 1000 * int(sys.argv[1]) + number}
    measured.remember(replace(record, job=replace(record.job, settings=settings)))
"""
    adding = [
        subprocess.Popen([sys.executable, "-P", "-c", code, str(number)], env=environment())
        for number in (1, 2, 3)
    ]
    assert [one.wait(60) for one in adding] == [0, 0, 0]
    assert len(recall()) == 37
    assert record.passing < 200 * GIB


def test_a_plan_is_the_better_for_what_was_measured():
    """And says so: on the same card its numbers are corrected, on another they are not."""
    asked = parse_spec({"model": "m", "data": "d.jsonl", "method": "lora", "batch": 8, "length": 2048})
    here = card_here(asked, box(gpu(80)))
    work = work_of(asked, LLAMA, here, None, "lora")
    setting = Setting("adamw", 8, 0.5, compiled=True)
    plain = phases_formula(work, setting)
    assert plain.correction is None and not plain.of
    remember(seen(resolved(batch=4), 1.2, card=here.name))
    again = phases_formula(work_of(asked, LLAMA, here, None, "lora"), setting)
    assert again.correction == pytest.approx(1.2, rel=1e-3) and "4 x 2,048 tokens" in again.of
    assert again.step.total > plain.step.total and again.peak == again.step.total
    elsewhere = replace(here, here=False)
    assert phases_formula(work_of(asked, LLAMA, elsewhere, None, "lora"), setting) == plain
    job = job_of_setting(work, setting)
    same = replace(seen(resolved(), 1.0).job, card=here.name)
    assert {**job.settings, "recompute": 0} == same.settings and job.model == same.model


def test_many_records_do_not_slow_a_plan():
    asked = parse_spec({"model": "m", "data": "d.jsonl", "method": "lora"})
    here = card_here(asked, box(gpu(80)))
    for batch in range(1, 200):
        remember(seen(resolved(batch=batch), 1.1, card=here.name))
    versions(), recall()
    begun = time.process_time()
    found = fastest(work_of(asked, LLAMA, here, None, "lora"), int(70 * GIB))
    assert found.fits and time.process_time() - begun < 0.5
