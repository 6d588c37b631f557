"""What was measured is kept: bounded, by several at once, over torn lines; it betters the next estimate."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.job import environment
from core.plan import measured
from core.plan.corrected import BOUNDS, corrected, is_less, lesson_for
from core.plan.estimate import Estimate
from core.plan.ladder import bytes_of
from core.plan.measured import Record, data_of, job_of, passing, recall, record_of, remember
from core.spec import RunSpec
from tests.plan.boxes import GIB, model
from tests.plan.test_ladder import resolved

LLAMA, QWEN = model("meta-llama/Llama-3.1-8B"), model("Qwen/Qwen2.5-0.5B")
ON = {"card": "NVIDIA H200", "on_gpu": True, "objective": "sft", "compiled": True, "host": False}


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


@pytest.mark.parametrize(("was", "becomes"), [(1.1, 1.1), (0.9, 0.9), (3.0, BOUNDS[1]), (0.1, BOUNDS[0])])
def test_a_neighbour_corrects_what_comes_and_goes_within_bounds(was, becomes):
    spec, other = resolved(batch=8, recompute=0.5), resolved(batch=4, recompute=0.25)
    plain = formula(spec)
    found = corrected(plain, job(spec), [seen(other, was)])
    assert found.correction == pytest.approx(becomes, rel=1e-3) and found.kind == "formula"
    assert passing(found.step) == pytest.approx(becomes * passing(plain.step), rel=1e-3)
    stands = ("weights", "adapters", "gradients", "optimizer", "context")
    assert all(getattr(found.step, name) == getattr(plain.step, name) for name in stands)
    assert found.of == "meta-llama/Llama-3.1-8B, lora, 4 x 2,048 tokens, recompute 0.25 on NVIDIA H200"


def test_this_very_job_is_what_it_was():
    spec = resolved()
    record = seen(spec, 0.5)
    found = corrected(formula(spec), job(spec), [record])
    assert found.kind == "measured" and found.step.tensors == pytest.approx(record.tensors, rel=1e-6)
    assert found.of == "this very job, a run of it before"
    parts = replace(formula(spec), kind="measured", load=7).to_dict()
    whole = corrected(formula(spec), job(spec), [replace(record, estimate=parts, by="measure", tensors=1)])
    assert whole.load == 7 and whole.step == formula(spec).step
    assert whole.of == "this very job, measured before"
    more = int(1.5 * formula(spec).step.tensors)
    larger = corrected(formula(spec), job(spec), [replace(record, estimate=parts, tensors=more)])
    assert larger.step.tensors == pytest.approx(more, rel=1e-6), "a run of it took more than was measured"


@pytest.mark.parametrize(
    "on", [{"card": "NVIDIA A10"}, {"compiled": False}, {"host": True}, {"objective": "dpo"}]
)
def test_another_card_or_another_kind_of_job_tells_nothing(on):
    spec = resolved()
    plain = formula(spec)
    assert corrected(plain, job(spec), [seen(resolved(batch=4), 1.2, **on)]) == plain
    assert corrected(plain, job(resolved(method="qlora")), [seen(spec, 1.2)]) == plain


def test_other_versions_tell_nothing():
    spec = resolved()
    record = seen(resolved(batch=4), 1.2)
    old = replace(record, job=replace(record.job, versions={**record.job.versions, "torch": "2.0"}))
    assert corrected(formula(spec), job(spec), [old]) == formula(spec)


def test_a_cpu_tells_of_the_very_same_job_alone():
    spec = resolved()
    record = seen(resolved(batch=4), 1.2, on_gpu=False)
    assert lesson_for(job(spec, on_gpu=False), [record]) is None


def test_of_the_nearest_the_one_that_took_most():
    spec = resolved(batch=8)
    far = seen(resolved(batch=8, length=64), 1.29, QWEN)
    near = [seen(resolved(batch=batch), factor) for batch, factor in ((2, 1.0), (4, 1.1), (16, 1.05))]
    lesson = lesson_for(job(spec), [far, *near])
    assert lesson and lesson.factor == pytest.approx(1.1, rel=1e-3) and lesson.of.endswith(", and 2 more")


def test_never_less_than_a_smaller_job_took():
    spec, small = resolved(batch=8, recompute=0), resolved(batch=7, recompute=0)
    took = seen(small, 1.6)
    assert is_less(took.job, job(spec)) and not is_less(job(spec), took.job)
    found = corrected(formula(spec), job(spec), [took])
    assert found.step.tensors >= 0.9999 * took.tensors and found.correction > BOUNDS[1]
    assert not is_less(job(resolved(recompute=0.5)), job(resolved(recompute=1)))


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
    assert job(resolved()).same(recall()[1].job)
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
