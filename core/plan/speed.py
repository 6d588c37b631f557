"""How fast a run will be, by parts and in closed form: an estimate, and shown as one.

Work of a token (Kaplan et al. 2020, 2.1): a forward pass takes 2 operations a parameter that it goes through,
the backward pass 2 for the gradient of the activations and 2 more for the gradient of weights that learn. On
a card a layer's seconds are its matrix products (2 or 4 or 6 operations a weight), its attention (causal:
half of 4 q l forward, two and a half times that backward), what only goes through memory (norms, rotations,
activations, residuals; an adapter reads and writes its matrix's input and output), and again what the dial
computes again: gate and up of a layer that keeps its narrow tensors, all but the last matrix of one that
keeps its input. Copies to the host run beside all that; what of them is longer than the forward passes is
waited for, and a tenth of them is felt. The head is beside the layers: 4 operations a weight, 6 where it
learns.

Fitted to layers of Llama-3.1-8B with r 16 on one H200 (torch 2.11, 16,384 tokens; ms, measured and by this
form): compiled, all kept 29.7 and 29.6, narrow 35.8 and 35.8, input 41.9 and 39.6; plain, all kept 37.4 and
37.6; the head 53 and 51; narrow tensors to the host 1.3 more and 1.2. Whole steps on the same card were
measured with earlier engines, which also made the last matrix again or copied inputs (tokens/s, by this
form): LoRA compiled with all again 11,039 (12,380), with a little again 15,381 (16,310); QLoRA the same
10,882 (12,140) and 14,841 (16,000); full with 8-bit Adam 7,716 (9,710) and 10,581 (10,870); plain LoRA
keeping all 10,845 (13,000). A card's own data sheet scales all of it.

Of a mixture the hidden state goes through memory once more for each expert that a token chooses, to be
gathered and summed, and experts' products are smaller: one run tells how much that is, LoRA of half a
Qwen3-30B-A3B with 32 experts, 8 x 2,048 tokens compiled on that card, 44,962 tokens/s (44,940).
"""

from collections import Counter
from dataclasses import dataclass, replace

from core.models.shape import ModelShape
from core.models.traits import TRAITS
from core.plan.cards import Card
from core.plan.dial import WAITING, Hold, holds, widest_narrow
from core.plan.layers import attends, layer, mean, mlp_width
from core.plan.memory import may_wait
from core.plan.objective import more_passes
from core.plan.scores import writes_scores
from core.spec import Method, Objective

MATRIX, ATTENTION, MEMORY = 0.685, 0.30, 0.90
"""Shares of a card's data-sheet rates that matrix products, attention and what goes through memory reach."""
EXPERTS = 0.75
"""Of that share of the card's rate, what products of experts reach."""
CHOSEN = 12
"""Elements read and written, forward and backward, for a feature of the hidden state and a chosen expert."""
STEPS = {True: 1.0, False: 4.6}
"""Times that what only goes through memory does so, in a compiled layer and in one that goes step by step."""
HOST_RATE = 50e9
"""Bytes a second each way (PCIe 5; older cards have half of it, but compute more slowly too)."""
CONTENTION = 0.10
"""Of the copies' time: they take bandwidth from what is computed meanwhile."""
UNPACK = 6
"""Bytes a weight that go through memory each time it is turned back from four bits."""
STEP_BYTES = {"adamw": 14, "adamw_8bit": 10, "paged_adamw_8bit": 10, "adafactor": 10}
"""Bytes a trained weight that a step moves: weight, gradient and moments, read and written (bf16)."""
CLIP_BYTES = 6
PAGED = 12
"""Bytes a weight, at HOST_RATE, that moments cost which go to the host and back page by page: a step over
3.2 B weights took 0.79 s longer on a full card (8.3 GiB of moments, `python -m benchmarks.paged`)."""
PASS, BETWEEN = 0.0006, 0.005
"""Seconds beside the work of a layer in a pass, for kernels that do not fill the card at their ends, and of a
pass, for the trainer's own doing. Assumed; they make passes of 8k tokens worth having on a fast card."""
LEAST = {("gpu", False): 0.006, ("gpu", True): 0.0027, ("cpu", False): 0.004, ("cpu", True): 0.004}
"""A pass costs at least this for each layer, however few tokens it has: starting its kernels, where it is not
recorded. Of a host whose cores take CORE_MS for a piece of Python; in proportion of others. Uncompiled: by
six dense models of 0.5 to 9 B on one H200's host, 0.92 to 1.12 of what this says."""
CORE_MS = 1.1
"""That piece on a host that is not known (`core.machine.core_speed`): an H200's took 0.7 on cores that nobody
shared, 1.2 to 1.5 on others."""
MORE = {True: (0.15, 0.33), False: (1.5, 1.7)}
"""As many times that on top where a layer keeps its narrow tensors, or its input: uncompiled, each op is then
asked whether it is kept (`benchmarks.layers`: 5 ms of the host, and 18 or 19)."""
ADAPTED = 1.8
"""Times that for layers with adapters, which have more kernels; measured there."""
IN_STEPS, MIXED, NORMED = 1.4, 1.6, 1.2
"""Times that for uncompiled layers of families that write their scores, of mixtures, and of those that norm
queries and keys. Such a layer of Gemma 2 starts 1.7 times as many ops as a Llama's, Qwen3's mixture 1.5
times, Qwen3 1.4 times, adapters' among them, of which each is several kernels; the first two took 1.4 and
1.7 times as long on one host, the last is reckoned from its ops."""
WAITS, FOUR_BITS = 0.002, 0.0004
"""Seconds by which a layer takes the host longer, forward and backward, where its tensors wait in the host's
memory, and for each matrix that is unpacked (packs of 8,192 tokens of models of 0.5 to 1.5 B, H200)."""
SCORES = 22
"""Bytes that go through memory for each score of an attention that writes them, forward and made again;
backward twice that. Fitted to Gemma 2 9B."""
CORE_RATE = 25e9
"""Operations a second of one CPU core; fitted to a 28 M model's 300 tokens/s on two."""
TYPICAL = (125.0, 600.0)
"""TFLOP/s and GB/s of a card that is not on the list, where an order of magnitude is enough."""


@dataclass(frozen=True)
class LayerSeconds:
    """One layer, one pass."""

    forward: float
    backward: float
    wide: float
    """To compute the wide tensors again."""
    rest: float
    """To compute all else again but the layer's own output."""
    copy: float
    """To move its narrow tensors one way."""


def tokens_per_second(
    shape: ModelShape,
    method: Method,
    card: Card,
    *,
    tokens: int,
    recompute: float,
    compiled: bool = False,
    host: bool = False,
    row: float = 2048,
    useful: float = 1.0,
    optimizer: str = "adamw",
    accumulate: int = 1,
    objective: Objective = "sft",
    epochs: float = 1.0,
    recorded: bool = False,
) -> float | None:
    """Useful tokens a second. `tokens`: of one pass, padding included, of which the share `useful` is not.
    `row`: tokens that see each other. `recompute`, `compiled`, `host`, `recorded`: as
    `core.plan.memory.estimate`.

    None where the card's rate is not known.
    """
    more = more_passes(objective, method, epochs)
    if card.kind == "cpu":
        work = operations(shape, method, recompute, more)
        seconds = tokens * work / (CORE_RATE * max(1, card.cores))
        return useful * tokens / (seconds + shape.layers * LEAST["cpu", False])
    if card.tflops is None or card.bandwidth is None:
        return None
    compiled = compiled and objective == "sft"
    one = layer_seconds(shape, method, card, tokens=tokens, row=row, compiled=compiled)
    count = Counter(holds(recompute, shape.layers, host and may_wait(True, compiled)))
    again = (count[Hold.NARROW] + count[Hold.HOST]) * one.wide + count[Hold.INPUT] * (one.wide + one.rest)
    if not compiled:  # then a layer that keeps all does so without computing anything again
        again += (shape.layers - count[Hold.ALL]) * _pointwise(shape, card, tokens) * STEPS[False] / 3
    narrow, of_input = MORE[compiled]
    more_kernels = narrow * (count[Hold.NARROW] + count[Hold.HOST]) + of_input * count[Hold.INPUT]
    least = LEAST["gpu", compiled] * (shape.layers + more_kernels)
    least *= 0 if recorded else ADAPTED if method != "full" and compiled else 1
    if not compiled:
        least *= _more_kernels(shape)
    waiting = sum(count[kind] for kind in WAITING)
    if method == "qlora" and not recorded:
        least += FOUR_BITS * sum(many * len(linears) for many, linears in shape.every_linear)
    least += WAITS * waiting
    slow = (card.core_ms or CORE_MS) / CORE_MS
    learns = 2 if method == "full" else 0
    softmax = 4 if objective == "sft" else 6  # TRL's head makes its logits twice
    head = tokens * shape.embedding * (softmax + learns + 2 * more) / _rate(card)
    copies = waiting * one.copy  # what leaves last does so beside the loss
    copying = max(0.0, copies - shape.layers * one.forward - head) + CONTENTION * copies
    busy = shape.layers * (one.forward + one.backward + PASS) + again + head + copying
    whole = max(busy, slow * least)  # copies go on while the card waits for the host
    whole += slow * BETWEEN + more * shape.layers * one.forward
    if method == "full":
        whole += 4 * shape.parameters / _memory(card)  # gradients of weights, summed
        moved = STEP_BYTES[optimizer] + CLIP_BYTES
        whole += moved * shape.parameters / _memory(card) / accumulate
        whole += PAGED * shape.parameters / HOST_RATE / accumulate if optimizer.startswith("paged") else 0
    return useful * tokens / whole


def operations(shape: ModelShape, method: Method, recompute: float, more: float = 0.0) -> float:
    """Operations a token; `more`: passes beside the one that is learned from. Without a card layers past the
    middle of the dial are computed again whole, those before it their wide part."""
    through = shape.active_parameters - (0 if shape.tied else shape.embedding)
    wide, rest = _again(shape)
    count = Counter(holds(recompute, shape.layers, host=False))
    again = 2 * (count[Hold.NARROW] * wide + count[Hold.INPUT] * (wide + rest))
    return (2 + 2 + (2 if method == "full" else 0) + 2 * more) * through + again


def layer_seconds(
    shape: ModelShape, method: Method, card: Card, *, tokens: int, row: float, compiled: bool
) -> LayerSeconds:
    """Of one layer in a pass of `tokens` tokens in rows of `row`, on a card whose rates are known."""
    rate, memory = _rate(card), _memory(card)
    weights = (shape.active_parameters - (1 if shape.tied else 2) * shape.embedding) / shape.layers
    slower = _experts(shape) * (1 / EXPERTS - 1)
    product = 2 * tokens * (weights + slower) / rate
    queries = (
        shape.heads * shape.head_dim * mean(shape, lambda linears: attends(replace(shape, linears=linears)))
    )
    attention = 2 * tokens * row * queries / ((card.tflops or 0) * 1e12 * ATTENTION)
    pointwise = _pointwise(shape, card, tokens) * STEPS[compiled]
    writes = writes_scores(shape.architecture) is not None
    scores = SCORES * tokens * row * shape.heads / memory if writes else 0.0
    ins = mean(shape, lambda linears: sum(one[1] for one in linears))
    outs = mean(shape, lambda linears: sum(one[2] for one in linears))
    adapter = 0.0 if method == "full" else 2 * tokens / memory
    unpack = UNPACK * weights / memory if method == "qlora" else 0.0
    wide, rest = _again(shape)
    limit = widest_narrow(shape.hidden, shape.heads, shape.head_dim)
    wide_outs = mean(shape, lambda linears: sum(one[2] for one in linears if one[2] > limit))
    low = mean(shape, lambda linears: sum(one[2] for one in linears[:-1])) - wide_outs
    held = layer(shape, method, compute=2, rank=16, compiled=compiled)
    return LayerSeconds(
        forward=product + attention + scores + pointwise / 3 + adapter * (ins + 2 * outs) + unpack,
        backward=product * (2 if method == "full" else 1)
        + 2.5 * attention
        + 2 * scores
        + pointwise * 2 / 3
        + adapter * (3 * ins + 2 * outs)
        + unpack,
        wide=2 * tokens * wide / rate + adapter * 2 * wide_outs + unpack * wide / weights,
        rest=2 * tokens * rest / rate
        + attention
        + scores
        + (pointwise / 3 if compiled else 0.0)
        + adapter * 2 * low
        + unpack * rest / weights,
        copy=tokens * held.host / HOST_RATE,
    )


def _more_kernels(shape: ModelShape) -> float:
    """Times as long as a Llama's that an uncompiled layer's kernels take to start."""
    if writes_scores(shape.architecture):
        return IN_STEPS
    if shape.experts:
        return MIXED
    known = TRAITS.get(shape.architecture)
    return NORMED if known and known.qk_norm else 1.0


def _again(shape: ModelShape) -> tuple[float, float]:
    """Weights of a layer whose products are wide, and of the rest but the last one, which a token uses."""
    limit = widest_narrow(shape.hidden, shape.heads, shape.head_dim)
    wide = mean(shape, lambda linears: sum(one[1] * one[2] for one in linears if one[2] > limit))
    narrow = mean(shape, lambda linears: sum(one[1] * one[2] for one in linears if max(one[1:]) <= limit))
    return wide + _experts(shape), narrow


def _experts(shape: ModelShape) -> int:
    """Weights of the experts that one token passes through in a layer."""
    return 3 * shape.hidden * mlp_width(shape) if shape.experts else 0


def _pointwise(shape: ModelShape, card: Card, tokens: int) -> float:
    """Seconds of what only goes through memory, there and back, in a compiled layer: elements read and
    written for norms and residuals, rotations, and the MLP's activation."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    elements = 30 * shape.hidden + 8 * (queries + keys) + 9 * mlp_width(shape)
    if shape.experts:
        elements += CHOSEN * (shape.experts_per_token or 1) * shape.hidden
    return 2 * tokens * elements / _memory(card)


def _rate(card: Card) -> float:
    return (card.tflops or 0.0) * 1e12 * MATRIX


def _memory(card: Card) -> float:
    return (card.bandwidth or 0.0) * 1e9 * MEMORY
