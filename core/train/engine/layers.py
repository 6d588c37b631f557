"""The decoder layers of a model, each held as the dial says, and compiled where that pays.

What is kept is named op by op through torch's selective checkpointing: matrix products and the attention,
by the width of what they make (`core.plan.dial`). All else is computed again, in a compiled layer inside the
kernels that need it. Every layer keeps the forward function that it came with: weights, hooks and names of
the model stay as they are, and a pass without gradients goes the old way.
"""

from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature
from types import MethodType
from typing import Any

import torch
import torch.nn.attention.varlen
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from core.plan.dial import WAITING, Hold
from core.train.engine import adapter  # noqa: F401  its ops are named below
from core.train.engine.graphs import GIVES_UP, Graphs
from core.train.engine.host import Host

ALL_KINDS = ("all", "narrow", "input")
THERE = {Hold.WIDE: Hold.ALL, Hold.HOST: Hold.NARROW}
"""What a layer keeps of which something waits in the host's memory: one kind less to compile."""
INSTEAD = {Hold.WIDE: Hold.NARROW, Hold.HOST: Hold.INPUT}
"""What it holds where it cannot wait there, as a plan takes it where the host has no room."""
RECOMPILES = 64
"""How often layers may be compiled, before those that differ again are left as they are."""
KEEP, AGAIN = CheckpointPolicy.MUST_SAVE, CheckpointPolicy.PREFER_RECOMPUTE


def decoder_layers(model: Any) -> list[nn.Module]:
    """The layers of the language model, in order; of those that transformers can checkpoint."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    decoder = whole.get_decoder() if hasattr(whole, "get_decoder") else whole
    return [one for one in decoder.modules() if isinstance(one, GradientCheckpointingLayer)]


ATTENTION = (
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_fused_attention_overrideable",
)
"""Ops of torch that are a whole attention; besides those of `torch.nn.attention.varlen`."""


def attend() -> set[Any]:
    found = {getattr(torch.ops.aten, name).default for name in ATTENTION if hasattr(torch.ops.aten, name)}
    varlen = getattr(torch.ops.torch_attn, "_varlen_attn", None)
    return found | ({varlen.default} if varlen else set())


def policy(hold: Hold, widest: int) -> Callable[..., CheckpointPolicy]:
    """Which op's result is kept. `widest`: features up to which it is narrow, see `core.plan.dial`."""
    attention, matrix = attend(), torch.ops.aten
    weight_at = {
        torch.ops.finetui.adapted.default: 2,
        torch.ops.finetui.into_adapter.default: 1,
        matrix.mm.default: 1,
        matrix.addmm.default: 2,
        matrix.linear.default: 1,
    }

    experts = getattr(matrix, "_grouped_mm", None)

    def decide(ctx: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        if op is torch.ops.finetui.into_adapter.default:
            return KEEP
        if experts and op is experts.default:  # one row for each chosen expert of a token: wide, all of them
            return KEEP if hold is Hold.ALL else AGAIN
        if hold is Hold.INPUT:
            return AGAIN
        if op in attention:
            return KEEP
        if op not in weight_at:
            return AGAIN
        shape = args[weight_at[op]].shape
        # a product with something wide makes the layer's own output, which nobody asks for again
        return KEEP if hold is Hold.ALL or max(shape) <= widest else AGAIN

    return decide


class Holder:
    """Runs layers so that they hold what the dial says."""

    def __init__(
        self,
        widest: int,
        *,
        compiled: bool,
        random: bool,
        loose: bool,
        four_bits: bool = False,
        host: Host | None = None,
        graphs: Graphs | None = None,
    ):
        """`random`: whether the layers draw numbers (dropout), which must be the same when computed again.

        `loose`: passes differ in their number of tokens, and layers are compiled once for all of them.
        `four_bits`: weights are unpacked by each pass, and not kept even by a layer that keeps all.
        """
        if compiled:  # a model may have many kinds of layers, and each is held in up to three ways
            torch._dynamo.config.recompile_limit = RECOMPILES
        self._policies = {hold: policy(hold, widest) for hold in (Hold.ALL, Hold.NARROW, Hold.INPUT)}
        self._random, self._loose, self._always = random, loose, four_bits
        self.host, self.graphs = host, graphs
        self._first_waiting: nn.Module | None = None
        self.compiled = compiled
        self.begun = False
        """Whether the passes are those of the run."""
        self.gave_up = ""
        """Why layers were left as they are in a pass of the run, where one was."""
        # whole or not at all: else the compiler leaves a layer that it gives up on as it is, without a word
        self._run: Any = torch.compile(_held, fullgraph=True) if compiled else _held

    def uncompile(self) -> None:
        """From here on the layers run as they are, and hold the same; but nothing waits in the host's memory:
        what selective checkpointing keeps of a layer that is not compiled, no hook can move."""
        self.compiled, self._run = False, _held
        if self.graphs:
            self.graphs.on = False

    def take(self, layer: nn.Module, hold: Hold) -> None:
        """From here on the layer's forward pass holds so much."""
        plain = layer.forward
        whole = type(layer).forward
        waits = hold in WAITING
        if waits and self._first_waiting is None:
            self._first_waiting = layer

        def run(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
            return self._as(INSTEAD.get(hold, hold), layer, whole, hidden, args, kwargs)

        runs = self.graphs.layer(run) if self.graphs else run

        def forward(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
            held = self.compiled or self._always or hold is not Hold.ALL
            if not (held and layer.training and torch.is_grad_enabled()):
                return plain(hidden, *args, **kwargs)
            if not hidden.requires_grad:  # the first layer's: one kind of layer is compiled once
                hidden = hidden.detach().requires_grad_()
            if self.compiled:
                loosen(hidden, args, kwargs, self._loose)
            if waits and self.compiled and self.host is not None:
                with self.host.layer(hidden, layer is self._first_waiting):
                    return self._as(THERE[hold], layer, whole, hidden, args, kwargs)
            return runs(hidden, *args, **kwargs)

        layer.forward = forward

    def _as(self, kept: Hold, layer: nn.Module, whole: Any, *inputs: Any) -> Any:
        how = (layer, whole, kept.value, self._policies[kept], self._random, *inputs)
        try:
            return self._run(*how)
        except GIVES_UP as error:
            if not self.begun or (self.graphs and self.graphs.recording):
                raise
            self.gave_up = str(error).strip().splitlines()[0][:160]
            return _held(*how)  # a run does not end for want of speed

    def take_all(self, layers: Sequence[nn.Module], kinds: Sequence[Hold]) -> None:
        for layer, hold in zip(layers, kinds, strict=True):
            self.take(layer, hold)


def by_pieces(layer: nn.Module, pieces: int) -> None:
    """From here on the layer's MLP takes its tokens in so many pieces, one after the other.

    What it makes of a token depends on that token alone. A layer whose MLP is not found stays as it is.
    """
    mlp = getattr(layer, "mlp", None)
    takes = list(signature(type(mlp).forward).parameters) if isinstance(mlp, nn.Module) else []
    if pieces < 2 or not isinstance(mlp, nn.Module) or len(takes) != 2:
        return
    mlp.pieces = pieces
    mlp.forward = MethodType(_in_pieces, mlp)  # one function for all layers: they are compiled once


def _in_pieces(mlp: Any, hidden: Tensor) -> Tensor:
    rows = hidden.flatten(0, -2).chunk(mlp.pieces)
    return torch.cat([type(mlp).forward(mlp, piece) for piece in rows]).view(hidden.shape)


def loosen(hidden: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], loose: bool) -> None:
    """Tells the compiler which sizes differ from pass to pass: the rows on a line and the line's tokens, or
    the rows side by side, of which an epoch's last pass has fewer, and their width."""
    borders = [one for name, one in kwargs.items() if name.startswith("cu_seq_lens")]
    for one in borders:
        torch._dynamo.maybe_mark_dynamic(one, 0)
    if not loose:
        return
    rows, tokens = hidden.shape[:2]
    for one in (hidden, *tree_leaves((args, kwargs))):
        if not isinstance(one, Tensor) or one.dim() < 2:
            continue
        masks = one.dim() == 4 and one.shape[2:] == (tokens, tokens)  # each token has a line of it
        if masks or one.shape[1] == tokens:
            torch._dynamo.maybe_mark_dynamic(one, (2, 3) if masks else 1)
            if rows > 1 and one.shape[0] == rows:
                torch._dynamo.maybe_mark_dynamic(one, 0)


def _held(
    layer: nn.Module,
    whole: Callable[..., Any],
    kept: str,
    decide: Callable[..., CheckpointPolicy],
    random: bool,
    hidden: Tensor,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    # the compiler looks at `kept` and not into `decide`: without this, layers that keep more and layers that
    # keep less would share what was compiled for the first of them
    if kept not in ALL_KINDS:
        raise ValueError(kept)
    return checkpoint(
        partial(whole, layer, **kwargs),
        hidden,
        *args,
        use_reentrant=False,
        preserve_rng_state=random,
        context_fn=partial(create_selective_checkpoint_contexts, decide),
    )
