"""The closed form against peaks measured on a card, against traced layers, and against itself."""

import json
import subprocess
import sys
import time
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.models.catalogue import catalogue
from core.models.shape import shape_from_config
from core.plan import layers, loss, standing
from core.plan.dial import Hold
from core.plan.memory import Bytes, estimate, host_holds
from tests.plan.boxes import GIB, model
from tests.plan.trace_layers_sizes import SIZES

LLAMA = "meta-llama/Llama-3.1-8B"
TOKENS = 16_384
MEASURED = {Hold.ALL: 1478, Hold.NARROW: 581, Hold.INPUT: 128}
"""MiB that a compiled layer of Llama-3.1-8B holds of 8 x 2,048 tokens, r 16: one H200, torch 2.11."""


@pytest.mark.parametrize("kind", MEASURED)
def test_a_layer_holds_what_was_measured_on_an_h200(kind):
    one = layers.layer(model(LLAMA), "lora", compute=2, rank=16, compiled=True)
    assert TOKENS * one.held[kind] / 2**20 == pytest.approx(MEASURED[kind], rel=0.03)


def test_a_layer_that_goes_backward_takes_what_was_measured_on_an_h200():
    one = layers.layer(model(LLAMA), "lora", compute=2, rank=16, compiled=True)
    beside = {kind: TOKENS * (one.live - one.held[kind]) / GIB for kind in (Hold.NARROW, Hold.INPUT)}
    assert beside[Hold.NARROW] == pytest.approx(2.0, rel=0.03)
    assert beside[Hold.INPUT] == pytest.approx(2.5, rel=0.05)
    eager = layers.layer(model(LLAMA), "lora", compute=2, rank=16, compiled=False)
    assert TOKENS * eager.held[Hold.ALL] / 2**20 == pytest.approx(2910, rel=0.03), "as the plain trainer"
    assert eager.live > one.live


def test_a_fused_matrix_is_wide_and_so_is_every_chosen_expert():
    phi = model("microsoft/Phi-4-mini-instruct")
    assert any(name == "qkv" for name, *_ in phi.linears)
    one = layers.layer(phi, "lora", compute=2, rank=16, compiled=True)
    narrow = 2 * (2 * phi.hidden + phi.heads * phi.head_dim + 16 * len(phi.linears)) + 4 * phi.heads
    assert one.held[Hold.NARROW] == narrow, "neither qkv nor gate and up are kept"
    qkv = next(out for name, _, out in phi.linears if name == "qkv")
    assert one.held[Hold.ALL] - narrow == 2 * (qkv + 2 * phi.intermediate)
    mixture = next(shape for shape in ALL_SHAPES if shape.experts)
    kept = layers.layer(mixture, "lora", compute=2, rank=16, compiled=True)
    chosen = mixture.experts_per_token * mixture.expert_intermediate
    made = 2 * chosen + mixture.experts_per_token * mixture.hidden
    assert kept.held[Hold.ALL] - kept.held[Hold.NARROW] == 2 * made


def test_the_last_pieces_wait_in_the_hosts_memory():
    def at(dial: float, **more: Any) -> Bytes:
        setting = {"batch": 8, "length": 2048, "compiled": True, "host": True} | more
        return estimate(model(LLAMA), "lora", recompute=dial, **setting)

    most = at(1.0)
    assert most.host % 2**30 == 0
    assert most.host == pytest.approx(32 * 576 * 2**20, abs=2**30), "32 layers' narrow tensors"
    assert most.total == sum(most.to_dict().values()) - most.total - most.host
    assert at(0.25).host == pytest.approx(most.host / 2, abs=2**30) and at(0.5).host == most.host
    with_input = at(1.0, host=False)
    assert with_input.host == 0 and with_input.total > most.total
    for refused in ({"compiled": False}, {"on_gpu": False}, {"objective": "dpo"}):
        assert at(1.0, **refused).host == 0, "there nothing can wait there"
    assert host_holds(10 * GIB, 16 * GIB) and not host_holds(10 * GIB, 15 * GIB)


def test_the_head_takes_a_piece_of_the_logits_and_not_all_of_them():
    shape = model(LLAMA)
    whole = TOKENS * shape.vocab * 2
    for compiled, gib in ((True, 1.1), (False, 1.3)):
        assert loss.loss(shape, TOKENS, 2, 0, compiled) / GIB == pytest.approx(gib, rel=0.05)
        assert loss.loss(shape, TOKENS, 2, 0, compiled) < whole / 2
    learned = loss.loss(shape, TOKENS, 2, 2, True) - loss.loss(shape, TOKENS, 2, 0, True)
    piece, left = 2 * 2**29, TOKENS % (2**28 // shape.vocab) * shape.vocab * 2
    cast = left + 2 * shape.embedding - piece
    assert learned == pytest.approx(4 * shape.embedding + cast, rel=0.01), "summed in fp32, cast at the end"


def test_the_engine_cuts_the_logits_into_the_same_pieces():
    script = (
        "from core.train.engine import head, host; from core.plan import loss, memory;"
        "assert head.PIECE == loss.PIECE and head.MOST_TOKENS == loss.PIECE_TOKENS[1];"
        "assert host.SLAB == memory.SLAB"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def traced() -> dict[str, dict[str, float]]:
    """What real layers keep, measured by a process that loads torch."""
    script = Path(__file__).with_name("trace_layers.py")
    command = [sys.executable, "-W", "ignore", "-m", f"tests.plan.{script.stem}", "llama"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=script.parents[2])
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_a_layer_keeps_is_what_torch_keeps(traced, method):
    shape = shape_from_config("traced", {**SIZES, "model_type": "llama", "num_hidden_layers": 1})
    real = traced[f"llama/{method}"]
    mask = 256 * 2  # bytes a token of the mask as a bias: length x c
    ours = layers.plain(shape, method, 2, 4, True) + mask
    assert ours == pytest.approx(real["kept"], rel=0.03)
    assert real["recomputed"] == 2 * shape.hidden, "recompute keeps a layer's input alone"
    if method == "lora":
        passing = layers.passing(shape, 2) + ours  # of a layer that autograd keeps all of
        assert passing == pytest.approx(real["passing"], rel=0.03)


METHODS = st.sampled_from(["full", "lora", "qlora"])
ALL_SHAPES = [shape_from_config(one.id, one.config, hub=True) for one in catalogue()]
SHAPES = st.sampled_from(ALL_SHAPES)
SETTINGS = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 32),
        "length": st.integers(16, 8192),
        "rank": st.integers(1, 256),
        "recompute": st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.75, 1.0]),
        "compiled": st.booleans(),
        "host": st.booleans(),
        "optimizer": st.sampled_from(["adamw", "adamw_8bit", "adafactor"]),
        "precision": st.sampled_from(["bf16", "fp16", "fp32"]),
        "accumulate": st.integers(1, 8),
        "on_gpu": st.booleans(),
    }
)


@given(SHAPES, METHODS, SETTINGS)
def test_no_part_is_less_than_nothing_and_the_total_is_their_sum(shape, method, setting):
    held = estimate(shape, method, **setting)
    parts = held.to_dict()
    total, host = parts.pop("total"), parts.pop("host")
    assert host >= 0 and (host == 0 or setting["host"])
    assert all(isinstance(part, int) and part >= 0 for part in parts.values())
    assert total == sum(parts.values()) == held.total
    assert set(parts) == {one.name for one in fields(Bytes)} - {"host"}


@given(SHAPES, METHODS, SETTINGS, st.sampled_from(["batch", "length", "rank"]))
def test_more_of_anything_never_takes_less(shape, method, setting, key):
    if key == "rank":  # what goes into larger adapters is worth the way to the host
        setting = {**setting, "host": False}
    more = {**setting, key: setting[key] * 2}
    assert estimate(shape, method, **more).total >= estimate(shape, method, **setting).total


@given(SHAPES, METHODS, SETTINGS)
def test_what_saves_memory_saves_it(shape, method, setting):
    def total(**changes: Any) -> int:
        return estimate(shape, method, **{**setting, **changes}).total

    # further on the dial keeps less beside the layer that is live: with one layer that saves nothing
    places = [total(recompute=place) for place in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert all(later <= sooner * 1.02 for sooner, later in pairwise(places))
    same = {"precision": "bf16", "host": False}
    # a piece of the logits is larger then, which few tokens beside a whole model's moments do not outweigh
    assert total(compiled=True, **same) <= 1.02 * total(compiled=False, **same)
    assert total(accumulate=1) <= total(accumulate=2)
    # on the way to its softmax a piece of 16-bit logits is copied more often than one of fp32, if uncompiled
    half = estimate(shape, method, **{**setting, "precision": "bf16", "compiled": True})
    rounded = half.adapters // 3  # of adapters that learn in fp32
    assert half.total - rounded <= total(precision="fp32", compiled=True)


@given(SHAPES, SETTINGS)
def test_a_frozen_model_takes_less_than_one_that_learns(shape, setting):
    setting = {**setting, "optimizer": "adamw", "precision": "bf16"}
    lora, qlora = estimate(shape, "lora", **setting), estimate(shape, "qlora", **setting)
    assert qlora.weights < lora.weights
    # fp32, and rounded copies in bf16
    assert qlora.adapters == lora.adapters == standing.adapter_parameters(shape, setting["rank"]) * 6
    full = estimate(shape, "full", **setting)
    assert full.gradients == full.weights == 2 * shape.parameters and full.optimizer == 2 * full.weights


def test_eight_bits_leave_the_embeddings_moments_in_fp32():
    shape = model("Qwen/Qwen3-0.6B")
    held = estimate(shape, "full", batch=1, length=128, optimizer="adamw_8bit")
    rest = shape.parameters - shape.embedding
    assert held.optimizer == pytest.approx(8 * shape.embedding + 2 * rest, rel=0.01)


def test_adapters_on_some_matrices_only():
    shape = model("meta-llama/Llama-3.1-8B")
    attention = standing.adapter_parameters(shape, 16, ["q_proj", "v_proj"])
    assert attention == 32 * 16 * ((4096 + 4096) + (4096 + 1024))
    assert standing.adapter_parameters(shape, 16) == 41_943_040


def test_dora_keeps_two_results_of_each_matrix():
    """Traced: a layer of the traced sizes keeps 24,281 bytes a token with DoRA and 12,962 with LoRA alone."""
    shape = shape_from_config("traced", {**SIZES, "model_type": "llama", "num_hidden_layers": 8})
    plain, dora = (
        layers.layer(shape, "lora", compute=2, rank=4, compiled=False, padded=True, twice=dora, dora=dora)
        for dora in (False, True)
    )
    assert dora.held[Hold.ALL] - plain.held[Hold.ALL] == pytest.approx(24_281 - 12_962, rel=0.15)
    assert dora.held[Hold.NARROW] > plain.held[Hold.NARROW]
    setting = {"batch": 16, "length": 256, "recompute": 0.5, "rank": 4}
    assert (
        estimate(shape, "lora", dora=True, **setting).adapters > estimate(shape, "lora", **setting).adapters
    )
    assert estimate(shape, "lora", dropout=True, **setting).total > estimate(shape, "lora", **setting).total


def test_four_bits_turned_back_are_kept_where_nobody_says_what_is_kept():
    setting = {"batch": 1, "length": 64, "recompute": 0.0}

    def kept(**how: Any) -> int:
        held = estimate(model(LLAMA), "qlora", **setting, **how)
        return held.kept + held.live

    assert kept(on_gpu=False) > 32 * 0.4 * GIB
    assert kept() < kept(compiled=True) + GIB, "on a card every layer is told"


def test_attention_that_writes_its_scores_takes_their_square():
    """Traced, four layers of Gemma 2 9B's width: 12.74, 8.96 and 6.17 GiB of tensors."""
    sizes = {"hidden_size": 3584, "intermediate_size": 14336, "num_attention_heads": 16, "head_dim": 256}
    sizes |= {"num_key_value_heads": 8, "vocab_size": 256_000, "num_hidden_layers": 4}
    capped = shape_from_config("traced", {**sizes, "model_type": "gemma2"})
    assert capped.scaled_logits
    eight = {"batch": 8, "length": 2048, "compiled": True, "host": True}
    for setting, gib in (
        ({**eight, "recompute": 0.0}, 12.74),
        ({**eight, "recompute": 1.0}, 8.96),
        ({"batch": 2, "length": 1024, "recompute": 0.0}, 6.17),
    ):
        assert estimate(capped, "lora", **setting).tensors / GIB == pytest.approx(gib, rel=0.05)
    longer = estimate(capped, "lora", batch=1, length=8192, recompute=1.0)
    shorter = estimate(capped, "lora", batch=4, length=2048, recompute=1.0)
    assert longer.total > shorter.total + 3 * 16 * 8192 * 6144 * 2, "the same tokens in longer rows"


def test_what_a_norm_after_the_mlp_asks_for_waits_with_the_narrow_tensors():
    """Traced, Gemma 2 9B: 59.74 GiB of tensors and 27 of the host's memory."""
    sizes = {"hidden_size": 3584, "intermediate_size": 14336, "num_attention_heads": 16, "head_dim": 256}
    sizes |= {"num_key_value_heads": 8, "vocab_size": 256_000, "num_hidden_layers": 42}
    shape = shape_from_config("traced", {**sizes, "model_type": "gemma2"})
    held = estimate(shape, "lora", batch=8, length=2048, recompute=0.5, compiled=True, host=True)
    assert held.tensors / GIB == pytest.approx(59.74, rel=0.02) and held.host == 27 * GIB


def test_a_mixtures_chosen_experts_are_counted_where_they_go_backward():
    """Traced, 24 layers of Qwen3 30B-A3B with 32 experts: 40.77, 31.89 and 11.27 GiB of tensors."""
    sizes = {"hidden_size": 2048, "intermediate_size": 6144, "num_attention_heads": 32, "head_dim": 128}
    sizes |= {"num_key_value_heads": 4, "vocab_size": 151_936, "num_hidden_layers": 24, "num_experts": 32}
    sizes |= {"num_experts_per_tok": 8, "moe_intermediate_size": 768, "tie_word_embeddings": True}
    shape = shape_from_config("traced", {**sizes, "model_type": "qwen3_moe"})
    for dial, gib in ((0.0, 40.77), (0.5, 31.89), (1.0, 11.27)):
        held = estimate(shape, "lora", batch=8, length=2048, recompute=dial, compiled=True, host=True)
        assert held.tensors / GIB == pytest.approx(gib, rel=0.02)


def test_layers_of_several_kinds_are_each_counted():
    """Traced, four layers of Qwen3.5 4B, three with a delta rule: 10.67 and 6.53 GiB without compilation."""
    shape = model("Qwen/Qwen3.5-4B")
    few = replace(
        shape,
        layers=4,
        kinds=tuple((many * 4 // shape.layers, linears) for many, linears in shape.kinds),
        parameters=1_320_000_000,
    )
    again = estimate(few, "lora", batch=8, length=2048, recompute=1.0)
    kept = estimate(few, "lora", batch=2, length=1024, recompute=0.0)
    beside = again.weights + again.adapters + again.gradients + again.optimizer
    assert (again.tensors - beside) / 8 / 2048 == pytest.approx(563_000, rel=0.03), "bytes a token"
    assert kept.kept / GIB == pytest.approx(3.2, rel=0.05)


def test_the_matrix_library_has_room_of_its_own_by_the_kind_of_card():
    def on(**how: Any) -> int:
        return estimate(model(LLAMA), "lora", batch=1, length=512, **how).tensors

    older, newer = on(capability=(8, 9)), on(capability=(9, 0))
    assert newer - older == 2 * (32 * 2**20 - 8 * 2**20 - 2**17)
    assert on() == newer == on(capability=(12, 0)), "of a card that is not known the larger is taken"
    assert estimate(model(LLAMA), "lora", batch=1, length=512, on_gpu=False).temporary == 0


def test_it_takes_no_time():
    shape = model("meta-llama/Llama-3.1-8B")
    start = time.process_time()
    for _ in range(100):
        held = estimate(shape, "lora", batch=8, length=2048)
    assert time.process_time() - start < 0.1
    assert isinstance(held, Bytes)


settings.register_profile("plan", max_examples=60, deadline=None)
settings.load_profile("plan")
