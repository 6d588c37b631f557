"""Each family, built small by transformers without weights: its parameters and matrices are those counted."""

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
LATER = {
    "qwen3_5_text": "the language part of qwen3_5",
    "gemma3": "sees too: its language part is gemma3_text",
}
LAYER = re.compile(r"\.(?:layers|h)\.(\d+)\.")


def built(family: str):
    """(config.json as transformers would write it, the module tree on the meta device)."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    options = {key: value for key, value in {**SMALL, **OWN.get(family, {})}.items() if value is not None}
    if family == "gpt2":
        options = {"n_embd": 64, "n_layer": 4, "n_head": 4, "vocab_size": 100, "n_positions": 64}
    if family == "qwen3_5":
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


@pytest.mark.parametrize("family", sorted(set(TRAITS) - set(LATER)))
def test_counted_as_built(family):
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if family not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {family}")
    config, model = built(family)
    counted = count(config)
    assert counted.known
    assert counted.parameters == sum(one.numel() for one in model.parameters())
    expected: Counter = Counter()
    for layers, linears in counted.kinds:
        for name, inside, outside in linears:
            expected[name, inside, outside] += layers
    assert dict(expected) == dict(adapted(model))
