"""The engine of one run: decided from the spec and the rows, put on the model, warmed up, and told."""

from dataclasses import dataclass, field
from typing import Any

import psutil
import torch

from core.machine import look
from core.models.shape import ModelShape
from core.plan.cards import card_here
from core.plan.compiling import gives_up_on, pays, training_seconds
from core.plan.dial import WAITING, Hold, holds, in_words, may_record, widest_narrow
from core.plan.layers import layer as layer_of
from core.plan.memory import MLP_TOKENS, host_holds, may_wait
from core.plan.standing import paged
from core.spec import Objective, RunSpec
from core.train.batches import Layout, layout_of
from core.train.device import Device
from core.train.engine import attention
from core.train.engine.attention import CAPABILITY
from core.train.engine.graphs import Graphs
from core.train.engine.head import Head, is_plain
from core.train.engine.host import Host
from core.train.engine.layers import Holder, by_pieces, decoder_layers
from core.train.engine.peft_layers import Rounded
from core.train.order import planned
from core.train.routers import balanced


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
    recorded: bool = False
    """Whether a pass over the layers is started as a whole (`core.train.engine.graphs`)."""
    recorded_why: str = ""
    optimizer_why: str = ""
    """Whether the optimiser's step is compiled, and why; empty where there was nothing to choose."""
    compile_seconds: float | None = None
    first_step_seconds: float | None = None
    load_seconds: float | None = None
    load_bytes: int | None = None

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
            "host_bytes": self.holder.host.bytes if self.holder.host else 0,
            "recorded": self.recorded,
            "recorded_why": self.recorded_why,
            "optimizer_why": self.optimizer_why,
        }

    def peak(self) -> int | None:
        """Bytes of the card at the fullest moment since `begin`; None without a card."""
        if not torch.cuda.is_available():
            return None
        graphs = self.holder.graphs
        return graphs.peak() if graphs else int(torch.cuda.max_memory_allocated())

    def begin(self) -> None:
        """From here on the peak is counted."""
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        if self.holder.graphs:
            self.holder.graphs.begin()

    def in_words(self) -> str:
        how = "compiled" if self.compiled else "not compiled"
        whole = ", started as a whole" if self.recorded else ""
        step = f"; the step of 8-bit AdamW is {self.optimizer_why}" if self.optimizer_why else ""
        return f"layers are {how}: {self.why}{whole}; {in_words(self.kinds)}; {self.attention}{step}"


def compiles(
    spec: RunSpec, shape: ModelShape, objective: Objective, kind: str, tokens: float, steps: int
) -> tuple[bool, str]:
    """Whether to compile the layers for a run of so many steps, of rows of so many tokens, and why."""
    seconds = with_it = None
    capable = kind != "cuda" or torch.cuda.get_device_capability() >= CAPABILITY
    if kind == "cuda":
        card = card_here(spec, look())
        seconds, with_it = training_seconds(spec, shape, card, tokens=tokens, steps=steps)
    return pays(
        seconds,
        kind,
        compiled=with_it,
        asked=spec.compile,
        objective=objective,
        capable=capable,
        gives_up=gives_up_on(shape, spec, spec.method),
        by="as planned",
    )


def engine_for(
    model: Any,
    spec: RunSpec,
    shape: ModelShape,
    device: Device,
    objective: Objective,
    lengths: Any,
    compiled: bool,
    why: str,
) -> Engine:
    """Puts the engine on a loaded model. `lengths`: of the rows to train on (a numpy array)."""
    learns_answers = objective == "sft"
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    cuda, batch = device.kind == "cuda", spec.batch or 1
    with device.autocast():
        plain = learns_answers and not balanced(whole) and is_plain(whole)
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
    rounded = Rounded(model, device.dtype)
    whole.base_model.register_forward_pre_hook(rounded.refresh)
    tokens = batch * int(layout.length or lengths.max())
    if layout.kind == "lines" and layout.length is None:
        tokens = planned(spec, lengths)
    kinds, holder = hold_layers(model, spec, shape, device, tokens, compiled, loose=layout.length is None)
    return Engine(compiled, why, layout, told, kinds, Head(compiled) if plain else None, holder)


def hold_layers(
    model: Any, spec: RunSpec, shape: ModelShape, device: Device, tokens: int, compiled: bool, *, loose: bool
) -> tuple[tuple[Hold, ...], Holder]:
    """What each layer holds from here on, for passes of so many tokens, and what sees to it."""
    layers, cuda = decoder_layers(model), device.kind == "cuda"
    recompute = float(spec.recompute) if spec.recompute != "auto" else 1.0
    kinds, host = holds(recompute, len(layers)), None
    many = sum(kinds.count(kind) for kind in WAITING)
    widest = widest_narrow(shape.hidden, shape.heads, shape.head_dim)
    if many and may_wait(cuda, compiled):
        width = 4 if device.precision == "fp32" else 2
        method = spec.method if spec.method != "auto" else "lora"  # never auto here
        one = layer_of(shape, method, compute=width, rank=spec.lora.rank, compiled=True)
        need = tokens * (one.host * many + one.after * kinds.count(Hold.WIDE))
        need += paged(shape, spec, method, spec.optimizer, device.precision)
        if host_holds(int(need), psutil.virtual_memory().available):
            host = Host(model.parameters(), widest)
    if host is None:
        kinds = holds(recompute, len(layers), host=False)
    random = draws(model)
    learned = [one for layer in layers for one in layer.parameters() if one.requires_grad]
    records = may_record(
        kinds,
        experts=bool(shape.experts),
        drawn=random,
        full=spec.method == "full",
        accumulate=spec.accumulate or 1,
        precision=device.precision,
    )
    holder = Holder(
        widest,
        compiled=compiled,
        random=random,
        loose=loose,
        four_bits=spec.method == "qlora" and cuda,
        host=host,
        graphs=Graphs(learned, device.dtype) if records and cuda and compiled else None,
    )
    holder.take_all(layers, kinds)
    if not shape.experts and set(kinds) == {Hold.HOST}:
        for layer in layers:
            by_pieces(layer, -(-tokens // MLP_TOKENS))
    return kinds, holder


def draws(model: Any) -> bool:
    """Whether layers draw random numbers while they train."""
    return any(isinstance(one, torch.nn.Dropout) and one.p > 0 for one in model.modules()) or bool(
        getattr(model.config.get_text_config(), "attention_dropout", 0)
    )
