"""Odd configs, quantised weights and broken files: what is wrong is said in a line, whatever the JSON."""

import json
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import UserError
from core.models.shape import read_folder, shape_from_config
from core.models.traits import TRAITS
from tests.models.test_shape import LLAMA, LLAMA_PARAMETERS, folder, refusal, safetensors


def test_weights_that_are_missing_or_cut_off_are_named(tmp_path):
    folder(tmp_path, LLAMA)
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    header = b'{"a":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}}'
    whole = struct.pack("<Q", len(header)) + header + b"\0" * 8
    (tmp_path / "model-1.safetensors").write_bytes(whole)
    assert "model-2.safetensors is missing" in read_folder(tmp_path, "mine").notes[-1]
    (tmp_path / "model-2.safetensors").write_bytes(whole[:-1])
    assert "model-2.safetensors was cut off" in read_folder(tmp_path, "mine").notes[-1]
    index["weight_map"]["b"] = "../model-1.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    shape = read_folder(tmp_path, "mine")
    assert "names no weight files" in shape.notes[-1] and not shape.has_weights


def test_where_config_and_files_disagree_both_are_said_and_the_files_trusted(tmp_path):
    folder(tmp_path, LLAMA)
    safetensors(tmp_path / "model.safetensors", {"model.embed_tokens.weight": ("BF16", [100, 64])})
    shape = read_folder(tmp_path, "mine")
    assert shape.parameters == 6400
    assert any(f"{LLAMA_PARAMETERS:,}" in note and "6,400" in note for note in shape.notes)
    safetensors(tmp_path / "model.safetensors", {"model.embed_tokens.weight": ("BF16", [104, 64])})
    assert any("100 tokens, and its embedding has 104" in note for note in read_folder(tmp_path, "m").notes)


def test_what_lies_beside_the_language_model_is_loaded_or_left_out(tmp_path):
    text = {**LLAMA, "model_type": "gemma3_text"}
    stored = {"language_model.model.norm.weight": ("BF16", [64]), "vision_tower.x.weight": ("BF16", [10])}
    folder(tmp_path / "a", {"model_type": "gemma3", "text_config": text, "vision_config": {}})
    safetensors(tmp_path / "a/model.safetensors", stored)
    loaded = read_folder(tmp_path / "a", "a")
    assert (loaded.parameters, loaded.other_parameters) == (74, 10)
    stored = {"model.language_model.norm.weight": ("BF16", [64]), "model.visual.x": ("BF16", [10])}
    stored["mtp.fc.weight"] = ("BF16", [7])
    text = {**text, "model_type": "qwen3_5_text"}
    folder(tmp_path / "b", {"model_type": "qwen3_5", "text_config": text, "vision_config": {}})
    safetensors(tmp_path / "b/model.safetensors", stored)
    left = read_folder(tmp_path / "b", "b")
    assert (left.parameters, left.other_parameters) == (64, 0)
    assert any("left out" in note for note in left.notes)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"quant_method": "gptq", "bits": 4}, "GPTQ in 4 bits"),
        ({"quant_method": "awq", "bits": 4}, "AWQ"),
        ({"quant_method": "fp8"}, "FP8"),
        ({"quant_method": "compressed-tensors"}, "COMPRESSED-TENSORS"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "8 bits"),
        ("gptq", "quantization_config: 'gptq'"),
        ({"bits": "x"}, "some quantised form"),
    ],
)
def test_quantised_weights_that_cannot_be_tuned_are_refused_with_the_whole_model(tmp_path, told, words):
    where = folder(tmp_path / "Qwen2.5-7B-Instruct-GPTQ-Int4", {**LLAMA, "quantization_config": told})
    refused = refusal(str(where))
    assert words in refused.why and "such as Qwen/Qwen2.5-7B-Instruct;" in refused.todo


def test_no_model_is_guessed_where_the_name_does_not_tell(tmp_path):
    where = folder(tmp_path / "gptq", {**LLAMA, "quantization_config": {"quant_method": "gptq"}})
    assert "such as" not in refusal(str(where)).todo


def test_quantised_weights_that_can_be_tuned_say_how(tmp_path):
    whole = read_folder(folder(tmp_path / "whole", {**LLAMA, "quantization_config": {}}), "whole")
    assert whole.tunable == ("full", "lora", "qlora")
    four = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    shape = read_folder(folder(tmp_path / "a", {**LLAMA, "quantization_config": four}), "a")
    assert shape.tunable == ("qlora",) and any("QLoRA alone" in note for note in shape.notes)
    mxfp4 = {**LLAMA, "quantization_config": {"quant_method": "mxfp4"}}
    shape = read_folder(folder(tmp_path / "b", mxfp4), "b")
    assert shape.tunable == ("full", "lora") and any("16 bits" in note for note in shape.notes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": None}, "lacks hidden_size"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"hidden_size": -64}, "hidden_size is -64"),
        ({"hidden_size": 64.5}, "hidden_size is 64.5, not a whole number"),
        ({"hidden_size": "64"}, "hidden_size is '64'"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"hidden_size": 10**12}, "hidden_size is 1000000000000"),
        ({"hidden_size": 66}, "cannot be divided among 4 attention heads"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000"),
        ({"num_key_value_heads": 3}, "cannot share 3"),
        ({"num_key_value_heads": 0}, "num_key_value_heads is 0"),
        ({"vocab_size": 0}, "vocab_size is 0"),
        ({"intermediate_size": [64, 128]}, "intermediate_size differs from layer to layer"),
        ({"tie_word_embeddings": "false"}, "not true or false"),
        ({"num_local_experts": 4, "num_experts_per_tok": 8}, "num_experts_per_tok is 8"),
        ({"num_local_experts": 4}, "num_experts_per_tok is None"),
        ({"is_encoder_decoder": True}, "an encoder and a decoder"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "writes no text"),
        ({"model_type": "made-up", "auto_map": {"AutoModel": "m.M"}}, "brings its own code"),
        ({"model_type": "mistral3", "text_config": LLAMA}, "for other uses"),
    ],
)
def test_a_shape_that_cannot_be_is_said(tmp_path, changes, words):
    refused = refusal(str(folder(tmp_path / "m", {**LLAMA, **changes})))
    assert words in refused.why and refused.todo


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=9), one, max_size=3),
    max_leaves=6,
)
KEYS = sorted(
    {*LLAMA, "head_dim", "text_config", "quantization_config", "architectures", "auto_map", "layer_types"}
    | {"num_experts", "num_experts_per_tok", "moe_intermediate_size", "vision_config", "dtype", "n_inner"}
    | {"mlp_only_layers", "decoder_sparse_step", "full_attn_idxs", "is_encoder_decoder", "use_qk_norm"}
)


@settings(max_examples=300, deadline=None)
@given(
    family=st.sampled_from(sorted(TRAITS)) | st.text(max_size=9) | JSON,
    changes=st.dictionaries(st.sampled_from(KEYS), JSON | st.integers(1, 128), max_size=4),
)
def test_no_config_ends_in_a_traceback(family, changes):
    try:
        shape = shape_from_config("mine", {**LLAMA, "model_type": family, **changes})
    except UserError as error:
        assert "\n" not in error.line()
        return
    assert 0 < shape.active_parameters <= shape.parameters and shape.linears


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=JSON, header=JSON, index=JSON, tokenizer=JSON)
def test_no_folder_ends_in_a_traceback(tmp_path, config, header, index, tokenizer):
    whole = json.dumps({**LLAMA, **config} if isinstance(config, dict) else config)
    (tmp_path / "config.json").write_text(whole)
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    text = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    listing = tmp_path / "model.safetensors.index.json"
    for listed in (False, True):
        listing.unlink(missing_ok=True)
        if listed:
            listing.write_text(json.dumps({"weight_map": index}))
        try:
            read_folder(tmp_path, "mine")
        except UserError as error:
            assert "\n" not in error.line()


def test_json_that_is_none_is_said(tmp_path):
    for text in (b"", b"[1]", b"nan", b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"):
        (tmp_path / "config.json").write_bytes(text)
        assert "cannot be read" in refusal(str(tmp_path)).what
