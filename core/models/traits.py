"""How families of decoder models differ from Llama, as far as their parameters and matrices go.

Read off the modelling code of transformers 5.23; `tests/models/test_modules.py` builds each family and
compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Traits:
    """The fields' defaults are Llama."""

    qkv_bias: bool = False
    """Where the config does not say."""
    qkv_bias_key: str = "attention_bias"
    """Under which name it says so; "": it is not asked."""
    out_bias: bool | None = None
    """None: as q, k and v; else always or never."""
    mlp_bias: bool = False
    mlp_bias_key: str = "mlp_bias"
    head_bias: bool = False
    gated: bool = True
    """The MLP has a gate beside up and down."""
    fused_qkv: bool = False
    fused_mlp: bool = False
    """Gate and up are one matrix."""
    norms: int = 2
    """Norms of the hidden size in a layer."""
    norm_bias: bool = False
    """LayerNorm (weight and bias) rather than RMSNorm (weight)."""
    norm_weight: bool = True
    qk_norm: str = ""
    """"head": a norm of q and k over each head; "whole": over all heads at once."""
    tied: bool = False
    """Tied embeddings where the config does not say."""
    positions: bool = False
    """Learned positions, one vector each."""
    head_dim: int | None = None
    """Where the config does not say and it is not hidden / heads."""
    learned_activation: int = 0
    """Parameters of one layer's activation."""
    sinks: bool = False
    """A number a head that its attention may go to instead of a token."""
    scaled_logits: bool = False
    """Its logits are scaled or capped where the config does not say."""
    expert_bias: bool = False
    """Of the experts' matrices and of the router."""
    attention_alone: bool = False
    """Of a mixture, LoRA adapts the attention alone, also in layers that have one MLP for all tokens: PEFT
    would reach the experts by the names of any other (`core.train.model.all_linear`)."""
    mixer: str = ""
    """What some layers have in place of attention: "conv" (LFM2) or "delta" (Qwen3.5)."""
    gated_attention: bool = False
    """q is twice as wide: half of it gates the attention's output."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Matrices that the family calls otherwise, without their _proj."""


_LLAMA = Traits()
_LAYERNORM = Traits(norm_bias=True)
_WITH_BIASES = replace(
    _LAYERNORM, qkv_bias=True, qkv_bias_key="", mlp_bias=True, mlp_bias_key="", gated=False
)
_QWEN3 = Traits(qk_norm="head")
_GEMMA = Traits(tied=True, head_dim=256)
_GEMMA3 = replace(_GEMMA, norms=4, qk_norm="head")
_OLMO2 = Traits(qk_norm="whole")
_COHERE = Traits(norms=1, tied=True, scaled_logits=True)
_CONV_NAMES = {"o": "out", "gate": "w1", "up": "w3", "down": "w2"}
_QWEN3_5 = Traits(qk_norm="head", mixer="delta", gated_attention=True)

TRAITS: dict[str, Traits] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "ministral": _LLAMA,
    "ministral3": _LLAMA,
    "mixtral": Traits(attention_alone=True),
    "granite": _LLAMA,
    "granitemoe": _LLAMA,
    "ernie4_5": Traits(tied=True, qkv_bias_key="use_bias", mlp_bias_key="use_bias"),
    "smollm3": replace(_LLAMA, tied=True),
    "arcee": Traits(gated=False),
    "nemotron": replace(_LAYERNORM, gated=False),
    "qwen2": Traits(qkv_bias=True, qkv_bias_key="", out_bias=False),
    "qwen2_moe": Traits(qkv_bias=True, qkv_bias_key="", out_bias=False),
    "qwen3": _QWEN3,
    "qwen3_moe": replace(_QWEN3, attention_alone=True),
    "qwen3_5": _QWEN3_5,
    "qwen3_5_text": _QWEN3_5,
    "hunyuan_v1_dense": _QWEN3,
    "exaone4": _QWEN3,
    "apertus": Traits(qk_norm="head", gated=False, learned_activation=2),
    "seed_oss": Traits(out_bias=False),
    "gpt_oss": Traits(qkv_bias=True, sinks=True, expert_bias=True),
    "gemma": _GEMMA,
    "gemma2": replace(_GEMMA, norms=4, scaled_logits=True),
    "gemma3": _GEMMA3,
    "gemma3_text": _GEMMA3,
    "cohere": _COHERE,
    "cohere2": _COHERE,
    "glm": Traits(out_bias=False, fused_mlp=True),
    "glm4": Traits(out_bias=False, fused_mlp=True, norms=4),
    "stablelm": replace(_LAYERNORM, qkv_bias_key="use_qkv_bias", out_bias=False),
    "phi": replace(_WITH_BIASES, norms=1, head_bias=True, names={"o": "dense", "up": "fc1", "down": "fc2"}),
    "phi3": Traits(fused_qkv=True, fused_mlp=True),
    "gpt2": replace(
        _WITH_BIASES,
        fused_qkv=True,
        tied=True,
        positions=True,
        names={"qkv": "c_attn", "o": "c", "up": "c_fc", "down": "c"},
    ),
    "gpt_neox": replace(
        _WITH_BIASES,
        qkv_bias_key="attention_bias",
        fused_qkv=True,
        names={"qkv": "query_key_value", "o": "dense", "up": "dense_h_to_4h", "down": "dense_4h_to_h"},
    ),
    "starcoder2": replace(
        _WITH_BIASES,
        qkv_bias_key="use_bias",
        mlp_bias_key="use_bias",
        tied=True,
        names={"up": "c_fc", "down": "c"},
    ),
    "olmo": Traits(norm_weight=False),
    "olmo2": _OLMO2,
    "olmo3": _OLMO2,
    "olmoe": replace(_OLMO2, attention_alone=True),
    "lfm2": Traits(tied=True, qk_norm="head", mixer="conv", names=_CONV_NAMES),
}
