"""Each family, built small by transformers without weights: its parameters and matrices are those counted."""

import json
import re
from collections import Counter

import pytest

from core.models.count import count
from core.models.traits import TRAITS
from core.train.model import all_linear

SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 100,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
EXPERTS = {"num_experts_per_tok": 2}
OWN = {
    "gpt2": {"n_inner": None, "intermediate_size": None},
    "gpt_neox": {"num_key_value_heads": None},
    "mixtral": {**EXPERTS, "num_local_experts": 4},
    "granitemoe": {**EXPERTS, "num_local_experts": 4},
    "gpt_oss": {**EXPERTS, "num_local_experts": 4, "head_dim": 32},
    "olmoe": {**EXPERTS, "num_experts": 4},
    "qwen2_moe": {
        **EXPERTS,
        "num_experts": 4,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 48,
    },
    "qwen3_moe": {
        **EXPERTS,
        "num_experts": 4,
        "moe_intermediate_size": 32,
        "head_dim": 32,
        "mlp_only_layers": [1],
    },
    "qwen3": {"head_dim": 32},
    "hunyuan_v1_dense": {"head_dim": 16},
    "ministral": {"head_dim": 16},
    "glm4": {"attention_bias": True},
    "seed_oss": {"attention_bias": True},
    "stablelm": {"use_qkv_bias": True},
    "lfm2": {"full_attn_idxs": [2]},
    "qwen3_5": {"head_dim": 32},
}
LATER = {"qwen3_5_text"}
"""The language part of qwen3_5, built with that."""
LAYER = re.compile(r"\.(?:layers|h)\.(\d+)\.")


def built(family: str):
    """(config.json as transformers would write it, the module tree on the meta device)."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    options = {key: value for key, value in {**SMALL, **OWN.get(family, {})}.items() if value is not None}
    if family == "gpt2":
        options = {"n_embd": 64, "n_layer": 4, "n_head": 4, "vocab_size": 100, "n_positions": 64}
    if family in ("qwen3_5", "gemma3"):
        config = AutoConfig.for_model(family, text_config=options)
    else:
        config = AutoConfig.for_model(family, **options)
    with torch.device("meta"):
        return config.to_dict(), AutoModelForCausalLM.from_config(config)


def adapted(model) -> Counter:
    """How many matrices of each (name, in, out) a run's LoRA on all linears adapts."""
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora import LoraLayer, ParamWrapper

    config = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=all_linear(model))
    found: Counter = Counter()
    for name, module in get_peft_model(model, config).named_modules():
        if isinstance(module, LoraLayer):
            assert not isinstance(module, ParamWrapper), f"{name} holds experts"
            assert LAYER.search(name), f"{name} is in no layer"
            ends = module.lora_A["default"].in_features, module.lora_B["default"].out_features
            found[name.rsplit(".", 1)[-1].removesuffix("_proj"), *ends] += 1
    return found


@pytest.mark.parametrize("family", sorted(set(TRAITS) - LATER))
def test_counted_as_built(family):
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if family not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {family}")
    config, model = built(family)
    counted = count(config)
    assert counted.known
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    inside = {id(one): one.numel() for part in (decoder, head) for one in part.parameters()}
    assert counted.parameters == sum(inside.values())
    expected: Counter = Counter()
    for layers, linears in counted.kinds:
        for name, inside, outside in linears:
            expected[name, inside, outside] += layers
    assert dict(expected) == dict(adapted(model))


@pytest.mark.parametrize("family", sorted(set(TRAITS) - LATER))
def test_rows_share_a_line_where_the_plan_says_so(family, monkeypatch):
    """Not the other way round: a plan that takes every pass for full is only too careful."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from core.models.shape import shape_from_config
    from core.plan.work import shares_a_line
    from core.train.engine import attention
    from core.train.engine.head import is_plain

    if family not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {family}")
    config, model = built(family)
    if not shares_a_line(shape_from_config(family, config)):
        return
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(model.config)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    assert attention.takes_lines(model, torch.bfloat16) == (True, "")
    assert is_plain(model)


def test_experts_in_mxfp4_are_loaded_in_whole_weights_to_be_tuned(tmp_path):
    import torch
    from safetensors.torch import save_file

    from core.models.shape import read_folder
    from core.spec import parse_spec
    from core.train import model as trained
    from core.train.device import Device

    torch.manual_seed(0)
    config, _ = built("gpt_oss")
    whole = {name: one.shape for name, one in built("gpt_oss")[1].named_parameters()}
    stored = {}
    for name, shape in whole.items():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            experts, inside, outside = shape
            stored[f"{name}_blocks"] = torch.randint(
                0, 256, (experts, outside, inside // 32, 16), dtype=torch.uint8
            )
            stored[f"{name}_scales"] = torch.full((experts, outside, inside // 32), 120, dtype=torch.uint8)
        else:
            stored[name] = torch.randn(shape, dtype=torch.bfloat16) / 10
    save_file(stored, tmp_path / "model.safetensors", metadata={"format": "pt"})
    said = {
        **config,
        "architectures": ["GptOssForCausalLM"],
        "quantization_config": {"quant_method": "mxfp4"},
    }
    (tmp_path / "config.json").write_text(json.dumps(said, default=str))

    shape = read_folder(tmp_path, "mine")
    assert shape.parameters == sum(one.numel() for one in whole.values())
    spec = parse_spec({"model": str(tmp_path), "data": "none", "method": "lora", "lora": {"rank": 2}})
    loaded = trained.load(spec, tmp_path, Device("cpu", "fp32"))
    kinds = {name: one.dtype for name, one in loaded.named_parameters() if "lora" not in name}
    assert set(kinds.values()) == {torch.float32} and not any("blocks" in name for name in kinds)
    out = loaded(torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]]))
    out.loss.backward()
    assert torch.isfinite(out.loss)


@pytest.mark.parametrize("family", ["llama", "lfm2", "qwen3_5", "qwen3_moe", "gpt2"])
def test_adapters_are_planned_as_peft_makes_them(family):
    from peft import LoraConfig, get_peft_model

    from core.models.shape import shape_from_config
    from core.plan.standing import adapter_parameters

    config, model = built(family)
    shape = shape_from_config("mine", config)
    tuned = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=all_linear(model)))
    assert adapter_parameters(shape, 4) == tuned.get_nb_trainable_parameters()[0]


@pytest.mark.parametrize(("family", "takes"), [("qwen3", True), ("lfm2", False), ("qwen3_5", False)])
def test_rows_lie_on_one_line_where_no_layer_hands_on_what_it_read(family, takes, monkeypatch):
    import torch

    from core.models.shape import shape_from_config
    from core.train.engine.attention import takes_lines

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    config, model = built(family)
    assert takes_lines(model, torch.bfloat16)[0] is takes
    assert shape_from_config("mine", config).in_order is not takes
