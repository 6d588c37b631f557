"""The phases' closed form: what each must hold, how they stand to each other, and how long it takes."""

import subprocess
import sys
import time
from typing import Any

import pytest

from core.data.lengths import describe
from core.plan.cards import card_of_size
from core.plan.estimate import Estimate
from core.plan.phases import ERROR, RECORDED, formula, loosened, merging, unchecked
from core.plan.work import Setting, work_of
from tests.plan.boxes import model, spec

LLAMA = "meta-llama/Llama-3.1-8B"


def of(method: str, name: str = LLAMA, setting: dict[str, Any] | None = None, **keys: Any) -> Estimate:
    asked = spec(name, method=method, length=2048, batch=4, **keys)
    work = work_of(asked, model(name), card_of_size(80), None, method)  # type: ignore[arg-type]
    told = {"optimizer": "adamw", "batch": 4, "recompute": 0.0, "compiled": True} | (setting or {})
    return formula(work, Setting(**told))


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_every_phase_holds_what_stands_in_it(method):
    told = of(method)
    stands = told.step.weights + told.step.quantization + told.step.adapters + told.step.context
    assert min(told.load, told.evaluation, told.save) >= stands
    assert told.evaluation < told.step.total and told.save < told.step.total
    assert told.peak == told.step.total and told.kind == "formula"
    assert told.error[0] <= 0 <= told.error[1]


def test_a_merge_takes_the_base_in_16_bits_whatever_it_was_trained_in():
    lora, qlora = of("lora"), of("qlora")
    assert lora.merge == qlora.merge > 2 * model(LLAMA).parameters
    assert qlora.merge > qlora.load, "which four bits do not prepare one for"
    assert of("full").merge == 0
    assert merging(model(LLAMA), 64) > merging(model(LLAMA), 16)
    assert lora.disk > qlora.merge - lora.step.context, "the merged model lies on the disk too"


def test_a_matrix_is_on_the_card_in_16_bits_while_it_is_quantised():
    told = of("qlora")
    standing = told.step.context + told.step.weights + told.step.quantization + told.step.adapters
    assert told.load - standing == 2 * 4096 * 14336


def test_a_full_run_is_saved_through_the_hosts_memory():
    assert of("full").ram - of("lora").ram == pytest.approx(2 * model(LLAMA).parameters, rel=0.1)
    paged = of("full", setting={"optimizer": "paged_adamw_8bit"})
    eight = of("full", setting={"optimizer": "adamw_8bit"})
    assert paged.step.optimizer == 0 and paged.peak == eight.peak - eight.step.optimizer
    assert paged.ram == eight.ram + eight.step.optimizer, "where they lie when the card is full"
    waits = of("lora", setting={"recompute": 1.0, "host": True})
    assert waits.ram - waits.step.host == of("lora").ram


def test_a_mixture_stands_twice_where_its_experts_are_joined_or_parted():
    name = "Qwen/Qwen3-30B-A3B"
    shape = model(name)
    stack = 2 * shape.experts * shape.hidden * shape.expert_intermediate
    told = of("full", name)
    stands = told.step.context + told.step.weights + told.step.optimizer
    assert told.save - stands == 2 * shape.layers * stack
    assert told.load - told.step.weights >= 2 * 2 * stack


def test_it_needs_no_torch_and_no_time():
    told = time.process_time()
    for _ in range(10):
        of("lora")
    assert (time.process_time() - told) / 10 < 0.05
    script = "import sys, core.plan.phases; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


@pytest.mark.parametrize(("rows", "even"), [([100] * 900 + [1000] * 100, False), ([1000] * 1000, True)])
def test_recorded_passes_of_many_lengths_are_known_less_well(rows, even):
    report = {"lengths": describe(rows), "train_rows": len(rows), "format": "alpaca"}
    work = work_of(spec(length=1024), model("meta-llama/Llama-3.1-8B"), card_of_size(80), report, "lora")
    for recorded in (False, True):
        setting = Setting("adamw", 8, 0.0, compiled=True, recorded=recorded)
        error = loosened(formula(work, setting), work, setting).error
        assert error and error[0] == (RECORDED if recorded and not even else ERROR[0])
        assert (error[1] == ERROR[1]) is even


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Qwen/Qwen3-30B-A3B", ""),
        ("google/gemma-2-9b", ""),
        ("openai/gpt-oss-20b", "not checked for such a model"),
    ],
)
def test_what_was_not_checked_on_a_card_is_said(name, said):
    assert unchecked(work_of(spec(), model(name), card_of_size(80), None, "lora")) == said
