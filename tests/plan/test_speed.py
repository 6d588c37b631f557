"""The estimate of speed against layers measured on a card, and in itself; when compiling pays."""

from dataclasses import replace
from itertools import pairwise
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.models.catalogue import catalogue
from core.models.shape import shape_from_config
from core.plan import speed
from core.plan.card_names import known_cards
from core.plan.cards import card_named, card_of_size
from core.plan.compiling import gives_up_on, pays, training_seconds
from core.plan.search import may_compile
from core.plan.work import work_of
from tests.plan.boxes import model, spec

LLAMA = "meta-llama/Llama-3.1-8B"
MIXTURE = "Qwen/Qwen3-30B-A3B"
H200 = card_named("h200")
TOKENS = 16_384


def layer_ms(compiled: bool) -> tuple[float, float, float]:
    """Milliseconds of a layer that keeps all, narrow tensors, its input alone."""
    one = speed.layer_seconds(model(LLAMA), "lora", H200, tokens=TOKENS, row=2048, compiled=compiled)
    kept = one.forward + one.backward + speed.PASS
    return 1000 * kept, 1000 * (kept + one.wide), 1000 * (kept + one.wide + one.rest)


def test_layers_of_several_kinds_are_summed():
    shape = model("Qwen/Qwen3.5-4B")
    (many, one), (few, other) = shape.kinds
    rest = [speed._again(replace(shape, kinds=(), linears=linears))[1] for linears in (one, other)]
    assert rest[0] != rest[1]
    assert speed._again(shape)[1] == pytest.approx((many * rest[0] + few * rest[1]) / shape.layers)
    asked = {"tokens": 8192, "row": 8192, "compiled": True}
    all_attend = replace(shape, kinds=(), linears=other)
    real, whole = (speed.layer_seconds(each, "lora", H200, **asked) for each in (shape, all_attend))
    assert real.forward < whole.forward, "three layers of four have no attention over all that was read"


def test_layers_take_what_was_measured_on_an_h200():
    for estimated, measured in zip(layer_ms(True), (29.7, 35.8, 41.9), strict=True):
        assert estimated == pytest.approx(measured, rel=0.06)
    assert layer_ms(False)[0] == pytest.approx(37.4, rel=0.03)


def rate(dial: float, method="lora", **more) -> float:
    setting = {"tokens": TOKENS, "compiled": True, "host": True} | more
    found = speed.tokens_per_second(model(LLAMA), method, H200, recompute=dial, **setting)
    assert found is not None
    return found


def step_ms(dial: float, **more) -> float:
    return 1000 * TOKENS / rate(dial, **more)


def test_waiting_in_the_hosts_memory_costs_little_and_less_than_computing_again():
    a_layer = (step_ms(0.5) - step_ms(0.0)) / 32
    assert a_layer == pytest.approx(1.1, abs=0.3), "measured: 1.3 for layers alone, 0.9 in whole runs"
    assert step_ms(0.5) < step_ms(0.5, host=False) < step_ms(1.0, host=False)
    assert step_ms(1.0, host=False) > step_ms(1.0)
    assert step_ms(1.0, compiled=False) == step_ms(1.0, compiled=False, host=False), "it cannot then"


def test_steps_of_earlier_engines_bound_it_from_below():
    """Whole steps measured on an H200 with engines that computed more again or copied inputs."""
    for dial, method, measured in ((1.0, "lora", 11_039), (0.0, "lora", 15_381), (0.0, "qlora", 14_841)):
        assert measured < rate(dial, method, host=False) < 1.15 * measured
    full = rate(0.5, "full", optimizer="adamw_8bit", host=False)
    assert full == pytest.approx(10_581, rel=0.05)


def test_starting_more_kernels_takes_the_host_longer():
    """Gemma 2's attention in plain steps: short uncompiled passes wait for the host, compiled ones less."""

    def a_layer(name: str, compiled: bool) -> float:
        shape = model(name)
        found = speed.tokens_per_second(shape, "lora", H200, tokens=64, recompute=0.0, compiled=compiled)
        assert found is not None
        return (64 / found - speed.BETWEEN) / shape.layers

    gemma, llama = "google/gemma-2-9b", LLAMA
    assert a_layer(gemma, False) == pytest.approx(speed.IN_STEPS * a_layer(llama, False), rel=0.01)
    assert a_layer(gemma, True) == pytest.approx(a_layer(llama, True), rel=0.01)


@pytest.mark.parametrize(
    ("tokens", "compiled", "waits"), [(64, False, True), (64, True, True), (65_536, True, False)]
)
def test_short_passes_are_as_quick_as_the_hosts_cores(tokens, compiled, waits):
    def step(core_ms: float | None, **more) -> float:
        card = replace(H200, core_ms=core_ms)
        setting = {"tokens": tokens, "recompute": 0.0, "compiled": compiled} | more
        found = speed.tokens_per_second(model(LLAMA), "lora", card, **setting)
        assert found is not None
        return tokens / found

    slow, quick = step(2 * speed.CORE_MS), step(speed.CORE_MS / 2)
    assert slow / quick == pytest.approx(4.0) if waits else slow / quick < 1.02
    assert step(None) == step(speed.CORE_MS), "a host that is not known is a usual one"
    if compiled:
        more = step(2 * speed.CORE_MS, recorded=True) - step(speed.CORE_MS, recorded=True)
        assert more == pytest.approx(speed.BETWEEN), "one start for all kernels"


def test_what_waits_is_copied_while_the_card_waits_for_the_host():
    def step(core_ms: float, host_rate: float) -> float:
        with mock.patch.object(speed, "HOST_RATE", host_rate):
            card, setting = replace(H200, core_ms=core_ms), {"tokens": 2048, "recompute": 0.5}
            return 2048 / speed.tokens_per_second(
                model(LLAMA), "lora", card, compiled=True, host=True, **setting
            )

    assert step(2.0, 50e9) == step(2.0, 200e9), "the host has not started the next layer yet"
    assert step(0.01, 20e9) > 1.1 * step(0.01, 200e9)


def test_mixtures_and_norms_of_queries_take_longer_to_start_uncompiled():
    def layer_of(name: str, compiled: bool) -> float:
        shape = model(name)
        found = speed.tokens_per_second(shape, "lora", H200, tokens=64, recompute=0.0, compiled=compiled)
        return (64 / found - speed.BETWEEN) / shape.layers

    usual = layer_of(LLAMA, False)
    assert layer_of(MIXTURE, False) == pytest.approx(speed.MIXED * usual)
    assert layer_of("Qwen/Qwen3-8B", False) == pytest.approx(speed.NORMED * usual)
    assert layer_of("Qwen/Qwen3-8B", True) == pytest.approx(layer_of(LLAMA, True))


SHAPES = st.sampled_from([shape_from_config(one.id, one.config, hub=True) for one in catalogue()])
CARDS = st.sampled_from([card_named(one.name) for one in known_cards() if one.tflops])


@given(
    SHAPES,
    CARDS,
    st.sampled_from(["full", "lora", "qlora"]),
    st.integers(16, 65_536),
    st.booleans(),
    st.booleans(),
)
def test_less_memory_is_never_faster_nor_uncompiled_layers(shape, card, method, tokens, compiled, host):
    def at(dial: float, compiled: bool = compiled, host: bool = host) -> float:
        setting = {"tokens": tokens, "recompute": dial, "compiled": compiled, "host": host}
        found = speed.tokens_per_second(shape, method, card, **setting)
        assert found is not None and found > 0
        return found

    places = [at(place / 8) for place in range(9)]
    assert all(later <= sooner * 1.0001 for sooner, later in pairwise(places))
    assert at(0.5, True, host=False) >= at(0.5, False), "what waits in the host's memory may wait for it"


def test_larger_passes_are_faster_on_a_fast_card():
    shares = [rate(0.5, tokens=tokens) / rate(0.5, tokens=65_536) for tokens in (2048, 8192, 16_384)]
    assert shares == sorted(shares) and shares[0] < 0.94 and shares[1] > 0.96


def test_a_card_that_is_not_known_has_no_rate():
    shape = model(LLAMA)
    assert speed.tokens_per_second(shape, "lora", card_of_size(24), tokens=2048, recompute=1) is None


# -- compiling


def test_compiling_pays_on_runs_of_more_than_three_minutes():
    assert pays(600, "cuda")[0] and not pays(60, "cuda")[0] and pays(None, "gpu")[0]
    _, why = pays(600, "cuda")
    assert "10 min" in why
    assert pays(60, "cuda", asked=True) == (True, "as asked")
    assert pays(6000, "cuda", asked=False) == (False, "as asked")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kind": "cpu"}, "no CUDA card"),
        ({"objective": "dpo"}, "DPO"),
        ({"capable": False}, "8.0"),
    ],
)
def test_where_layers_cannot_be_compiled_asking_does_not_help(changes, why):
    compiled, reason = pays(6000, asked=True, **({"kind": "cuda"} | changes))
    assert not compiled and why in reason


@pytest.mark.parametrize(
    ("name", "asks", "changes", "what"),
    [
        (MIXTURE, True, {}, "experts"),
        (MIXTURE, False, {}, ""),
        (LLAMA, False, {"lora": {"dora": True}}, "DoRA"),
        (LLAMA, False, {}, ""),
    ],
)
def test_what_the_compiler_gives_up_on_is_not_compiled_unless_asked_for(name, asks, changes, what):
    shape = replace(model(name), balanced=asks)
    found = gives_up_on(shape, spec(name, **changes), "lora")
    assert what in found and bool(found) == bool(what)
    assert pays(6000, "cuda", gives_up=found)[0] == (not what)
    assert pays(6000, "cuda", gives_up=found, asked=True)[0], "it may have learned"
    work = work_of(spec(name, **changes), shape, H200, None, "lora")
    assert may_compile(work)[0] == (not what)


def test_the_worker_reckons_a_run_as_the_plan_does():
    asked = spec(LLAMA, batch=8, accumulate=2, method="lora", recompute=0.5, optimizer="adamw")
    seconds, compiled = training_seconds(asked, model(LLAMA), H200, tokens=2048, steps=100)
    assert seconds == pytest.approx(100 * 2 * TOKENS / rate(0.5, compiled=False), rel=0.01)
    assert compiled == pytest.approx(100 * 2 * TOKENS / rate(0.5, compiled=True, host=False), rel=0.01)
    unknown, _ = training_seconds(asked, model(LLAMA), card_of_size(24), tokens=2048, steps=100)
    assert unknown > seconds


def test_a_small_model_s_run_pays_for_compiling_sooner():
    """Its passes are recorded, which saves more than half of them and not a sixth."""

    def saves(name: str) -> bool:
        asked = spec(name, batch=8, accumulate=1, method="lora", recompute=0, optimizer="adamw")
        once, _ = training_seconds(asked, model(name), H200, tokens=1024, steps=100)
        steps = round(100 * 90 / once)
        seconds, compiled = training_seconds(asked, model(name), H200, tokens=1024, steps=steps)
        assert seconds == pytest.approx(90, rel=0.05)
        return pays(seconds, "cuda", compiled=compiled)[0]

    assert saves("Qwen/Qwen2.5-0.5B") and not saves(LLAMA)
