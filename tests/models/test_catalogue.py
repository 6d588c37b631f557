"""The catalogue's sizes are those that are published, and a misspelt id finds its nearest."""

import pytest

from core.models.catalogue import catalogue, entry, nearest_model
from core.models.shape import read_shape

PUBLISHED = {
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "meta-llama/Llama-3.2-3B-Instruct": 3_212_749_824,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
    "meta-llama/Llama-3.1-70B": 70_553_706_496,
    "Qwen/Qwen2.5-0.5B-Instruct": 494_032_768,
    "Qwen/Qwen2.5-1.5B": 1_543_714_304,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-30B-A3B": 30_532_122_624,
    "google/gemma-2-9b": 9_241_705_984,
    "google/gemma-3-1b-it": 999_885_952,
    "google/gemma-3-4b-it": 4_300_079_472,
    "mistralai/Mistral-7B-v0.3": 7_248_023_552,
    "mistralai/Mixtral-8x7B-v0.1": 46_702_792_704,
    "microsoft/phi-2": 2_779_683_840,
    "microsoft/Phi-3.5-mini-instruct": 3_821_079_552,
    "microsoft/phi-4": 14_659_507_200,
    "HuggingFaceTB/SmolLM2-1.7B": 1_711_376_384,
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": 1_100_048_384,
    "allenai/OLMoE-1B-7B-0924": 6_919_161_856,
    "openai-community/gpt2": 124_439_808,
    "EleutherAI/pythia-1.4b": 1_414_647_808,
}


def test_parameters_as_published():
    assert {name: entry(name).parameters for name in PUBLISHED} == PUBLISHED  # type: ignore[union-attr]


def test_every_entry_is_whole_and_named_once():
    entries = catalogue()
    assert len(entries) >= 40
    assert len({one.id.lower() for one in entries}) == len(entries)
    for one in entries:
        assert one.id.count("/") == 1 and one.context and one.licence
        # an odd name for its size would be a slip in the table
        assert one.active_parameters <= one.parameters < 80e9
        assert one.hidden % 8 == 0 and one.layers >= 6


def test_a_known_model_needs_no_network(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    shape = read_shape("qwen/qwen3-0.6b")
    assert shape.parameters == 596_049_920 and shape.has_template and shape.weight_bytes == 2 * 596_049_920


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Qwen/Qwen3-0.6", "Qwen/Qwen3-0.6B"),
        ("Qwen3-8B", "Qwen/Qwen3-8B"),
        ("llama-3.2-1b-instruct", "meta-llama/Llama-3.2-1B-Instruct"),
        ("meta-lama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("gpt2", "openai-community/gpt2"),
        ("completely/else", None),
    ],
)
def test_a_misspelt_id_finds_its_nearest(typed, meant):
    assert nearest_model(typed) == meant
