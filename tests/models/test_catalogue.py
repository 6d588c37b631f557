"""The catalogue's sizes are those that are published, and a misspelt id finds its nearest."""

import pytest

from core.models.catalogue import catalogue, entry, nearest_model
from core.models.shape import read_shape
from tests.models.published import PUBLISHED


def test_parameters_as_published():
    wrong = {
        name: found.parameters if (found := entry(name)) else None
        for name, parameters in PUBLISHED.items()
        if entry(name) is None or abs(entry(name).parameters / parameters - 1) > 0.001
    }
    assert not wrong


def test_every_size_has_a_published_figure():
    sizes = {entry(name).parameters for name in PUBLISHED}
    assert {one.parameters for one in catalogue()} <= sizes


def test_every_entry_is_whole_and_named_once():
    entries = catalogue()
    assert len(entries) >= 240
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
        ("llama-3.1-8b", "meta-llama/Llama-3.1-8B"),
        ("Qwen2.5-7B-instruct", "Qwen/Qwen2.5-7B-Instruct"),
        ("mistral-7b-v0.3", "mistralai/Mistral-7B-v0.3"),
        ("phi4", "microsoft/phi-4"),
        ("qwen3 8b", "Qwen/Qwen3-8B"),
        ("gemma2-9b", "google/gemma-2-9b"),
        ("llama3.1-8b", "meta-llama/Llama-3.1-8B"),
        ("llama-3-8b", "meta-llama/Meta-Llama-3-8B"),
        ("meta-llama/Llama-3-8B-Instruct", "meta-llama/Meta-Llama-3-8B-Instruct"),
        ("qwen/qwen-2.5-7b-instruct", "Qwen/Qwen2.5-7B-Instruct"),
        ("smollm3", "HuggingFaceTB/SmolLM3-3B"),
        ("mixtral", "mistralai/Mixtral-8x7B-v0.1"),
        ("tinyllama", "TinyLlama/TinyLlama_v1.1"),
        ("deepseek-r1-distill-qwen-7b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"),
        ("gpt-oss-20b", "openai/gpt-oss-20b"),
        ("", None),
        ("x", None),
        ("completely/else", None),
    ],
)
def test_a_misspelt_id_finds_its_nearest(typed, meant):
    assert nearest_model(typed) == meant


def test_gpt_oss_is_downloaded_small_and_tuned_whole():
    shape = read_shape("openai/gpt-oss-20b")
    assert shape.weight_bytes < 14e9 < 2 * shape.parameters and shape.tunable == ("full", "lora")
    assert any("16 bits" in note for note in shape.notes)


def test_rows_are_not_packed_where_layers_hand_on_what_they_read():
    from core.plan.cards import card_here
    from core.plan.findings import of_box
    from tests.plan.boxes import box, gpu, spec

    def found(model: str) -> set[str]:
        asked = spec(model, packing=True)
        stops = of_box(asked, machine, read_shape(model), card_here(asked, machine))
        return {one.code for one in stops if one.severity == "stop"}

    machine = box(gpu(24))
    assert "packing_in_order" in found("Qwen/Qwen3.5-2B") and "packing_in_order" in found(
        "LiquidAI/LFM2-1.2B"
    )
    assert "packing_in_order" not in found("Qwen/Qwen3-1.7B")
