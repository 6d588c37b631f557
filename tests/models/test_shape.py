"""Shapes are exact for models of published size, and folders that are no model are refused in a line."""

import json
import struct
from pathlib import Path

import pytest

from core.errors import UserError
from core.models.count import count
from core.models.shape import read_folder, read_shape, shape_from_config

REAL = "tokenizers/configs/real-arch"
LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 100,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
}
LLAMA_PARAMETERS = 100 * 64 + 64 + 2 * (2 * 64 + 64 * (64 + 2 * 32) + 64 * 64 + 3 * 64 * 128)


def published(shared: Path) -> dict[str, int]:
    held = json.loads((shared / REAL / "expected_params.json").read_text())
    return {name: one["params"] for name, one in held.items()}


def test_parameters_of_fifteen_published_models(shared):
    wanted = published(shared)
    assert len(wanted) >= 15
    found = {name: read_shape(str(shared / REAL / name)).parameters for name in wanted}
    assert found == wanted


def test_a_folder_with_weights_is_counted_from_their_headers(shared):
    expected = {
        "base-28m": 27_795_968,
        "tinystories-656k": 656_000,
        "stories260k": 260_032,
        "babyllama-361": 969_216,
    }
    for name, parameters in expected.items():
        shape = read_shape(str(shared / "models" / name))
        assert shape.parameters == parameters and not shape.estimated
        assert shape.has_weights and shape.has_tokenizer and shape.has_template is False
        files = sum(file.stat().st_size for file in (shared / "models" / name).glob("*.safetensors"))
        assert shape.weight_bytes == files
    assert read_shape(str(shared / "models/base-28m")).dtype_bytes == 2
    assert read_shape(str(shared / "models/stories260k")).dtype_bytes == 4


def folder(path: Path, config: dict, **files: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


def safetensors(file: Path, tensors: dict[str, tuple[str, list[int]]]) -> None:
    header = json.dumps(
        {
            name: {"dtype": dtype, "shape": shape, "data_offsets": [0, 0]}
            for name, (dtype, shape) in tensors.items()
        }
    ).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header)


def test_a_config_alone_is_enough(tmp_path):
    shape = read_folder(folder(tmp_path, LLAMA), "mine")
    assert shape.parameters == shape.active_parameters == LLAMA_PARAMETERS
    assert (shape.has_weights, shape.has_tokenizer, shape.has_template) == (False, False, None)
    assert shape.linears[:3] == (("q", 64, 64), ("k", 64, 32), ("v", 64, 32))
    assert shape.context == 256 and shape.tied


def test_a_head_that_is_a_copy_is_counted_once(tmp_path):
    folder(tmp_path, LLAMA)
    both = {"model.embed_tokens.weight": ("BF16", [100, 64]), "lm_head.weight": ("BF16", [100, 64])}
    safetensors(tmp_path / "model.safetensors", both | {"model.norm.weight": ("BF16", [64])})
    assert read_folder(tmp_path, "mine").parameters == 6400 + 64


def test_masks_and_frequencies_in_old_weights_are_no_parameters(tmp_path):
    folder(tmp_path, LLAMA)
    safetensors(
        tmp_path / "model.safetensors",
        {
            "model.norm.weight": ("F32", [64]),
            "h.0.attn.bias": ("F32", [1, 1, 256, 256]),
            "h.0.attn.c_attn.bias": ("F32", [192]),
            "model.layers.0.self_attn.rotary_emb.inv_freq": ("F32", [16]),
        },
    )
    shape = read_folder(tmp_path, "mine")
    assert shape.parameters == 64 + 192 and shape.dtype_bytes == 4


@pytest.mark.parametrize(
    "broken", [b"", b"\x00" * 4, struct.pack("<Q", 2**40) + b"{}", b"version https://git-lfs"]
)
def test_weights_that_cannot_be_read_leave_the_arithmetic(tmp_path, broken):
    folder(tmp_path, LLAMA)
    (tmp_path / "model.safetensors").write_bytes(broken)
    shape = read_folder(tmp_path, "mine")
    assert shape.parameters == LLAMA_PARAMETERS and not shape.has_weights
    assert any("cannot be used: model.safetensors" in note for note in shape.notes)


def test_where_a_chat_template_may_stand(tmp_path):
    base = folder(tmp_path / "a", LLAMA, tokenizer__json="{}", tokenizer_config__json="{}")
    assert read_folder(base, "a").has_template is False
    said = folder(
        tmp_path / "b", LLAMA, tokenizer__json="{}", tokenizer_config__json='{"chat_template": "x"}'
    )
    assert read_folder(said, "b").has_template is True
    apart = folder(tmp_path / "c", LLAMA, tokenizer__json="{}", chat_template__jinja="x")
    assert read_folder(apart, "c").has_template is True


def test_a_model_that_also_sees_is_described_by_its_language_part(tmp_path):
    config = {
        "model_type": "gemma3",
        "text_config": {**LLAMA, "model_type": "gemma3_text"},
        "vision_config": {},
    }
    shape = read_folder(folder(tmp_path, config), "mine")
    assert shape.hidden == 64 and shape.architecture == "gemma3_text"
    assert any("sees" in note for note in shape.notes)


def test_a_family_that_is_not_known_says_so(tmp_path):
    shape = read_folder(folder(tmp_path, {**LLAMA, "model_type": "zamba9"}), "mine")
    assert shape.estimated and "zamba9" in shape.notes[0]


def test_a_mixture_passes_a_token_through_its_chosen_experts():
    mixture = {**LLAMA, "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}
    dense, sparse = count(LLAMA), count(mixture)
    expert, router = 3 * 64 * 128, 64 * 8
    assert sparse.parameters - dense.parameters == 2 * (7 * expert + router)
    assert sparse.active_parameters - dense.parameters == 2 * (expert + router)
    assert [name for name, _, _ in sparse.linears] == ["q", "k", "v", "o"], "no LoRA reaches the experts"


def refusal(model: str) -> UserError:
    with pytest.raises(UserError) as caught:
        read_shape(model)
    assert "\n" not in caught.value.line()
    return caught.value


def test_what_is_no_model_is_refused_with_what_to_do(tmp_path):
    assert "no such folder" in refusal(str(tmp_path / "not-there")).why
    (tmp_path / "file.txt").write_text("hello")
    assert "it is a file" in refusal(str(tmp_path / "file.txt")).why
    inner = folder(tmp_path / "outer" / "inner", LLAMA)
    assert str(inner) in refusal(str(tmp_path / "outer")).todo
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    assert "adapter" in refusal(str(adapter)).todo
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/config.json").write_text("{not json")
    assert "cannot be read" in refusal(str(tmp_path / "bad")).what
    assert "hidden_size" in refusal(str(folder(tmp_path / "odd", {"model_type": "unheard"}))).why
    assert "continues text" in refusal(str(folder(tmp_path / "vision", {"model_type": "vit"}))).why
    encoder = folder(tmp_path / "t5", {**LLAMA, "model_type": "t5", "is_encoder_decoder": True})
    assert "encoder" in refusal(str(encoder)).why


@pytest.mark.parametrize("asks", [True, False])
def test_a_mixture_says_whether_its_config_asks_for_balance(asks):
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100}
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 96}
    told = {"model_type": "mixtral", **sizes, **experts, "output_router_logits": asks}
    assert shape_from_config("m", told).balanced is asks
    dense = {**sizes, "model_type": "llama", "intermediate_size": 96, "output_router_logits": asks}
    assert not shape_from_config("m", dense).balanced
