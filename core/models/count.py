"""From a model's config.json to its matrices and its number of parameters, by arithmetic alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Traits:
    """How a family of decoder models differs from Llama, as far as its parameters go."""

    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    head_bias: bool = False
    gated: bool = True
    """The MLP has a gate beside up and down."""
    fused: bool = False
    """q, k and v are one matrix, and so are gate and up."""
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


_LLAMA = Traits()
_LAYERNORM = Traits(norm_bias=True)
TRAITS: dict[str, Traits] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "ministral": _LLAMA,
    "mixtral": _LLAMA,
    "granite": _LLAMA,
    "smollm3": replace(_LLAMA, tied=True),
    "qwen2": Traits(qkv_bias=True),
    "qwen2_moe": Traits(qkv_bias=True),
    "qwen3": Traits(qk_norm="head"),
    "qwen3_moe": Traits(qk_norm="head"),
    "gemma": Traits(tied=True, head_dim=256),
    "gemma2": Traits(tied=True, head_dim=256, norms=4),
    "gemma3": Traits(tied=True, head_dim=256, norms=4, qk_norm="head"),
    "gemma3_text": Traits(tied=True, head_dim=256, norms=4, qk_norm="head"),
    "phi": replace(
        _LAYERNORM, qkv_bias=True, out_bias=True, mlp_bias=True, head_bias=True, gated=False, norms=1
    ),
    "phi3": Traits(fused=True),
    "gpt2": replace(
        _LAYERNORM,
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        gated=False,
        fused=True,
        tied=True,
        positions=True,
    ),
    "gpt_neox": replace(_LAYERNORM, qkv_bias=True, out_bias=True, mlp_bias=True, gated=False, fused=True),
    "starcoder2": replace(_LAYERNORM, qkv_bias=True, out_bias=True, mlp_bias=True, gated=False, tied=True),
    "olmo": Traits(norm_weight=False),
    "olmo2": Traits(qk_norm="whole"),
    "olmo3": Traits(qk_norm="whole"),
    "olmoe": Traits(qk_norm="whole"),
}

Linear = tuple[str, int, int]
"""(name, in, out) of one matrix."""


@dataclass(frozen=True)
class Counted:
    """A decoder's sizes. `linears` are those of ONE layer that a LoRA on all linears adapts."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    context: int | None
    gated_mlp: bool
    linears: tuple[Linear, ...]
    experts: int | None
    experts_per_token: int | None
    expert_intermediate: int | None
    parameters: int
    active_parameters: int
    """Those that one token passes through: for a mixture, its chosen experts alone."""
    known: bool
    """False: a family that is not in `TRAITS`, counted as if it were Llama."""


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    """The part that describes the language model: models that also see keep it one level down."""
    inner = config.get("text_config")
    if isinstance(inner, dict):
        return {**{key: config[key] for key in ("tie_word_embeddings",) if key in config}, **inner}
    return config


def count(config: dict[str, Any]) -> Counted:
    """Sizes and parameters of the decoder that a config.json describes.

    KeyError: a size that cannot be done without is missing. Counts follow the modelling code of transformers;
    experts are one tensor for all of them there, so no LoRA on linears reaches them.
    """
    config = text_config(config)
    family = str(config.get("model_type", ""))
    traits = TRAITS.get(family, _LLAMA)
    hidden = int(_first(config, "hidden_size", "n_embd", "d_model"))
    layers = int(_first(config, "num_hidden_layers", "n_layer", "num_layers"))
    heads = int(_first(config, "num_attention_heads", "n_head", "num_heads"))
    kv_heads = int(config.get("num_key_value_heads") or heads)
    head_dim = int(config.get("head_dim") or traits.head_dim or hidden // heads)
    intermediate = int(_or(config, 4 * hidden, "intermediate_size", "n_inner", "ffn_dim"))
    vocab = int(_first(config, "vocab_size"))
    tied = bool(config.get("tie_word_embeddings", traits.tied))
    context = _or(config, None, "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")
    experts = _or(config, None, "num_local_experts", "num_experts", "n_routed_experts")
    chosen = _or(config, None, "num_experts_per_tok")
    expert_intermediate = int(config.get("moe_intermediate_size") or intermediate) if experts else None

    q, kv = heads * head_dim, kv_heads * head_dim
    attention_bias = bool(config.get("attention_bias", False))
    biases = 0
    if traits.qkv_bias or attention_bias:
        biases += q + 2 * kv
    if traits.out_bias or (attention_bias and not traits.qkv_bias):
        biases += hidden
    linears: list[Linear] = (
        [("qkv", hidden, q + 2 * kv)]
        if traits.fused
        else [("q", hidden, q), ("k", hidden, kv), ("v", hidden, kv)]
    )
    linears.append(("o", q, hidden))
    dense_mlp = _mlp(traits, "", hidden, intermediate)
    if traits.mlp_bias or config.get("mlp_bias"):
        biases += (2 if traits.gated else 1) * intermediate + hidden

    expert, router = 0, 0
    if experts:
        expert = 3 * hidden * int(expert_intermediate or 0)
        router = hidden * int(experts)
        shared = int(config.get("shared_expert_intermediate_size") or 0)
        if shared:
            linears += [*_mlp(traits, "shared_", hidden, shared), ("shared_gate", hidden, 1)]
    else:
        linears += dense_mlp

    norm = (2 if traits.norm_bias else 1) * hidden if traits.norm_weight else 0
    qk = {"": 0, "head": 2 * head_dim, "whole": q + kv}[traits.qk_norm]
    layer = (
        sum(inside * outside for _, inside, outside in linears) + biases + traits.norms * norm + qk + router
    )
    outside = vocab * hidden * (1 if tied else 2) + norm
    outside += vocab if traits.head_bias else 0
    outside += int(context or 0) * hidden if traits.positions else 0
    return Counted(
        layers=layers,
        hidden=hidden,
        intermediate=intermediate,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocab=vocab,
        tied=tied,
        context=int(context) if context else None,
        gated_mlp=traits.gated,
        linears=tuple(linears),
        experts=int(experts) if experts else None,
        experts_per_token=int(chosen) if experts and chosen else None,
        expert_intermediate=expert_intermediate,
        parameters=layers * (layer + int(experts or 0) * expert) + outside,
        active_parameters=layers * (layer + int(chosen or 0) * expert) + outside,
        known=family in TRAITS,
    )


def _mlp(traits: Traits, prefix: str, hidden: int, intermediate: int) -> list[Linear]:
    down = (f"{prefix}down", intermediate, hidden)
    if not traits.gated:
        return [(f"{prefix}up", hidden, intermediate), down]
    if traits.fused:
        return [(f"{prefix}gate_up", hidden, 2 * intermediate), down]
    return [(f"{prefix}gate", hidden, intermediate), (f"{prefix}up", hidden, intermediate), down]


def _or(config: dict[str, Any], otherwise: Any, *names: str) -> Any:
    return next((config[name] for name in names if config.get(name) is not None), otherwise)


def _first(config: dict[str, Any], *names: str) -> Any:
    value = _or(config, None, *names)
    if value is None:
        raise KeyError(names[0])
    return value
