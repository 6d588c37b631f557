"""The shape of a base model: what memory, speed and fitness are reckoned from."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.models import weights
from core.models.catalogue import entry
from core.models.count import Counted, Linear, count, text_config
from core.models.quantised import ALL, NOTES, TUNABLE, stored_as
from core.models.sizes import Odd, shown
from core.models.tunable import EXAMPLE, refuse

TEXT_ALONE = ("qwen3_5",)
"""Families that also see, of which transformers loads the language model alone for causal use."""


@dataclass(frozen=True)
class ModelShape:
    name: str
    """The folder or Hub id as it was asked for."""
    architecture: str
    """config.json's model_type, e.g. "llama"."""
    parameters: int
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    """The head is the embedding."""
    context: int | None
    """Most tokens the model was made for."""
    linears: tuple[Linear, ...]
    """(name, in, out) of the matrices of ONE layer that a LoRA on all linears adapts."""
    experts: int | None
    active_parameters: int
    """Those that one token passes through."""
    dtype_bytes: int
    """Bytes of one parameter as the weights are stored."""
    weight_bytes: int | None
    """Size of the weight files, where known: what is downloaded, or read from disk."""
    has_weights: bool
    has_tokenizer: bool
    has_template: bool | None
    """Whether the tokenizer brings a chat template; None: not known."""
    estimated: bool
    """The number of parameters is reckoned from a family we do not know, not counted."""
    notes: tuple[str, ...] = ()
    gated_mlp: bool = True
    experts_per_token: int | None = None
    expert_intermediate: int | None = None
    other_parameters: int = 0
    """Parameters outside the language model, such as a vision tower."""
    kinds: tuple[tuple[int, tuple[Linear, ...]], ...] = ()
    """(layers, their matrices) of each kind where layers differ; `linears` are the most frequent one."""
    in_order: bool = False
    """Some layers hand on from token to token what they have read: rows on one line would see each other."""
    scaled_logits: bool = False
    """Logits are no plain product of the hidden states and the head: they are scaled or capped."""
    balanced: bool = False
    """Its config asks for the loss that has a mixture's routers use all experts alike."""
    text_alone: bool = False
    """What lies beside the language model in its files is not loaded."""
    tunable: tuple[str, ...] = ALL
    """Methods that can be used on it as it is stored."""

    @property
    def embedding(self) -> int:
        """Parameters of the embedding; the head has as many where it is not the same."""
        return self.vocab * self.hidden

    @property
    def every_linear(self) -> tuple[tuple[int, tuple[Linear, ...]], ...]:
        """(layers, their matrices) of each kind of layer: all matrices that a LoRA on all linears adapts."""
        return self.kinds or ((self.layers, self.linears),)


def read_shape(model: str, revision: str | None = None) -> ModelShape:
    """The shape of a folder, of a model in the Hub's cache, of the catalogue, or of the Hub, in this order.

    Only the last touches the network; without one, a config alone in the cache will do. UserError: no such
    folder, no config.json in it, a config that cannot be read, or what the Hub refuses (misspelt, gated, no
    access, no network).
    """
    from core.models import hub

    folder = Path(model).expanduser()
    if folder.is_dir():
        return read_folder(folder, model)
    if folder.exists():
        raise UserError(
            f"{model} is not a model", "it is a file", "give the folder that holds config.json, or a Hub id"
        )
    if looks_like_path(model):
        raise UserError(f"{model} is not there", "no such folder", "check the path, or give a Hub id")
    snapshot = hub.cached_folder(model, revision)
    cached = read_folder(snapshot, model) if snapshot else None
    if cached and cached.has_weights:
        return cached
    known = entry(model)
    if known and revision is None:
        return shape_from_config(model, known.config, replace_with={"has_template": known.chat}, hub=True)
    try:
        return hub.read_remote(model, revision)
    except UserError as error:
        if cached and any(sign in error.why for sign in ("no network", "HF_HUB_OFFLINE")):
            return cached  # without its weights, it is enough to plan
        raise


def looks_like_path(model: str) -> bool:
    """A Hub id is `name` or `owner/name`; anything else was meant to be a path."""
    return model.startswith(("/", ".", "~")) or model.count("/") > 1 or model.endswith("/") or "\\" in model


def read_folder(folder: Path, name: str) -> ModelShape:
    """The shape of a model's folder; exact where the safetensors headers lie there, else by arithmetic."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{name} is not a model", "no config.json in it", _what_to_give(folder))
    shape = shape_from_config(name, read_config(folder / "config.json"))
    tokenizer = has_tokenizer(file.name for file in folder.iterdir())
    shape = replace(
        shape, has_tokenizer=tokenizer, has_template=weights.has_template(folder) if tokenizer else None
    )
    try:
        stored = weights.read_headers(folder)
    except weights.Broken as error:
        return replace(shape, notes=(*shape.notes, f"its weight files cannot be used: {error}"))
    if stored is None:
        size = weights.pickled_size(folder)
        return replace(shape, has_weights=size is not None, weight_bytes=size)
    return with_stored(shape, stored)


def read_config(file: Path) -> dict[str, Any]:
    """A config.json. UserError: it cannot be read, or holds no JSON object."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, OSError | json.JSONDecodeError) else "it is no JSON"
        raise UserError(f"{file} cannot be read", why, "download the model again, or mend the file") from None
    if not isinstance(config, dict):
        raise UserError(f"{file} cannot be read", "it holds no JSON object", "download the model again")
    return config


def _what_to_give(folder: Path) -> str:
    if (folder / "adapter_config.json").is_file():
        return "this is an adapter; give the base model that it was trained on"
    inside = sorted(one.parent.name for one in folder.glob("*/config.json"))
    if inside:
        return f"did you mean {folder / inside[0]}?"
    return "give the folder that holds config.json and the weights, or a Hub id"


def shape_from_config(
    name: str, config: dict[str, Any], *, replace_with: dict[str, Any] | None = None, hub: bool = False
) -> ModelShape:
    """The shape that a config.json describes, by arithmetic. UserError: it is of no causal language model."""
    refuse(name, config)
    try:
        counted = count(config)
    except Odd as error:
        raise UserError(
            f"{name} is no language model that can be tuned here",
            f"{error} (model_type: {shown(config.get('model_type', 'not said'))})",
            f"mend its config.json, or {EXAMPLE}",
        ) from None
    dtype = config.get("dtype") or config.get("torch_dtype") or text_config(config).get("torch_dtype")
    shape = _shape(name, config, counted, 4 if dtype == "float32" else 2)
    if hub:
        size = config.get("weight_bytes") or shape.parameters * shape.dtype_bytes
        shape = replace(shape, has_weights=True, has_tokenizer=True, weight_bytes=size)
    return replace(shape, **(replace_with or {}))


def _shape(name: str, config: dict[str, Any], counted: Counted, dtype_bytes: int) -> ModelShape:
    notes = []
    family = str(text_config(config).get("model_type", ""))
    if not counted.known:
        notes.append(
            f"the family {family or 'of this model'} is not known here: counted as a Llama of its sizes"
        )
    if counted.experts:
        notes.append("its experts are left as they are by LoRA, which adapts the attention alone")
    if len(counted.kinds) > 1:
        notes.append("its layers are of several kinds, so what is reckoned for one of them is less sure")
    quantised = stored_as(name, config)
    if quantised:
        notes.append(NOTES[quantised])
    other = int(config.get("other_parameters", 0))
    if "vision_config" in config:
        dropped = config.get("model_type") in TEXT_ALONE
        notes.append(f"its part that sees is {'left out' if dropped else 'not counted'}")
    return ModelShape(
        name=name,
        architecture=family,
        parameters=counted.parameters + other,
        layers=counted.layers,
        hidden=counted.hidden,
        intermediate=counted.intermediate,
        heads=counted.heads,
        kv_heads=counted.kv_heads,
        head_dim=counted.head_dim,
        vocab=counted.vocab,
        tied=counted.tied,
        context=counted.context,
        linears=counted.linears,
        experts=counted.experts,
        active_parameters=counted.active_parameters,
        dtype_bytes=dtype_bytes,
        weight_bytes=None,
        has_weights=False,
        has_tokenizer=False,
        has_template=None,
        estimated=not counted.known,
        notes=tuple(notes),
        gated_mlp=counted.gated_mlp,
        experts_per_token=counted.experts_per_token,
        expert_intermediate=counted.expert_intermediate,
        other_parameters=other,
        kinds=counted.kinds if len(counted.kinds) > 1 else (),
        in_order=counted.in_order,
        scaled_logits=counted.scaled_logits,
        balanced=bool(counted.experts and text_config(config).get("output_router_logits")),
        text_alone=config.get("model_type") in TEXT_ALONE,
        tunable=TUNABLE[quantised],
    )


def with_stored(shape: ModelShape, stored: weights.Stored) -> ModelShape:
    """The shape with what the weight files themselves say: exact parameters, their type and their size.

    Where config and files disagree both are said, and the files are trusted.
    """
    if stored.quantised or shape.tunable != ALL:  # packed integers do not tell how many parameters there are
        return replace(shape, has_weights=True, weight_bytes=stored.bytes)
    exact = stored.parameters - (stored.head if shape.tied else 0)
    language = exact - stored.beside
    counted = shape.parameters - shape.other_parameters
    notes = [note for note in shape.notes if "not counted" not in note and "counted as" not in note]
    if stored.rows and stored.rows != shape.vocab:
        said = f"its config.json says {shape.vocab:,} tokens"
        notes.append(f"{said}, and its embedding has {stored.rows:,}: they must agree")
    elif not shape.estimated and language != counted:
        notes.append(
            f"its config.json describes {counted:,} parameters, and its weight files hold {language:,}: "
            "the files are gone by"
        )
    beside = 0 if shape.text_alone else stored.beside
    return replace(
        shape,
        parameters=language + beside,
        active_parameters=min(shape.active_parameters, language + beside),
        other_parameters=beside,
        dtype_bytes=stored.dtype_bytes,
        weight_bytes=stored.bytes,
        has_weights=True,
        estimated=False,
        notes=tuple(notes),
    )


_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tekken.json",
)


def has_tokenizer(names: Any) -> bool:
    return any(name in _TOKENIZER_FILES for name in names)
