"""The engine of one run: decided from the spec and the rows, put on the model, warmed up, and told."""

import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch

from core.machine import look
from core.models.shape import read_folder
from core.plan.cards import card_here
from core.plan.compiling import pays, training_seconds
from core.plan.dial import Hold, holds, in_words, widest_narrow
from core.spec import Objective, RunSpec
from core.train.batches import Layout, layout_of
from core.train.device import Device
from core.train.engine import attention
from core.train.engine.attention import CAPABILITY
from core.train.engine.head import Head, is_plain
from core.train.engine.host import Host
from core.train.engine.layers import Holder, by_pieces, decoder_layers

HOST_RESERVE = 4 * 2**30
"""Bytes of the host's memory that are left alone."""
MLP_TOKENS = 8192
"""Where a layer's tensors wait in the host's memory, its MLP takes about so many tokens at a time: what the
MLP makes is then the most that there is."""
HOST_SHARE = 1.2
"""Times what is reckoned, since memory is page-locked in slabs."""


@dataclass
class Engine:
    """What was chosen, and why."""

    compiled: bool
    why: str
    """Why layers are compiled, or why not."""
    layout: Layout
    attention: str
    kinds: tuple[Hold, ...]
    head: Head | None
    holder: Holder = field(repr=False)
    compile_seconds: float | None = None
    first_step_seconds: float | None = None
    load_seconds: float | None = None
    load_bytes: int | None = None
    host: Host | None = field(default=None, repr=False)

    def told(self) -> dict[str, Any]:
        """For report.json: seconds and bytes."""
        return {
            "compiled": self.compiled,
            "why": self.why,
            "holds": {hold.value: self.kinds.count(hold) for hold in Hold},
            "attention": self.attention,
            "load_seconds": self.load_seconds,
            "load_bytes": self.load_bytes,
            "first_step_seconds": self.first_step_seconds,
            "compile_seconds": self.compile_seconds,
            "host_bytes": self.host.bytes if self.host else 0,
        }

    def in_words(self) -> str:
        how = "compiled" if self.compiled else "not compiled"
        return f"layers are {how}: {self.why}; {in_words(self.kinds)}; {self.attention}"


def compiles(
    spec: RunSpec, objective: Objective, kind: str, folder: Path, tokens: float, steps: int
) -> tuple[bool, str]:
    """Whether to compile the layers for a run of so many steps, of rows of so many tokens, and why.

    `folder`: of the model.
    """
    seconds = None
    capable = kind != "cuda" or torch.cuda.get_device_capability() >= CAPABILITY
    if kind == "cuda":
        shape, card = read_folder(folder, spec.model), card_here(spec, look())
        seconds = training_seconds(spec, shape, card, tokens=tokens, steps=steps)
    return pays(seconds, kind, asked=spec.compile, objective=objective, capable=capable)


def engine_for(
    model: Any,
    spec: RunSpec,
    device: Device,
    objective: Objective,
    lengths: Any,
    compiled: bool,
    why: str,
) -> Engine:
    """Puts the engine on a loaded model. `lengths`: of the rows to train on (a numpy array)."""
    learns_answers = objective == "sft"
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = whole.config.get_text_config()
    cuda, batch = device.kind == "cuda", spec.batch or 1
    experts = bool(getattr(config, "output_router_logits", False))
    with device.autocast():
        plain = learns_answers and not experts and is_plain(whole)
    lines, no_lines = attention.takes_lines(whole, device.dtype)
    layout = layout_of(
        lengths,
        packing=spec.length if spec.packing else None,
        lines=lines and plain,
        cuda=cuda,
        masked=not plain,
        count=batch if compiled else None,
    )
    if layout.kind == "lines":
        attention.use(whole)
        told = "rows end to end, without padding"
    else:
        told = "rows side by side" if layout.kind == "rows" else f"packs with a mask: {no_lines}"
    if cuda and layout.kind == "rows" and layout.length:
        torch.backends.cuda.enable_cudnn_sdp(True)  # quickest where all rows have one length
    layers = decoder_layers(model)
    recompute = float(spec.recompute) if spec.recompute != "auto" else 1.0
    tokens = batch * int(layout.length or lengths.max())
    room = host_room(cuda)
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    kinds = holds(recompute, len(layers))
    wanted = kinds.count(Hold.HOST) * tokens * narrow_bytes(config, width, device) * HOST_SHARE
    host = Host(model.parameters()) if Hold.HOST in kinds and wanted < room else None
    if host is None:
        kinds = holds(recompute, len(layers), host=False)
    holder = Holder(
        widest_narrow(config.hidden_size, heads, width),
        compiled=compiled,
        random=draws(model),
        loose=layout.length is None,
        host=host,
    )
    holder.take_all(layers, kinds)
    if not experts:
        pieces = -(-tokens // MLP_TOKENS)
        for layer in (one for one, hold in zip(layers, kinds, strict=True) if hold is Hold.HOST):
            by_pieces(layer, pieces)
    head = Head(compiled) if plain else None
    return Engine(compiled, why, layout, told, kinds, head, holder, host=host)


def host_room(cuda: bool) -> int:
    """Bytes that layers may take in the host's memory; none without a card."""
    return psutil.virtual_memory().available - HOST_RESERVE if cuda else 0


def narrow_bytes(config: Any, width: int, device: Device) -> int:
    """Bytes a token and layer of what goes to the host: see `core.plan.dial`."""
    heads = config.num_attention_heads
    queries, keys = heads * width, (getattr(config, "num_key_value_heads", None) or heads) * width
    return (2 * config.hidden_size + 2 * queries + 2 * keys) * (4 if device.precision == "fp32" else 2)


def draws(model: Any) -> bool:
    """Whether layers draw random numbers while they train."""
    return any(isinstance(one, torch.nn.Dropout) and one.p > 0 for one in model.modules()) or bool(
        getattr(model.config.get_text_config(), "attention_dropout", 0)
    )


def warm_up(engine: Engine, tuner: Any) -> str | None:
    """One pass that is not learned from, so that all is compiled when the run begins; seconds in `engine`.

    Returns why compiling failed; the layers then run as they are, and hold the same. None: it did not.
    """
    begun = time.monotonic()
    try:
        _pass(tuner)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        traceback.print_exc()
        engine.holder.uncompile()
        if engine.head:
            engine.head.uncompile()
        torch.compiler.reset()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        engine.compiled, engine.why = False, f"compiling failed ({lines[0][:160]})"
        return engine.why
    engine.compile_seconds = round(time.monotonic() - begun, 2)
    return None


def _pass(tuner: Any) -> None:
    """Forward and backward over the first rows, with nothing left behind but what was compiled."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    rows = range(min(tuner.args.per_device_train_batch_size, len(tuner.train_dataset)))
    with torch.random.fork_rng(devices):
        batch = tuner.data_collator([tuner.train_dataset[place] for place in rows])
        tuner.model.train()
        inputs = {
            name: one.to(tuner.args.device) if isinstance(one, torch.Tensor) else one
            for name, one in batch.items()
        }
        tuner.compute_loss(tuner.model, inputs).backward()
        tuner.model.zero_grad()
    if devices:
        torch.cuda.synchronize()
    tuner.trained_tokens = 0
