"""Loads what one talks to: a run's adapter or model, one of its checkpoints, or a plain model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from core.chat.prompt import ends_of, prompt_ids
from core.chat.talk import Message, Side, result_of
from core.chat.turns import Turns
from core.data.chat_template import templates
from core.data.chat_template.templates import Template
from core.data.tokenizer import load_tokenizer
from core.errors import UserError
from core.models.shape import read_config
from core.numbers import gib
from core.plan.scores import in_plain_steps
from core.runs.folder import RunFolder
from core.spec import RunSpec
from core.train.device import BF16_CAPABILITY, Device, take_any_length
from core.train.download import fetch
from core.train.model import four_bits, keep_unpacked

Tell = Callable[..., None]
"""Called with what is happening, and where it is known how much of it is done and of how much."""


@dataclass(frozen=True)
class Voice:
    """A model with the tokenizer and template that it speaks through."""

    model: Any
    tokenizer: Any
    template: Template | None
    """core.data.chat_template.templates.Template, or None where a model only goes on from plain text."""
    ends: frozenset[int]
    """Any of these tokens ends an answer."""
    context: int | None

    def prompt(self, messages: list[Message]) -> list[int]:
        return prompt_ids(self.tokenizer, self.template, messages)

    def decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


class Weights:
    """What is loaded. `tuned` is None for a plain model, whose only side is base."""

    def __init__(self, template: str, notes: list[str]):
        self.template, self.notes = template, notes
        self.run: RunFolder | None = None
        self.checkpoint: int | None = None
        self.peft: Any = None
        self._voices: dict[Side, Voice] = {}
        self._load_base: Callable[[], Voice] | None = None
        self._loading_base = threading.Lock()
        self._turns: Turns | None = None

    @property
    def sides(self) -> list[Side]:
        return ["tuned", "base"] if self.run else ["base"]

    def voice(self, side: Side) -> Voice:
        """The voice of a side. The base of a full run is loaded the first time that it is asked."""
        if side not in self.sides:
            raise UserError("a plain model has no tuned side", "no run was loaded", "ask the base side")
        with self._loading_base:
            if side not in self._voices and self._load_base:
                self._voices[side] = self._load_base()
        return self._voices[side]

    @contextmanager
    def speaking(self, side: Side) -> Iterator[None]:
        """Within it, forward passes of this thread are this side's."""
        if self._turns is None:
            yield
        else:
            with self._turns.speaking(side):
                yield

    def switch(self, checkpoint: int | None) -> None:
        """Put the adapter of another checkpoint on the weights that are loaded. Nobody may be speaking."""
        assert self.run and self.peft is not None
        path = result_of(self.run, checkpoint)
        old = self.peft.active_adapter
        self.peft.base_model.enable_adapter_layers()
        name = "result" if checkpoint is None else f"step-{checkpoint}"
        if name != old:
            try:
                self.peft.load_adapter(str(path), adapter_name=name, autocast_adapter_dtype=False)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                raise _broken(self.run, path, error) from error
            self.peft.set_adapter(name)
            self.peft.delete_adapter(old)
        self.peft.eval()
        assert self._turns
        self._turns.reset()
        self.checkpoint = checkpoint


def load_run(run: RunFolder, checkpoint: int | None, tell: Tell) -> Weights:
    """A run's tuned side with its base: the same weights without the adapter, or loaded later if full."""
    spec = run.spec()
    path = result_of(run, checkpoint)
    tokenizer, template = _learned_to_read(run, path)
    notes = []
    if checkpoint is None and run.result() is None:
        notes.append(f"the run has not ended: this is its last checkpoint, {path.name}")
    if template is None:
        notes.append("this run learned plain text: the model goes on from what you write")
    weights = Weights(spec.template if template else "", notes)
    weights.run, weights.checkpoint = run, checkpoint
    if spec.method == "full":
        tell("model")
        model = _model(str(path), None, tell)
        weights._voices["tuned"] = _voice(model, tokenizer, template)
        size = gib(sum(one.numel() * one.element_size() for one in model.parameters()))
        notes.append(f"the base is a second model: it is loaded when first asked and takes {size} more")

        def load_base() -> Voice:
            tell("base model")
            return _voice(_model(spec.model, spec.revision, tell), *_base_reads(spec, tokenizer, template))

        weights._load_base = load_base
        return weights
    from peft import PeftModel  # seconds to import, and only an adapter needs it

    tell("base model")
    base = _model(spec.model, spec.revision, tell, four_bit=spec.method == "qlora")
    tell("adapter")
    name = "result" if checkpoint is None else f"step-{checkpoint}"
    try:
        tuned = PeftModel.from_pretrained(base, str(path), adapter_name=name, autocast_adapter_dtype=False)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a broken file makes the libraries raise many kinds
        raise _broken(run, path, error) from error
    weights.peft = tuned.eval()
    inner = weights.peft.get_base_model()
    weights._voices["tuned"] = _voice(inner, tokenizer, template)
    weights._voices["base"] = _voice(inner, *_base_reads(spec, tokenizer, template))
    weights._turns = Turns(weights.peft)
    return weights


def load_plain(name: str, tell: Tell) -> Weights:
    """A folder or Hub id as it is; without a chat template of its own it gets one, and a note says so."""
    tokenizer = load_tokenizer(name, None)
    template = templates.choose("auto", tokenizer)
    notes = []
    if template.origin != "model":
        notes.append(f"this model has no chat template: it gets {template.name}, which it may not know")
    tell("model")
    weights = Weights(template.name, notes)
    weights._voices["base"] = _voice(_model(name, None, tell), tokenizer, template)
    return weights


def _broken(run: RunFolder, path: Path, error: Exception) -> UserError:
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    steps = ", ".join(str(step) for step, _ in run.checkpoint_list()) or "none"
    todo = f"try a checkpoint (it has: {steps}), or finetui resume {run.name}"
    return UserError(f"the adapter in {path} cannot be loaded", said, todo, code=1)


def _learned_to_read(run: RunFolder, path: Path) -> tuple[Any, Template | None]:
    """The tokenizer and template that a run was trained with, as they were saved with its weights."""
    spec = run.spec()
    saved = next(
        (one for one in (path, run.result()) if one and (one / "tokenizer_config.json").exists()), None
    )
    if saved is None:  # a checkpoint that was written without them
        tokenizer = load_tokenizer(spec.model, spec.revision)
        plain = spec.data.format == "text"
        return tokenizer, None if plain else templates.choose(spec.template, tokenizer)
    tokenizer = load_tokenizer(str(saved), None)
    return tokenizer, templates.choose("auto", tokenizer) if tokenizer.chat_template else None


def _base_reads(spec: RunSpec, tokenizer: Any, template: Template | None) -> tuple[Any, Template | None]:
    """The base's own tokenizer and template where it knows how to chat, else the run's: both asked alike."""
    own = load_tokenizer(spec.model, spec.revision)
    if template is None or not own.chat_template:
        return tokenizer, template
    return own, templates.choose("auto", own)


def _voice(model: Any, tokenizer: Any, template: Template | None) -> Voice:
    ends = ends_of(model, tokenizer, template)
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return Voice(model, tokenizer, template, ends, context)


def _model(name: str, revision: str | None, tell: Tell, *, four_bit: bool = False) -> Any:
    """The weights on the GPU with the most free memory, in bf16 where it can (else fp16), fp32 on a CPU.

    `four_bit`: the linear layers in NF4, as QLoRA trains over them. UserError for what is no causal LM.
    """
    place, device = _place()
    folder = fetch(name, revision, tell)
    options: dict[str, Any] = {"quantization_config": four_bits(device)} if four_bit else {}
    options |= in_plain_steps(str(read_config(folder / "config.json").get("model_type")))
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=device.dtype, device_map={"": place}, **options
        )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{name} cannot be loaded as a language model",
            str(error).strip().splitlines()[0],
            "give a folder or Hub id with config.json and the weights of a causal LM",
            code=1,
        ) from error
    if four_bit and device.kind == "cpu":
        keep_unpacked(model)
    # penalties and limits that its makers wrote would act behind the settings that are shown
    model.generation_config = GenerationConfig(eos_token_id=model.generation_config.eos_token_id)
    return model.eval()


def _place() -> tuple[str, Device]:
    if not torch.cuda.is_available():
        return "cpu", Device("cpu", "fp32")
    take_any_length()
    index = max(range(torch.cuda.device_count()), key=lambda one: torch.cuda.mem_get_info(one)[0])
    capable = torch.cuda.get_device_capability(index) >= BF16_CAPABILITY
    return f"cuda:{index}", Device("cuda", "bf16" if capable else "fp16")
