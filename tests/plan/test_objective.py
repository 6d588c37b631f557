"""Plans of preference runs: two sequences a pair, small steps, one time through; other data are refused."""

import pytest

from core.plan import defaults, memory, speed
from core.plan.advise import advise
from core.plan.cards import card_named
from core.plan.objective import more_passes, refusal, settled
from core.plan.resolve import resolve
from tests.plan.boxes import box, gpu, model, report, spec

NAME = "Qwen/Qwen3-8B"
H200 = card_named("h200")


def pairs(**keys):
    return {**report(**keys), "objective": "dpo", "format": "preference"}


def labels(**keys):
    return {**report(**keys), "objective": "kto", "format": "kto"}


def plan(data, *, gib: float = 80, name: str = NAME, **keys):
    return advise(spec(name, **keys), box(gpu(gib)), model(name), data)


def test_the_data_say_what_is_learned_and_the_spec_may_say_otherwise():
    assert plan(pairs()).objective == "dpo"
    assert plan(labels()).objective == "kto"
    assert plan(report()).objective == "sft"
    assert plan(pairs(), objective="orpo").objective == "orpo"


def test_a_resolved_spec_names_its_objective():
    found = plan(pairs())
    made = resolve(spec(), found, model(NAME), pairs())
    assert made.objective == "dpo" and made.epochs == 1.0 and made.learning_rate == 5e-6 and made.beta == 0.1


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_a_pair_takes_what_two_rows_take_and_never_a_second_model(method):
    setting = {"length": 1024, "padded": True, "recompute": 1.0}
    shape = model(NAME)
    # a full run's weights are fp32, so the comparison is with what has them too
    precision = "fp16" if method == "full" else "bf16"
    two = memory.estimate(shape, method, batch=8, precision=precision, **setting)
    for objective in ("dpo", "orpo"):
        pair = memory.estimate(shape, method, batch=4, objective=objective, **setting)
        assert pair.total == pytest.approx(two.total, rel=0.02)
        assert pair.weights == two.weights
    kto = memory.estimate(shape, method, batch=8, objective="kto", **setting)
    assert kto.total == pytest.approx(two.total, rel=0.02)


def test_asking_the_model_as_it_was_costs_one_pass_and_kto_three():
    assert more_passes("dpo", "lora", 1) == 1 and more_passes("kto", "lora", 1) == 3
    assert more_passes("orpo", "lora", 1) == 0 == more_passes("sft", "full", 1)
    assert more_passes("dpo", "full", 4) == 0.25 and more_passes("kto", "full", 2) == 2.0
    rates = [
        speed.tokens_per_second(model(NAME), "lora", H200, tokens=16_384, recompute=0, objective=objective)
        for objective in ("orpo", "dpo", "kto")
    ]
    assert rates[0] > rates[1] > rates[2]


def test_a_run_over_pairs_takes_longer_than_one_over_their_chosen_answers():
    both, chosen = (
        advise(spec(**keys), box(), model(NAME), pairs(), card=H200).of("lora")
        for keys in ({}, {"objective": "sft", "epochs": 1})
    )
    assert both.steps == chosen.steps
    # two sequences for one, three passes for two, and padding where answers alone lie end to end
    assert 3 * chosen.seconds < both.seconds < 8 * chosen.seconds


@pytest.mark.parametrize("objective", ["dpo", "orpo", "kto"])
def test_steps_are_far_smaller_than_for_answers_and_smaller_for_larger_models(objective):
    for method in ("full", "lora"):
        rates = [
            defaults.learning_rate(spec(), model(name), method, objective)
            for name in ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-1.7B", NAME)
        ]
        assert rates == sorted(rates, reverse=True)
        assert rates[-1] < defaults.learning_rate(spec(), model(NAME), method)
    assert defaults.epochs(spec(), model(NAME), 300, objective) == 1.0


@pytest.mark.parametrize("rows", [5, 300, 60_000])
def test_kto_has_two_rows_in_every_pass(rows):
    for one in plan(labels(rows=rows), gib=24).methods:
        assert one.batch >= 2
    found = plan(labels(), batch=1)
    (stop,) = [one for one in found.findings if one.severity == "stop"]
    assert stop.code == "kto_batch"


def codes(found):
    return {one.code: one for one in found.findings}


def test_data_of_another_kind_stop_the_plan_in_a_line():
    for data, objective in ((report(), "dpo"), (labels(), "dpo"), (pairs(), "kto"), (labels(), "sft")):
        stop = codes(plan(data, objective=objective))["objective"]
        assert (
            stop.severity == "stop" and f"objective {objective} cannot learn from these data" in stop.message
        )
        assert "set objective" in stop.todo
    assert refusal("dpo", "dpo") is None and refusal("sft", "dpo") is None


def test_what_is_left_out_is_said():
    assert "chosen answer alone" in codes(plan(pairs(), objective="sft"))["chosen_only"].message
    assert codes(plan(report(), aim="preference"))["no_preference"].severity == "warn"
    assert codes(plan(pairs(), packing=True))["packing_preference"].severity == "stop"
    assert "dropout" in codes(plan(pairs(), lora={"dropout": 0.1}))["no_dropout"].message
    assert not {"chosen_only", "no_preference", "objective"} & set(codes(plan(report())))


def test_the_worker_settles_it_in_the_same_way():
    assert settled(spec(), "dpo") == "dpo" and settled(spec(objective="sft"), "dpo") == "sft"
    assert settled(spec(batch=2), "kto") == "kto"
