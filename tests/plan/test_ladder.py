"""The ladder: every rung takes less, keeps the rows of a step, and there is a last one."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.plan.ladder import Rung, step_down, total_of
from core.plan.objective import LEAST_BATCH
from core.spec import RunSpec, parse_spec
from tests.plan.boxes import GIB, model

SHAPES = [model(name) for name in ("meta-llama/Llama-3.1-8B", "Qwen/Qwen2.5-0.5B", "google/gemma-2-9b")]


def resolved(**changes: Any) -> RunSpec:
    plain = {
        "model": "m",
        "data": "d.jsonl",
        "method": "lora",
        "length": 2048,
        "batch": 8,
        "accumulate": 2,
        "epochs": 1,
        "learning_rate": 1e-4,
        "optimizer": "adamw",
        "recompute": 0,
        "precision": "bf16",
    }
    return parse_spec({**plain, **changes})


def chain(spec: RunSpec, **more: Any) -> list[Rung]:
    found: list[Rung] = []
    while rung := step_down(found[-1].spec if found else spec, **more):
        found.append(rung)
        assert len(found) < 40
    return found


def test_the_whole_ladder_in_order():
    rungs = chain(resolved(batch=4, accumulate=2))
    assert [rung.keys for rung in rungs] == [
        *("recompute: 0.25", "recompute: 0.5", "recompute: 0.75", "recompute: 1"),
        *("batch: 2 and accumulate: 4", "batch: 1 and accumulate: 8"),
        *("optimizer: adamw_8bit", "optimizer: paged_adamw_8bit"),
    ]
    assert rungs[0].said == "the dial of recompute goes to 0.25"
    assert "a pass has 1 row, and a step 8 passes" in rungs[5].said
    assert rungs[-1].spec.length == 2048 and rungs[-1].spec.method == "lora"


@pytest.mark.parametrize(
    ("place", "further"), [(0, 0.25), (0.125, 0.25), (0.25, 0.5), (0.6, 0.75), (0.875, 1), ("auto", 1)]
)
def test_the_dial_goes_by_quarters(place, further):
    rung = step_down(resolved(recompute=place))
    assert rung and rung.changes == {"recompute": further}


@pytest.mark.parametrize(
    ("batch", "accumulate", "passes"),
    [
        (8, 1, [(4, 2), (2, 4), (1, 8)]),
        (6, 1, [(3, 2), (1, 6)]),
        (9, 2, [(3, 6), (1, 18)]),
        (7, 1, [(1, 7)]),
        (7, 2, [(2, 7), (1, 14)]),
        (1, 4, []),
    ],
)
def test_passes_get_smaller_and_steps_do_not(batch, accumulate, passes):
    rungs = chain(resolved(recompute=1, batch=batch, accumulate=accumulate), on_gpu=False)
    assert [(rung.spec.batch, rung.spec.accumulate) for rung in rungs] == passes


def test_kto_keeps_two_rows_in_a_pass():
    rungs = chain(resolved(recompute=1, batch=12, accumulate=1), objective="kto", on_gpu=False)
    assert [(rung.spec.batch, rung.spec.accumulate) for rung in rungs] == [(6, 2), (3, 4), (2, 6)]


def test_only_what_helps_where_it_ran_out():
    spec = resolved()
    assert step_down(spec, phase="load") is None and step_down(spec, phase="save") is None
    assert {*chain(spec, phase="evaluation")[-1].changes} == {"batch", "accumulate"}
    assert all("recompute" not in rung.changes for rung in chain(spec, phase="evaluation"))
    assert all("optimizer" not in rung.changes for rung in chain(spec, resumes=True))
    paged = step_down(resolved(recompute=1, batch=1, optimizer="adamw_8bit"), resumes=True)
    assert paged and paged.changes == {"optimizer": "paged_adamw_8bit"}, "its moments are the same"
    assert step_down(resolved(recompute=1, batch=1, optimizer="adafactor")) is None


def test_what_saves_nothing_is_passed_over():
    """A whole model whose step is its fullest moment: less in the layers helps nothing there."""
    spec = resolved(method="full", batch=1, length=64, accumulate=1)
    rung = step_down(
        spec, takes=lambda one: total_of(one, SHAPES[0], objective="sft", on_gpu=True, compiled=True)
    )
    assert rung and rung.changes == {"optimizer": "adamw_8bit"}


def test_so_many_rungs_as_save_what_is_missing():
    def takes(spec: RunSpec) -> int:
        return total_of(spec, SHAPES[0], objective="sft", on_gpu=True, compiled=False)

    spec = resolved()
    near, far = step_down(spec, takes=takes), step_down(spec, takes=takes, by=60 * GIB)
    assert near and far and takes(spec) - takes(far.spec) >= 60 * GIB
    assert near.changes == {"recompute": 0.25} and far.spec.batch == 8
    all_of_it = step_down(spec, takes=takes, by=10_000 * GIB)
    assert all_of_it and all_of_it.spec.batch == 1 and all_of_it.spec.optimizer == "paged_adamw_8bit"


@pytest.mark.parametrize(("ram", "paged"), [(0, True), (16, False), (64, True)])
def test_moments_go_where_there_is_room_for_them(ram, paged):
    def takes(spec: RunSpec) -> int:
        return total_of(spec, SHAPES[0], objective="sft", on_gpu=True, compiled=False, ram=ram * GIB)

    spec = resolved(method="full", batch=1, accumulate=1, recompute=1, optimizer="adamw_8bit")
    assert (step_down(spec, takes=takes) is not None) == paged


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_every_rung_takes_less_and_keeps_the_rows(data):
    draw = data.draw
    shape, objective = draw(st.sampled_from(SHAPES)), draw(st.sampled_from(["sft", "dpo", "kto"]))
    on_gpu, compiled = draw(st.booleans()), draw(st.booleans())
    spec = resolved(
        method=draw(st.sampled_from(["full", "lora", "qlora"])),
        batch=draw(st.integers(LEAST_BATCH[objective], 24)),
        accumulate=draw(st.integers(1, 6)),
        length=draw(st.sampled_from([64, 512, 4096])),
        recompute=draw(st.sampled_from([0, 0.125, 0.5, 0.7, 1])),
        optimizer=draw(st.sampled_from(["adamw", "adamw_8bit", "adafactor"])),
        precision="bf16" if on_gpu else "fp32",
    )
    ram = draw(st.sampled_from([0, 64 * GIB]))

    def takes(one: RunSpec) -> int:
        return total_of(one, shape, objective=objective, on_gpu=on_gpu, compiled=compiled, ram=ram)

    before, rungs = spec, chain(spec, objective=objective, on_gpu=on_gpu, takes=takes)
    for rung in rungs:
        assert takes(rung.spec) < takes(before)
        assert rung.spec.batch * rung.spec.accumulate == spec.batch * spec.accumulate
        assert rung.spec.batch >= LEAST_BATCH[objective]
        assert rung.spec.model_copy(update={key: getattr(before, key) for key in rung.changes}) == before
        assert rung.said and rung.keys
        before = rung.spec
