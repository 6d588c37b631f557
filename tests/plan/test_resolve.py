"""A resolved spec has nothing left to decide, and nothing in it that the user set was changed."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from core.plan.advise import advise
from core.plan.resolve import name_of, resolve
from core.spec import RunSpec, dump_spec, parse_spec
from tests.plan.boxes import box, gpu, model, report, spec

NAME = "Qwen/Qwen3-0.6B"


def resolved(asked: RunSpec, machine=None, data=None) -> RunSpec:
    machine, data, shape = machine or box(gpu(24)), data or report(), model(NAME)
    return resolve(asked, advise(asked, machine, shape, data), shape, data)


def is_whole(found: RunSpec) -> None:
    assert found.method != "auto" and found.optimizer != "auto" and found.recompute != "auto"
    assert found.precision != "auto" and found.template != "auto"
    for key in ("length", "batch", "accumulate", "learning_rate", "name"):
        assert getattr(found, key) is not None
    assert (found.epochs is None) != (found.steps is None)
    assert found.save.every and found.evaluate.every and found.lora.alpha


@pytest.mark.parametrize("machine", [box(gpu(24)), box(gpu(15, capability=(7, 5))), box(ram=24)])
def test_everything_left_open_is_filled(machine):
    found = resolved(spec(NAME), machine)
    is_whole(found)
    assert parse_spec(found.model_dump()) == found and dump_spec(found)


SET = {
    "method": st.sampled_from(["full", "lora", "qlora"]),
    "length": st.sampled_from([64, 777, 4096]),
    "batch": st.integers(1, 40),
    "accumulate": st.integers(1, 9),
    "epochs": st.sampled_from([0.5, 2.0, 7.0]),
    "steps": st.integers(1, 5000),
    "learning_rate": st.sampled_from([1e-6, 3e-3]),
    "optimizer": st.sampled_from(["adamw", "paged_adamw_8bit", "adafactor"]),
    "recompute": st.sampled_from([0.0, 1.0]),
    "precision": st.sampled_from(["bf16", "fp16", "fp32"]),
    "name": st.just("mine"),
    "save": st.just({"every": 7, "keep": 3}),
    "evaluate": st.just({"every": 9}),
    "lora": st.just({"rank": 4, "alpha": 5.0}),
}


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries({}, optional=SET))
def test_what_the_user_set_is_never_changed(keys):
    if "epochs" in keys:
        keys.pop("steps", None)
    asked = spec(NAME, **keys)
    found = resolved(asked)
    is_whole(found)
    kept = found.model_dump()
    for key in keys:
        assert kept[key] == asked.model_dump()[key]


def test_resolving_twice_changes_nothing():
    once = resolved(spec(NAME))
    assert resolved(once) == once


def test_looks_and_saves_come_several_times_in_a_run():
    data = report(rows=1800)
    asked = spec(NAME)
    steps = advise(asked, box(gpu(24)), model(NAME), data).of("lora").steps
    found = resolved(asked, data=data)
    assert steps and 5 <= steps / found.evaluate.every <= 20 and steps / found.save.every >= 2
    tiny = resolved(spec(NAME, steps=3))
    assert tiny.evaluate.every == 1 and tiny.save.every >= 1


def test_a_name_that_a_folder_may_have():
    asked = spec("meta-llama/Llama-3.1-8B", data={"source": "/a b/my data (1).jsonl"})
    name = name_of(asked)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name)
    assert "llama-3.1-8b" in name and "my-data" in name
    assert name_of(spec("./model/", data={"source": "x/train.jsonl"})) == "model-x"


def test_a_model_without_weights_is_enough_for_a_plan_alone():
    bare = replace(model(NAME), has_weights=False)
    asked = spec(NAME)
    made = advise(asked, box(gpu(24)), bare, report())
    assert made.recommended
    with pytest.raises(UserError, match="no weights") as caught:
        resolve(asked, made, bare, report())
    assert caught.value.code == 1
