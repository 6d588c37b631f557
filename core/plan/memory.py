"""The memory that a run takes, by part, in closed form: at once and without torch.

The forms follow from what `core.train.model` puts into memory and from what each layer holds at a place of
the dial (`core.plan.layers`). The card's peak is a sum: weights, adapters, gradients and the optimiser's
state; what the layers hold; and the largest of what comes and goes: one layer that goes backward, the loss,
or the step. The last layer is always one of those that hold less, so its backward pass is the fullest of all
layers'.

Where layers wait in the host's memory, two of them are on the card at once: the one that goes backward and
the one that is on its way back. Preferences (TRL 1.16's DPO and KTO, and ORPO with the same head) run
uncompiled, with masks; a pair is two sequences, so a pass has twice the tokens. The model as it was is asked
with the adapters off while the learned pass is held: that takes one layer's passing tensors and a tile of
logits, never a second model. A full run asks it before the first step; its weights are fp32, since steps of
1e-6 would round away in bf16.

Letters: n tokens of a pass (batch x length, or those of the fullest), h hidden, c bytes of the compute dtype.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from core.models.shape import ModelShape
from core.plan import layers, scores
from core.plan.dial import WAITING, Hold, holds, widest_narrow
from core.plan.loss import loss as loss_of
from core.plan.loss import tile, trl_loss
from core.plan.objective import SEQUENCES
from core.plan.standing import among, moments, trained, weights
from core.spec import Method, Objective

CONTEXT = 700 * 2**20
"""CUDA's context and the kernels of its libraries; NVML shows it, torch does not."""
WORKSPACES = {True: 2 * 2**25, False: 2 * (2**23 + 2**17)}
"""cuBLAS's, one for the main thread and one for that of the backward pass, from torch's own allocator: 32 MiB
each on cards of BIG, else 8 MiB and an eighth (torch 2.13, CublasHandlePool.cpp)."""
BIG = (9, 10, 12)
"""Major compute capabilities with large workspaces: Hopper and Blackwell."""
CPU_LIBRARIES = 900 * 2**20
"""What torch and the trainer take in a process without a GPU."""
GPU_LIBRARIES = 3 * 2**30
"""Of the host's memory that a process with CUDA and the trainer takes: a round figure, with room."""
FRAGMENTS = 0.05
"""Of the activations: what the allocator cannot use again because rows differ in length."""
MLP_TOKENS = 6144
"""Where all layers wait in the host's memory, their MLPs take about so many tokens at a time: what an MLP
makes is then the most that there is."""
ADAFACTOR = 16
"""Bytes a number of the largest matrix that learns, while Adafactor takes its step (transformers): gradient,
weights and what is taken off them in fp32, and one of those once more."""
SLAB = 2**30
"""Bytes of the host's memory that are page-locked at a time (`core.train.engine.host`)."""
AGAIN = (Hold.NARROW, Hold.HOST, Hold.INPUT)
"""Kinds of layers that make their wide tensors again."""
HOST_SPARE = (1.2, 4 * 2**30)
"""What the host must have available: so many times the need, and so much beside it."""


@dataclass(frozen=True)
class Bytes:
    """A run's memory by part; `total` is the peak of a step on the card.

    The first five stand all the time (gradients from the end of a backward pass, and they are counted whole;
    where the fullest moment comes before they are all there, what is missing of them is taken off `kept` or
    `live`). The next four are what the fullest moment wants on top of them.
    """

    weights: int
    """Of a model in four bits: the bare four bits of its matrices, and what is not quantised."""
    quantization: int
    """The scales of four-bit weights, and the scales of those."""
    adapters: int
    """With their copies rounded to what is computed in."""
    gradients: int
    optimizer: int
    kept: int
    """What the layers hold for the backward pass, with the hidden states before them and after them."""
    live: int
    """The layer that goes backward: what it makes again and what comes and goes."""
    loss: int
    """The head: a piece of the logits, and gradients of the hidden states and of a head that learns."""
    temporary: int
    """cuBLAS's workspaces, and what the optimiser's step takes, or a pass that is only asked."""
    context: int
    """CUDA's context and kernels; on a CPU what the libraries take."""
    fragments: int
    """What the allocator holds and cannot use again."""
    host: int = 0
    """Of the host's memory, page-locked; no part of the total."""

    @property
    def total(self) -> int:
        parts: list[int] = list(self.__dict__.values())
        return sum(parts) - self.host

    @property
    def tensors(self) -> int:
        """What torch's allocator says was allocated at the peak (`max_memory_allocated`)."""
        return self.total - self.context - self.fragments

    def to_dict(self) -> dict[str, int]:
        return {**self.__dict__, "total": self.total}


def workspaces(capability: Sequence[int] | None) -> int:
    """Bytes of cuBLAS's workspaces. `capability`: the card's; of one that is not known, the larger ones."""
    return WORKSPACES[capability is None or capability[0] in BIG]


def host_holds(need: int, available: int) -> bool:
    """Whether the host's memory, of which so many bytes are available, can take `need` of them safely."""
    return need * HOST_SPARE[0] + HOST_SPARE[1] <= available


def may_wait(on_gpu: bool, compiled: bool) -> bool:
    """Whether layers can wait in the host's memory at all: torch moves what a compiled layer saves, and not
    what an uncompiled one keeps by choice."""
    return on_gpu and compiled


def estimate(
    shape: ModelShape,
    method: Method,
    *,
    batch: int,
    length: int,
    rank: int = 16,
    optimizer: str = "adamw",
    recompute: float = 1.0,
    compiled: bool = False,
    host: bool = False,
    precision: str = "bf16",
    on_gpu: bool = True,
    targets: list[str] | None = None,
    accumulate: int = 1,
    padded: bool | None = None,
    dora: bool = False,
    dropout: bool = False,
    objective: Objective = "sft",
    recorded: bool = False,
    capability: Sequence[int] | None = None,
    tokens: int | None = None,
) -> Bytes:
    """The peak of training steps of `accumulate` passes of `batch` rows of `length` tokens, all learned.

    `tokens`: of the fullest pass, where rows lie end to end and are not all so long; None: batch x length.
    `recompute`: the place of the dial. `compiled`: whether the layers are. `host`: whether its memory may be
    used. `targets`: names of the linear layers with adapters, None: all of a layer. `padded`: rows of a pass
    are made equally long and come with a mask, None: as soon as there are two, on a CPU or in fp32; else they
    lie end to end. `recorded`: passes over the layers are started as a whole (`core.train.engine.graphs`), so
    what is live in a layer has its place while the loss is made, and what goes in and comes out another.
    `capability`: the card's compute capability, where it is known.
    """
    batch *= SEQUENCES[objective]
    compiled = compiled and objective == "sft"
    host = host and may_wait(on_gpu, compiled)
    if padded is None:
        padded = batch > 1 and (not on_gpu or precision == "fp32")
    padded = padded or objective != "sft"
    tokens, full = tokens or batch * length, method == "full"
    if full and objective != "sft" and precision == "bf16":
        precision = "fp16"  # as there: fp32 weights under autocast
    compute = 4 if precision == "fp32" else 2
    learning, width = trained(shape, method, rank, targets, precision)
    dora = dora and not full
    if dora:  # one magnitude for each output
        every = shape.every_linear
        learning += sum(many * one[2] for many, linears in every for one in among(linears, targets))
    gradients = learning * width
    stored = width if full else compute  # of what the layers hold: fp32 weights make fp32 sums
    one = layers.layer(
        shape,
        method,
        compute=stored,
        rank=rank,
        compiled=compiled,
        padded=padded,
        twice=dora or (dropout and not full),
        dora=dora,
    )
    # where rows come padded, each layer's attention turns the mask into a bias; where it writes its scores,
    # they have masks as numbers already
    writes = scores.writes_scores(shape.architecture)
    square = batch * length * length
    bias = square * compute if padded and not writes else 0
    masks = square * compute * scores.MASKS if writes else 0
    told = compiled or (on_gpu and method == "qlora")  # no layer is left to autograd alone
    written = square * shape.heads * scores.kept(writes, stored) if writes and not compiled else 0
    around = 0.0  # where scores are written: what is there while that attention goes backward, its MLP done
    if writes:
        around = tokens * layers.around_scores(shape, one, stored, compiled)
        around += square * shape.heads * scores.backward(writes, stored, compiled, full)
    rebuilt = _rebuilt(shape, method, compute, dora)
    kinds = holds(recompute, shape.layers, host)
    count = Counter(kinds)
    keeps = one.held
    if told and not compiled:  # layers that unpack their weights: autograd would keep those
        keeps = {**keeps, Hold.ALL: keeps[Hold.NARROW] + one.wide + stored * layers.own_output(shape)}
    held = tokens * sum(keeps[kind] * many for kind, many in count.items())
    if not told:  # what is left to autograd keeps the bias and what was made of the scores too
        held += count[Hold.ALL] * (bias + written + _unpacked(shape, method, compute))
    held += masks
    waiting = sum(count[kind] for kind in WAITING)
    narrow = length <= widest_narrow(shape.hidden, shape.heads, shape.head_dim)
    mask = square * compute if writes and narrow else 0  # it waits with each layer
    parked = {Hold.WIDE: tokens * (one.host + one.after) + mask, Hold.HOST: tokens * one.host + mask}
    coming = parked.get(kinds[-1], 0) if waiting > 1 else 0
    learns = 3 * stored * shape.hidden if full and compiled else 0  # what goes into its matrices, made again
    live, first = (
        tokens * ((one.again if hold in AGAIN else one.live) + (learns if hold is Hold.INPUT else 0))
        + bias
        + written
        + rebuilt
        for hold in (kinds[-1], kinds[0])
    )
    pieces = -(-tokens // MLP_TOKENS)
    in_pieces = count[Hold.HOST] == shape.layers and pieces > 1 and one.mlp > 0
    if in_pieces:
        together = 2 * stored * shape.hidden + learns  # the pieces, put together again
        if method == "qlora" and shape.architecture in layers.NORM_AFTER:  # each piece unpacks its own
            live += (pieces - 1) * compute * layers.wide_weights(shape)
        live = first = live - tokens * (one.mlp * (1 - 1 / pieces) - together)
    ends = tokens * shape.hidden * (4 + 2 * stored)  # the embedding's output and the last norm's in and out
    if objective == "sft" and not shape.scaled_logits:
        head = loss_of(shape, tokens, compute, width if full else 0, compiled)
    else:
        head = trl_loss(shape, tokens, stored, full, on_gpu)

    # What the fullest moments hold beside weights, adapters and the optimiser's state: the loss going
    # backward, the last layer, those between, the first two, when nearly all gradients are there, and the
    # step itself.
    before = gradients if accumulate > 1 else 0
    own = tokens * keeps[kinds[-1]] + (bias + written if kinds[-1] == Hold.ALL and not told else 0)
    beside = max(around - own, live - own, 0.0)
    stays = beside + 4 * tokens * stored * shape.hidden
    at_loss = before + held + ends + head + (stays if recorded else 0)
    # the head's gradient is there from the start; where it is the embedding's too it is added when that comes
    of_head = width * shape.embedding if full and (accumulate == 1 or shape.tied) else 0
    at_last = before + of_head + held + beside + coming
    missing = next_missing = 0
    if full and accumulate == 1:
        missing = width * _last_gradients(shape, in_pieces)
        next_missing = missing + width * _least(shape, mlp=True)
    at_first = gradients - missing + max(first, around) + masks + (of_head if accumulate > 1 else 0)
    back = parked.get(kinds[0], 0) if waiting > 1 else 0  # of the first layer, for the second one's turn
    at_second = at_first + missing - next_missing + tokens * keeps[kinds[0]] + back
    at_turn = 0.0
    if full and len(count) > 1:
        done = width * (shape.parameters - (1 if shape.tied else 2) * shape.embedding) / shape.layers
        standing = (0.0, gradients) if accumulate > 1 else (done, 0.0)
        at_turn = _at_turns(kinds, tokens, keeps, parked, *standing) + of_head + masks + max(live, around)
    twice = width * shape.embedding * (2 if accumulate > 1 else 1) if full and shape.tied else 0
    at_end = gradients + twice  # the embedding's gradient beside the head's, which it is summed with
    largest = max(shape.embedding, largest_matrix(shape))
    at_step = gradients + (ADAFACTOR * largest if optimizer == "adafactor" and full else 0)
    asked = tokens * layers.forward(shape, stored) + tile(shape, tokens, stored, on_gpu)
    compares = objective in ("dpo", "kto") and not full
    at_reference = before + held + ends + asked if compares else 0
    fullest = max(at_loss, at_last, at_turn, at_first, at_second, at_end, at_step, at_reference)
    on_top = int(fullest - gradients)
    loss = live_now = temporary = 0
    if fullest == at_loss:
        loss = min(int(head), on_top)
        live_now = int(stays) if recorded else 0
    elif fullest == at_last:
        live_now = min(int(beside + coming), on_top)
    elif fullest in (at_turn, at_first, at_second, at_end):
        live_now = on_top
    else:
        temporary = on_top if fullest == at_step else min(int(asked), on_top)
    spaces = workspaces(capability) if on_gpu else 0
    there = int(sum(parked[kind] * count[kind] for kind in WAITING))
    base, scales = weights(shape, method, precision)
    return Bytes(
        weights=base,
        quantization=scales,
        adapters=0 if full else learning * (width + (compute if compute < width else 0)),  # and rounded ones
        gradients=gradients,
        optimizer=moments(shape, learning, width, optimizer, full, rank, targets),
        kept=on_top - loss - live_now - temporary,
        live=live_now,
        loss=loss,
        temporary=temporary + spaces,
        context=CONTEXT if on_gpu else CPU_LIBRARIES,
        fragments=int(FRAGMENTS * on_top),
        host=-(-there // SLAB) * SLAB,
    )


def _at_turns(
    kinds: Sequence[Hold],
    tokens: int,
    keeps: dict[Hold, float],
    parked: dict[Hold, float],
    each: float,
    before: float,
) -> float:
    """Of layers that go backward right before one of another kind, the most that there is beside themselves:
    what the layers before them hold, what is on its way back to the next one, and gradients, `each` of a
    layer that is done and `before` from an earlier pass."""
    held = list(itertools.accumulate(tokens * keeps[kind] for kind in kinds))
    return before + max(
        held[at - 1] + parked.get(kinds[at - 1], 0) + each * (len(kinds) - 1 - at)
        for at in range(1, len(kinds))
        if kinds[at] != kinds[at - 1]
    )


def _matrices(shape: ModelShape) -> int:
    """Parameters of the linear matrices of the layer that has most of them."""
    return max(sum(one[1] * one[2] for one in linears) for _, linears in shape.every_linear)


def largest_matrix(shape: ModelShape) -> int:
    """Parameters of the largest linear matrix of any layer."""
    return max((one[1] * one[2] for _, linears in shape.every_linear for one in linears), default=0)


def _rebuilt(shape: ModelShape, method: Method, compute: int, dora: bool) -> int:
    """A layer's matrices turned back from four bits, and for DoRA's norm the largest one in fp32."""
    return _unpacked(shape, method, compute) + (4 * largest_matrix(shape) if dora else 0)


def _unpacked(shape: ModelShape, method: Method, compute: int) -> int:
    return compute * _matrices(shape) if method == "qlora" else 0


def _last_gradients(shape: ModelShape, mlp_done: bool) -> int:
    """Parameters whose gradients come after the first layer's activations are gone: its own, without its
    MLP's where that is done, and the embedding's (not where it is the head too: then they were there from
    the start)."""
    return _least(shape, not mlp_done) + (0 if shape.tied else shape.embedding)


def _least(shape: ModelShape, mlp: bool) -> int:
    """Parameters of the linear matrices of the layer that has fewest, with or without its MLP's."""
    own = widest_narrow(shape.hidden, shape.heads, shape.head_dim)
    return min(
        sum(one[1] * one[2] for one in linears if mlp or max(one[1:]) <= own)
        for _, linears in shape.every_linear
    )
