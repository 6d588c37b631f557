"""From a model's config.json to its matrices and its number of parameters, by arithmetic alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from core.models.sizes import Odd, number, numbers, present, size, switch
from core.models.traits import TRAITS, Traits

Linear = tuple[str, int, int]
"""(name, in, out) of one matrix; the name is the family's, without its _proj."""


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
    kinds: tuple[tuple[int, tuple[Linear, ...]], ...]
    """(layers, their matrices) of each kind of layer; `linears` are those of the most frequent one."""
    experts: int | None
    experts_per_token: int | None
    expert_intermediate: int | None
    parameters: int
    active_parameters: int
    """Those that one token passes through: for a mixture, its chosen experts alone."""
    in_order: bool
    """Some layers hand on from token to token what they have read, with no regard to where a row begins."""
    scaled_logits: bool
    """Logits are no plain product of the hidden states and the head: they are scaled or capped."""
    known: bool
    """False: a family that is not in `TRAITS`, counted as if it were Llama."""


MOST_LAYERS = 10_000
SCALES = (
    "logits_scaling",
    "logit_scale",
    "lm_head_multiplier",
    "final_logit_softcapping",
    "logits_soft_cap",
    "output_logit_soft_cap",
)
"""Keys of a config by which logits are scaled or capped, where they are there and are not 1."""
INNER = ("text_config", "llm_config", "language_config")
"""Where models that also see or hear keep the config of their language model."""


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    """The part that describes the language model: models that also see keep it one level down."""
    for name in INNER:
        inner = config.get(name)
        if isinstance(inner, dict):
            return {**{key: config[key] for key in ("tie_word_embeddings",) if key in config}, **inner}
    return config


@dataclass(frozen=True)
class _Sizes:
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int


def count(config: dict[str, Any]) -> Counted:
    """Sizes and parameters of the decoder that a config.json describes.

    `core.models.sizes.Odd`: a size that cannot be done without is missing, or is no size. Counts follow the
    modelling code of transformers, where a mixture's experts are one tensor for all of them.
    """
    config = text_config(config)
    family = str(config.get("model_type", ""))
    traits = TRAITS.get(family, Traits())
    sizes = _sizes(config, traits)
    hidden, layers = sizes.hidden, sizes.layers
    vocab = size(config, "vocab_size")
    tied = switch(config, traits.tied, "tie_word_embeddings", "tie_embedding")
    context = number(config, "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")
    if traits.positions and not context:
        raise Odd("it does not say for how many positions it was made")
    experts = number(config, "num_local_experts", "num_experts", "n_routed_experts") or None
    chosen = number(config, "num_experts_per_tok") if experts else None
    if experts and not 0 < (chosen or 0) <= experts:
        raise Odd(f"num_experts_per_tok is {chosen}, and it has {experts} experts")

    attention, attention_more = _attention(config, traits, sizes)
    dense, dense_more = _mlp(config, traits, hidden, sizes.intermediate)
    norm = (2 if traits.norm_bias else 1) * hidden if traits.norm_weight else 0
    norms = 1 if switch(config, False, "use_parallel_residual") and family == "stablelm" else traits.norms
    rest = norms * norm + traits.learned_activation

    expert_width, expert, beside, beside_more = None, 0, [], 0
    if experts:
        expert_width = size(config, "moe_intermediate_size", least=0, otherwise=0) or sizes.intermediate
        expert = 3 * hidden * expert_width + (2 * expert_width + hidden if traits.expert_bias else 0)
        beside_more = experts * (hidden + (1 if traits.expert_bias else 0))
        shared = number(config, "shared_expert_intermediate_size")
        if shared:
            beside = [*_gated_mlp(hidden, shared), ("shared_expert_gate", hidden, 1)]

    many = _layer_counts(config, traits, layers, bool(experts))
    kinds: list[tuple[int, tuple[Linear, ...]]] = []
    total = active = 0
    for kind, layers_of_it in many.items():
        mixed, mlp = kind
        linears, more = _mixer(config, traits, hidden) if mixed else (attention, attention_more)
        sparse = bool(experts) and not mlp
        others = beside if sparse else dense
        more += rest + (beside_more if sparse else dense_more)
        more += sum(inside * outside for _, inside, outside in [*linears, *others])
        left = [] if experts and traits.attention_alone else others
        kinds.append((layers_of_it, (*linears, *left)))
        total += layers_of_it * (more + (experts or 0) * expert * sparse)
        active += layers_of_it * (more + (chosen or 0) * expert * sparse)
    kinds.sort(key=lambda one: -one[0])
    outside = vocab * hidden * (1 if tied else 2) + norm
    outside += vocab if traits.head_bias else 0
    outside += int(context or 0) * hidden if traits.positions else 0
    return Counted(
        layers=layers,
        hidden=hidden,
        intermediate=sizes.intermediate,
        heads=sizes.heads,
        kv_heads=sizes.kv_heads,
        head_dim=sizes.head_dim,
        vocab=vocab,
        tied=tied,
        context=context or None,
        gated_mlp=traits.gated,
        linears=kinds[0][1],
        kinds=tuple(kinds),
        experts=experts,
        experts_per_token=chosen,
        expert_intermediate=expert_width,
        parameters=total + outside,
        active_parameters=active + outside,
        in_order=any(mixed for mixed, _ in many),
        scaled_logits=_scales(config, traits),
        known=family in TRAITS,
    )


def _scales(config: dict[str, Any], traits: Traits) -> bool:
    said = [config[name] for name in SCALES if name in config]
    return any(one not in (None, 1, 1.0) for one in said) if said else traits.scaled_logits


def _sizes(config: dict[str, Any], traits: Traits) -> _Sizes:
    hidden = size(config, "hidden_size", "n_embd", "d_model")
    heads = size(config, "num_attention_heads", "n_head", "num_heads")
    kv_heads = size(config, "num_key_value_heads", otherwise=heads)
    if heads % kv_heads:
        raise Odd(f"{heads} attention heads cannot share {kv_heads} of keys and values")
    head_dim = size(config, "head_dim", otherwise=traits.head_dim or 0, least=0)
    if not head_dim:
        if hidden % heads:
            raise Odd(f"hidden_size {hidden} cannot be divided among {heads} attention heads")
        head_dim = hidden // heads
    intermediate = size(
        config, "block_ff_dim", "intermediate_size", "n_inner", "ffn_dim", otherwise=4 * hidden
    )
    if traits.mixer == "conv" and switch(config, True, "block_auto_adjust_ff_dim"):
        intermediate = _adjusted(config, intermediate)
    return _Sizes(
        hidden,
        size(config, "num_hidden_layers", "n_layer", "num_layers", most=MOST_LAYERS),
        heads,
        kv_heads,
        head_dim,
        intermediate,
    )


def _adjusted(config: dict[str, Any], intermediate: int) -> int:
    """LFM2's width of the MLP: two thirds, times a factor, rounded up to a multiple."""
    factor = present(config, "block_ffn_dim_multiplier") or 1
    if not isinstance(factor, int | float) or not 0 < factor < 100:
        raise Odd(f"block_ffn_dim_multiplier is {factor}")
    multiple = size(config, "block_multiple_of", otherwise=256)
    return multiple * math.ceil(int(factor * int(2 * intermediate / 3)) / multiple)


def _layer_counts(
    config: dict[str, Any], traits: Traits, layers: int, mixture: bool
) -> dict[tuple[bool, bool], int]:
    """{(no attention, dense MLP in a mixture): how many such layers}."""
    mixed, dense = 0, 0
    if traits.mixer:
        types = present(config, "layer_types")
        which = numbers(config, "full_attn_idxs")
        if isinstance(types, list):
            mixed = sum(1 for one in types if one in ("conv", "linear_attention"))
        elif which is not None:
            mixed = layers - len(set(which))
        elif traits.mixer == "delta":
            mixed = layers - layers // size(config, "full_attention_interval", otherwise=4)
        if not 0 <= mixed <= layers:
            raise Odd(f"{mixed} of its {layers} layers would be without attention")
    if mixture:
        step = size(config, "decoder_sparse_step", otherwise=1)
        alone = set(numbers(config, "mlp_only_layers") or ())
        dense = sum(1 for one in range(layers) if one in alone or (one + 1) % step)
    if mixed and dense:
        raise Odd("its layers differ in a way that is not known here")
    found = {(False, False): layers - mixed - dense, (True, False): mixed, (False, True): dense}
    return {kind: many for kind, many in found.items() if many}


def _attention(config: dict[str, Any], traits: Traits, sizes: _Sizes) -> tuple[list[Linear], int]:
    """The matrices of attention, and its other parameters."""
    hidden, q, kv = sizes.hidden, sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    name = traits.names.get
    asked = q * (2 if traits.gated_attention else 1)
    linears: list[Linear] = (
        [(name("qkv", "qkv"), hidden, asked + 2 * kv)]
        if traits.fused_qkv
        else [("q", hidden, asked), ("k", hidden, kv), ("v", hidden, kv)]
    )
    linears.append((name("o", "o"), q, hidden))
    biased = switch(config, traits.qkv_bias, *([traits.qkv_bias_key] if traits.qkv_bias_key else []))
    more = asked + 2 * kv if biased else 0
    more += hidden if (biased if traits.out_bias is None else traits.out_bias) else 0
    over_heads = switch(config, False, "use_qk_norm" if traits.norms == 1 else "qk_layernorm")
    if traits.qk_norm == "head":
        more += 2 * sizes.head_dim
    elif traits.qk_norm == "whole" or over_heads:
        more += q + kv
    return linears, more + (sizes.heads if traits.sinks else 0)


def _mixer(config: dict[str, Any], traits: Traits, hidden: int) -> tuple[list[Linear], int]:
    """The matrices and other parameters of what stands in place of attention."""
    if traits.mixer == "conv":
        biased = 4 * hidden + hidden if switch(config, False, "conv_bias") else 0
        kernel = size(config, "conv_L_cache", otherwise=3)
        return [("in", hidden, 3 * hidden), ("out", hidden, hidden)], kernel * hidden + biased
    heads = size(config, "linear_num_value_heads", otherwise=32)
    head = size(config, "linear_value_head_dim", otherwise=128)
    keys = size(config, "linear_num_key_heads", otherwise=16)
    keys *= size(config, "linear_key_head_dim", otherwise=128)
    values = heads * head
    linears = [
        ("in_proj_qkv", hidden, 2 * keys + values),
        ("in_proj_z", hidden, values),
        ("in_proj_b", hidden, heads),
        ("in_proj_a", hidden, heads),
        ("out", values, hidden),
    ]
    kernel = size(config, "linear_conv_kernel_dim", otherwise=4)
    return linears, 2 * heads + head + kernel * (2 * keys + values)


def _mlp(config: dict[str, Any], traits: Traits, hidden: int, width: int) -> tuple[list[Linear], int]:
    name = traits.names.get
    if not traits.gated:
        linears = [(name("up", "up"), hidden, width), (name("down", "down"), width, hidden)]
    elif traits.fused_mlp:
        linears = [("gate_up", hidden, 2 * width), ("down", width, hidden)]
    else:
        linears = _gated_mlp(hidden, width)
        linears = [(name(one, one), inside, outside) for one, inside, outside in linears]
    biased = switch(config, traits.mlp_bias, *([traits.mlp_bias_key] if traits.mlp_bias_key else []))
    return linears, (2 if traits.gated else 1) * width + hidden if biased else 0


def _gated_mlp(hidden: int, width: int) -> list[Linear]:
    return [("gate", hidden, width), ("up", hidden, width), ("down", width, hidden)]
