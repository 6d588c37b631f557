"""The base models that people tune today: their shapes, licences and ids, known without a network."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.models.count import count


@dataclass(frozen=True)
class Entry:
    id: str
    """On the Hugging Face Hub."""
    family: str
    parameters: int
    active_parameters: int
    layers: int
    hidden: int
    vocab: int
    context: int | None
    licence: str | None
    gated: bool | None
    """One must accept a licence on the model's page first. None: not known."""
    chat: bool
    """Tuned to chat; False: a base model, which has no chat template."""
    config: dict[str, Any]
    """The part of its config.json that its shape follows from."""


FILE = Path(__file__).with_name("catalogue.yaml")

_KEYS = {
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "intermediate": "intermediate_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "vocab": "vocab_size",
    "context": "max_position_embeddings",
    "tied": "tie_word_embeddings",
    "experts": "num_experts",
    "experts_per_token": "num_experts_per_tok",
    "expert_intermediate": "moe_intermediate_size",
    "attention_bias": "attention_bias",
    "attention_layers": "full_attn_idxs",
    "value_heads": "linear_num_value_heads",
    "other_parameters": "other_parameters",
    "bytes": "weight_bytes",
}


@functools.cache
def catalogue() -> tuple[Entry, ...]:
    """Every entry, family by family, the smallest first. Reads one file; some 20 ms the first time."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    families = yaml.load(FILE.read_text(encoding="utf-8"), Loader=loader)
    return tuple(one for family in families for model in family["models"] for one in _entries(family, model))


def _entries(family: dict[str, Any], model: dict[str, Any]) -> Iterator[Entry]:
    """All ids of one size: it is counted once."""
    config = {"model_type": family["type"]}
    config |= {_KEYS[key]: value for key, value in {**family, **model}.items() if key in _KEYS}
    if "stored" in model:
        config["quantization_config"] = {"quant_method": model["stored"]}
    counted = count(config)
    for chat in (False, True):
        for name in model.get("chat" if chat else "base", ()):
            yield Entry(
                id=name,
                family=family["family"],
                parameters=counted.parameters + config.get("other_parameters", 0),
                active_parameters=counted.active_parameters,
                layers=counted.layers,
                hidden=counted.hidden,
                vocab=counted.vocab,
                context=counted.context,
                licence=model.get("licence", family.get("licence")),
                gated=model.get("gated", family.get("gated")),
                chat=chat,
                config=config,
            )


def entry(model: str) -> Entry | None:
    """The entry of this Hub id (case does not matter there), or None."""
    wanted = model.lower()
    return next((one for one in catalogue() if one.id.lower() == wanted), None)


def nearest_model(model: str) -> str | None:
    """The catalogue's id that `model` was most likely meant to be: the same name, one that has all of its
    words and sizes, or one that is spelt nearly so. None: none is near."""
    from core.errors import nearest

    ids = [one.id for one in catalogue()]
    by_name = {name.rsplit("/", 1)[-1]: name for name in reversed(ids)}
    typed = model.rsplit("/", 1)[-1]
    exact = {name.lower(): full for name, full in by_name.items()}.get(typed.lower())
    if exact:
        return exact
    words = _words(typed)
    if any(len(word) >= 3 for word in words):
        more = {name: len(_words(name)) for name in by_name if words <= _words(name)}
        if more:
            return by_name[min(reversed(more), key=lambda name: more[name])]
    near = nearest(model, ids) if "/" in model else None
    if near:
        return near
    name = nearest(typed, by_name)
    return by_name[name] if name else None


def _words(name: str) -> frozenset[str]:
    """The words and numbers of a name: llama3.1-8B is llama, 3.1 and 8b."""
    return frozenset(re.findall(r"\d+(?:\.\d+)?[bm]?(?![a-z])|[a-z]+|\d+", name.lower()))
