"""One step of a run on tensors without numbers: forward, loss, backward, optimiser; and a held-out pass."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from core.models.count import SCALES
from core.models.shape import ModelShape
from core.plan.loss import tile, trl_loss
from core.plan.memory import workspaces
from core.spec import RunSpec
from core.train.device import Device
from core.train.engine import attention, head, layers, setup
from core.train.engine.head import Head
from core.train.engine.peft_layers import Rounded
from core.train.routers import balanced
from core.train.trace import card, fused
from core.train.trace.host import Waiting
from core.train.trace.live import Live
from core.train.trace.model import scales_of


@dataclass(frozen=True)
class Pass:
    """How the rows of a pass lie, and what is put on the model."""

    batch: int
    length: int
    compiled: bool
    host: bool
    precision: str
    accumulate: int
    optimizer: str
    capability: Sequence[int] | None = None
    """Of the card; None: not known."""
    tokens: int | None = None
    """Of the fullest pass, where rows lie end to end and are not all as long; None: batch x length."""
    held_out: int | None = None
    """The same of held-out rows, whose order is not chosen; None: as many."""
    recorded: bool = False
    """Passes over the layers are started as a whole (`core.train.engine.graphs`)."""


@dataclass(frozen=True)
class Traced:
    step: dict[str, int]
    """Bytes by part at the step's peak."""
    evaluation: int
    """Of all tensors at the peak of a held-out pass."""
    host: int


def trace(model: Any, spec: RunSpec, shape: ModelShape, how: Pass, mode: Live) -> Traced:
    """Counts a step and a held-out pass of the model, which `core.train.trace.model` built."""
    device = Device("cuda", how.precision)
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    plain = is_plain(whole)
    with card.here(how.capability or card.NEWEST):
        lines = plain and attention.takes_lines(whole, device.dtype)[0]
    if lines:
        attention.use(whole)
    rounded = Rounded(model, device.dtype)
    whole.base_model.register_forward_pre_hook(rounded.refresh)
    tokens = (how.tokens if lines else None) or how.batch * how.length
    with as_asked(how):
        _, holder = setup.hold_layers(model, spec, shape, device, tokens, how.compiled, loose=False)
    if how.compiled:
        holder._run = fused.compiled(layers._held, mode, spec.method == "full")
    told = Head(how.compiled)
    told._soften = softened(mode) if how.compiled else head._soften
    learned = [one for one in model.parameters() if one.requires_grad]
    autocast = torch.autocast("cpu", device.dtype, enabled=how.precision != "fp32")

    def hidden_of() -> Tensor:
        mode.label = "kept"
        given = inputs(how, lines, masked=not plain or (spec.packing and not lines))
        return whole.base_model(**given, use_cache=False).last_hidden_state

    def loss_of(hidden: Tensor) -> Tensor:
        mode.label = "loss"
        table, at = whole.get_output_embeddings(), torch.arange(tokens)
        if not plain:
            return _Library.apply(hidden, table.weight, shape, mode, torch.is_grad_enabled())
        return told(hidden.reshape(tokens, -1), table.weight, table.bias, at, at, None, tokens)

    def once() -> None:
        with autocast:
            loss = loss_of(hidden_of())
        mode.label = "live"
        loss.backward()

    def recorded() -> dict[str, int]:
        """At the fullest moment, where what the layers take stands for good and the loss comes on top."""
        with autocast:
            hidden = hidden_of()
            ways = [(mode.most, mode.at_most)]
            there = sum(mode.now.values())
            copies = 2 * hidden.numel() * hidden.element_size()  # of what goes in, and its gradient
            mode.afresh()
            loss = loss_of(hidden)
        head = mode.most - there
        mode.label = "live"
        mode.afresh()
        del hidden
        loss.backward()
        _, at_most = max([*ways, (mode.most, mode.at_most)], key=lambda one: one[0])
        at_most = {**at_most, "live": at_most.get("live", 0) + copies}
        return {**at_most, "loss": at_most.get("loss", 0) + head}

    with mode, card.kernels():
        model.train()
        once()  # compiles
        _forget(learned)
        stands(mode, model, learned, rounded)
        step = optimiser(model, learned, how, mode)
        for one in learned:
            one.register_post_accumulate_grad_hook(lambda own: mode.is_now([own.grad], "gradients"))
        workspace = torch.empty(workspaces(how.capability), dtype=torch.uint8)
        mode.is_now([workspace], "temporary")
        mode.counting = True
        mode.afresh()
        for _ in range(min(how.accumulate, 2)):
            once()
        mode.label = "temporary"
        step()
        fullest = dict(mode.at_most)
        if how.recorded:
            _forget(learned)
            mode.afresh()
            fullest = recorded()
        _forget(learned)
        model.eval()
        if lines and how.held_out:
            tokens = how.held_out
            how = replace(how, tokens=tokens)
        mode.afresh()
        with torch.no_grad(), autocast:
            loss_of(hidden_of())
        mode.counting = False
    return Traced(fullest, mode.most, holder.host.bytes if holder.host else 0)


def _forget(learned: list[nn.Parameter]) -> None:
    for one in learned:
        one.grad = None


def is_plain(whole: Any) -> bool:
    """Whether logits are the hidden states times the head, as far as a config says; see `engine.head`."""
    config = whole.config.get_text_config()
    odd = any(getattr(config, name, None) not in (None, 1, 1.0) for name in SCALES)
    return type(whole.get_output_embeddings()) is nn.Linear and not odd and not balanced(whole)


class _Library(torch.autograd.Function):
    """The loss of TRL, of which the closed form says what it takes."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, shape: ModelShape, mode: Live, learns: bool
    ) -> Tensor:
        ctx.save_for_backward(hidden, weight)
        if mode.counting:
            tokens, width = hidden.numel() // hidden.shape[-1], weight.element_size()
            whole = trl_loss(shape, tokens, width, weight.requires_grad, True)
            most = whole if learns else tile(shape, tokens, width, True)
            mode.look(most, "loss")
        return hidden.new_empty((), dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight = ctx.saved_tensors
        learns = ctx.needs_input_grad[1]
        return torch.empty_like(hidden), torch.empty_like(weight) if learns else None, None, None, None


def inputs(how: Pass, lines: bool, masked: bool) -> dict[str, Any]:
    """What the model is given: ids, and how they lie (`core.train.batches.collate`)."""
    rows, across = (1, how.tokens or how.batch * how.length) if lines else (how.batch, how.length)
    given: dict[str, Any] = {"input_ids": torch.zeros(rows, across, dtype=torch.long)}
    if lines:
        ends = torch.zeros(how.batch + 1, dtype=torch.int32)
        given["position_ids"] = torch.zeros(rows, across, dtype=torch.long)
        given |= {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends}
        given |= {"max_length_q": how.length, "max_length_k": how.length}
        given["attention_mask"] = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    elif masked:
        given["attention_mask"] = torch.ones(rows, across, dtype=torch.long)
    return given


def stands(mode: Live, model: nn.Module, learned: list[nn.Parameter], rounded: Rounded) -> None:
    """Counts what is there all the time."""
    own = {id(one) for one in learned}
    mode.is_now((one for one in model.parameters() if id(one) not in own), "weights")
    mode.is_now((one for one in model.buffers()), "weights")
    mode.is_now(scales_of(model), "quantization")
    adapters = hasattr(model, "peft_config")
    mode.is_now(learned, "adapters" if adapters else "weights")
    mode.is_now(rounded._copies, "adapters")


def optimiser(model: nn.Module, learned: list[nn.Parameter], how: Pass, mode: Live) -> Callable[[], None]:
    """Its state is counted; the function is its step."""
    if how.optimizer == "adafactor":
        from transformers.optimization import Adafactor

        adafactor = Adafactor(learned, lr=1e-3, scale_parameter=False, relative_step=False)
        for one in learned:
            one.grad = torch.empty_like(one)
        adafactor.step()
        for one in learned:
            one.grad = None
        mode.is_now(_tensors(adafactor.state), "optimizer")
        return adafactor.step
    state: list[Tensor] = []
    embedded = {id(one.weight) for one in model.modules() if isinstance(one, nn.Embedding)}
    for one in learned:
        if how.optimizer == "adamw" or id(one) in embedded or one.numel() < 4096:
            dtype = one.dtype if how.optimizer == "adamw" else torch.float32
            state += [torch.empty(one.shape, dtype=dtype) for _ in range(2)]
        else:  # a byte, and an fp32 scale for each block of 256 (bitsandbytes)
            state += [torch.empty(one.shape, dtype=torch.uint8) for _ in range(2)]
            state += [torch.empty(-(-one.numel() // 256)) for _ in range(2)]
    mode.is_now(state, "optimizer")

    # both are kernels that write in place; the state must live as long as its step
    return lambda: mode.is_now(state, "optimizer")


def _tensors(states: Any) -> Iterator[Tensor]:
    for state in states.values():
        yield from (one for one in state.values() if isinstance(one, Tensor))


def softened(mode: Live) -> Callable[..., Any]:
    """The compiled softmax of the loss, see `core.train.engine.head`."""
    known: dict[Any, Any] = {}

    def soften(*given: Tensor) -> Any:
        shape = tuple(given[0].shape)
        if shape not in known:
            counting, mode.counting = mode.counting, False
            known[shape] = fused._program(mode, make_fx(head._soften)(*given), given)
            mode.counting = counting
        return known[shape](list(given))

    return soften


@contextmanager
def as_asked(how: Pass) -> Iterator[None]:
    """`hold_layers` goes by what was asked and not by this box's memory, and copies nothing."""
    with (
        mock.patch.object(setup, "Host", Waiting),
        mock.patch.object(setup, "host_holds", lambda need, available: how.host),
        mock.patch.object(setup, "Graphs", lambda *_: None),
    ):
        yield
