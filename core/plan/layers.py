"""What one decoder layer holds for its backward pass, and what comes and goes while it is worked on.

By the rule of `core.plan.dial`, as `core.train.engine` carries it out. Bytes a token, in letters: h hidden, q
all queries, k all keys, i the MLP's width, r rank, c bytes of the compute dtype. Narrow tensors are the
input, the attention's output (with 4 bytes a head of its sums), what goes into the adapters (c r each) and
the output of every matrix that is no wider than the widest narrow tensor on either side: for a Llama c (2 h +
2 q + 2 k) in all. Wide ones are the outputs of the other matrices, gate and up. So a fused qkv is wide, and
of a mixture each chosen expert's gate and up are, and its down, which the weight of the choice is multiplied
with. Elsewhere the output of down is the layer's own, and nobody asks for it again.

Against layers of Llama-3.1-8B (torch 2.11, H200, 16,384 tokens, rank 16), MiB: all kept 1,478 by this form
and measured, narrow 581 and 581, the input 131 and 128. A compiled layer that goes backward was measured to
take about 2.0 GiB beside its narrow tensors and 2.5 with them to be made again; the form is those tensors,
both wide ones, two gradients as wide and two of the hidden state: 2.00 and 2.44.

Without compilation a layer that is worked on keeps all that autograd keeps, read off a trace of Llama layers
(transformers 5.23, PEFT 0.21; `tests/plan/trace_layers.py`), and so does one that is to keep all.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from core.models.count import Linear
from core.models.shape import ModelShape
from core.plan.dial import Hold, widest_narrow
from core.plan.scores import writes_scores
from core.spec import Method

FOUR_NORMS = ("gemma2", "gemma3", "gemma3_text")
FP32_NORMS = ("gemma", *FOUR_NORMS)
"""Families whose norms multiply by their weight before they cast back."""
NORM_AFTER = (*FOUR_NORMS, "glm4", "olmo2", "olmo3", "exaone4")
"""Families that normalise what the MLP gives: that is asked for again, and kept with the wide tensors."""
ACTIVATION_OF_STEPS = ("gpt2", "phi")
NORMS_IN_ATTENTION = ("qwen3", "qwen3_moe", "gemma3", "gemma3_text", "olmo2", "olmo3", "olmoe")
"""Families that also normalise queries and keys."""
IN_PLACE_OF_ATTENTION = ("in", "in_proj_qkv")
"""First matrices of what some layers of LFM2 and Qwen3.5 have in place of attention."""
DELTA = {"kept": 92, "backward": 130, "compiled": 62, "asked": 54}
"""Bytes a value that Qwen3.5's delta rule takes: kept by autograd, most while it goes backward, the same
compiled and so made again, and where nothing is kept. In fp32 whatever the rest is in, in plain steps, as
transformers takes it where flash-linear-attention is not installed; read off traces of 16 and of 32 heads."""
STAYS = 8
"""Tensors under this fraction of the layer's input are not worth the way to the host (`engine.host`)."""


@dataclass(frozen=True)
class Layer:
    """Bytes a token of one layer."""

    held: dict[Hold, float]
    """On the card, from the layer's forward pass to its backward pass."""
    host: float
    """In the host's memory, of a layer that waits there."""
    live: float
    """On the card while the layer goes backward, with what it holds itself."""
    again: float
    """The same of a layer that makes its wide tensors again."""
    wide: float
    """Of its wide tensors."""
    after: float = 0.0
    """Of those, what waits in the host's memory as well, where the layer's wide tensors stay."""
    mlp: float = 0.0
    """Of what is live, the part that is divided where the MLP takes its tokens in pieces."""


def layer(
    shape: ModelShape,
    method: Method,
    *,
    compute: int,
    rank: int,
    compiled: bool,
    padded: bool = False,
    twice: bool = False,
    dora: bool = False,
) -> Layer:
    """`compute`: bytes of the dtype. `padded`: with a mask. `twice`: each adapted matrix makes two results,
    the base's and the adapter's (DoRA, dropout), where plain LoRA makes one.

    Where layers are of several kinds: what they hold in the mean, and the most that any has live.
    """
    how = (compute, rank, compiled, padded, twice, dora)
    if not shape.kinds:
        return _of_a_kind(shape, method, *how)
    ones = [
        (many / shape.layers, _of_a_kind(replace(shape, linears=linears, kinds=()), method, *how))
        for many, linears in shape.every_linear
    ]
    return Layer(
        {hold: sum(share * one.held[hold] for share, one in ones) for hold in Hold},
        sum(share * one.host for share, one in ones),
        max(one.live for _, one in ones),
        max(one.again for _, one in ones),
        sum(share * one.wide for share, one in ones),
        sum(share * one.after for share, one in ones),
        min(one.mlp for _, one in ones),
    )


def _of_a_kind(
    shape: ModelShape,
    method: Method,
    compute: int,
    rank: int,
    compiled: bool,
    padded: bool,
    twice: bool,
    dora: bool,
) -> Layer:
    parts, wide = _narrow(shape, method, compute, rank), compute * _wide(shape)
    if twice and method != "full":
        outs = [compute * one[2] for one in shape.linears]
        limit = compute * widest_narrow(shape.hidden, shape.heads, shape.head_dim)
        parts += [one for one in outs if one <= limit]
        wide += sum(one for one in outs if one > limit)
    narrow, taken = sum(parts), compute * shape.hidden
    host = sum(one for one in parts if one >= taken / STAYS)
    values = _values(shape.linears)
    low = 0 if method == "full" else compute * rank * len(shape.linears)
    after = compute * _after(shape)
    held = {
        Hold.ALL: narrow + wide,
        Hold.NARROW: narrow,
        Hold.WIDE: narrow - host + wide - after,
        Hold.HOST: narrow - host,
        Hold.INPUT: float(taken + low),
    }
    if compiled:
        more = 2 * compute * (mlp_width(shape) + shape.hidden)
        if dora:
            more += 10 * mlp_width(shape)
        mlp = 0.0 if shape.experts or twice else wide + 2 * compute * mlp_width(shape)
        if mlp and shape.architecture in NORM_AFTER:  # all pieces must be there before any goes backward
            mlp = compute * mlp_width(shape)
        live = again = narrow + wide + more
        if shape.experts:  # gate and up, with what is as wide as all choices together
            again = narrow + 2 * compute * (mlp_width(shape) + shape.hidden) + 3 * compute * _chosen(shape)
            live = max(live, again + compute * _chosen(shape))
        if values:
            live = again = max(live, narrow + DELTA["compiled"] * values)
            mlp = 0.0
        return Layer(held, host, live, again, wide, after, mlp)
    whole = plain(shape, method, compute, rank, padded)
    whole += 2 * compute * sum(one[2] for one in shape.linears) if twice and method != "full" else 0
    whole += DELTA["kept"] * values
    live, again = (
        max(max(whole, narrow + wide) + passing(shape, compute, dora, one), DELTA["backward"] * values)
        for one in (False, True)
    )
    return Layer({**held, Hold.ALL: max(whole, narrow + wide)}, host, live, again, wide)


def _narrow(shape: ModelShape, method: Method, compute: int, rank: int) -> list[float]:
    """The narrow tensors of a layer."""
    widest = widest_narrow(shape.hidden, shape.heads, shape.head_dim)
    parts = [compute * shape.hidden]
    if attends(shape) and not writes_scores(
        shape.architecture
    ):  # else it is no op of its own, and made again
        parts += [compute * shape.heads * shape.head_dim, 4 * shape.heads]
    parts += [compute * one[2] for one in shape.linears if max(one[1:]) <= widest]
    if method != "full":
        parts += [compute * rank] * len(shape.linears)
    return [float(one) for one in parts]


def mean(shape: ModelShape, of: Callable[[tuple[Linear, ...]], float]) -> float:
    """Of a layer's matrices, over all kinds of layers."""
    return sum(many * of(linears) for many, linears in shape.every_linear) / shape.layers


def attends(shape: ModelShape) -> bool:
    """Whether layers with the shape's `linears` have attention."""
    return not shape.linears or shape.linears[0][0] not in IN_PLACE_OF_ATTENTION


def _values(linears: tuple[Linear, ...]) -> int:
    """Features of the values of a delta rule; 0: the layer has none."""
    return next((one[2] for one in linears if one[0] == "in_proj_z"), 0)


def _wide(shape: ModelShape) -> int:
    """Features of a layer's wide tensors."""
    widest = widest_narrow(shape.hidden, shape.heads, shape.head_dim)
    outs = sum(one[2] for one in shape.linears if one[2] > widest)
    return outs + _after(shape) + (2 * mlp_width(shape) + _chosen(shape) if shape.experts else 0)


def own_output(shape: ModelShape) -> float:
    """Features of what matrices make narrow out of wide, an MLP's last: nobody asks for it again, and it is
    kept all the same where a layer that is not compiled is told to keep all."""
    limit = widest_narrow(shape.hidden, shape.heads, shape.head_dim)
    return mean(shape, lambda linears: sum(one[2] for one in linears if one[2] <= limit < max(one[1:])))


def wide_weights(shape: ModelShape) -> int:
    """Parameters of the matrices that make a layer's wide tensors."""
    widest = widest_narrow(shape.hidden, shape.heads, shape.head_dim)
    return sum(one[1] * one[2] for one in shape.linears if one[2] > widest)


def _after(shape: ModelShape) -> int:
    """Features of what an MLP gives to a norm."""
    return shape.hidden if shape.architecture in NORM_AFTER and not shape.experts else 0


def _chosen(shape: ModelShape) -> int:
    """Features of a mixture's hidden state, once for each expert that a token chooses."""
    return (shape.experts_per_token or 1) * shape.hidden if shape.experts else 0


def mlp_width(shape: ModelShape) -> int:
    """What one token passes through: of a mixture, the experts that are chosen for it."""
    if shape.experts and shape.experts_per_token:
        return shape.experts_per_token * (shape.expert_intermediate or shape.intermediate)
    return shape.intermediate


def plain(shape: ModelShape, method: Method, compute: int, rank: int, padded: bool) -> float:
    """Bytes a token that autograd keeps of a layer that is neither compiled nor told what to keep.

    Each norm its input in fp32, 4 h, and what goes into the matrices that learn, 2 c h. Turned queries and
    keys, values and the attention's output, with keys and values repeated for every head where there is a
    mask: c (2 q + 2 k), or 4 c q. A gated MLP: gate, up, its activation and the product, 4 c i; a plain one
    2 c i, or about 5 where the family builds its activation of small steps. Norms that learn, their result.
    """
    h, queries, keys = shape.hidden, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    norms = 4 if shape.architecture in FOUR_NORMS else 2
    kept = norms * 4 * h + 2 * compute * h + 4 * shape.heads
    if attends(shape):
        kept += compute * (2 * queries + 2 * (queries if padded else keys))
    else:  # what goes in, and about as much of steps
        kept += 2 * compute * shape.linears[0][2]
    wide = 4 if shape.gated_mlp else 5 if shape.architecture in ACTIVATION_OF_STEPS else 2
    kept += compute * wide * mlp_width(shape)
    if shape.architecture in NORMS_IN_ATTENTION:
        kept += (4 + compute) * (queries + keys)
    if method == "full":
        if shape.architecture in FP32_NORMS:
            return kept + norms * 4 * h + compute * (queries + keys)
        return kept + norms * compute * h
    return kept + compute * rank * len(shape.linears)


def passing(shape: ModelShape, compute: int, dora: bool = False, again: bool = False) -> float:
    """Bytes a token that come and go while such a layer goes backward, as traced: a gradient as wide as the
    MLP and two and a half as wide as the hidden state, or, of one that is made again, two and one; with DoRA,
    whose scales are fp32, ten bytes more for each of the MLP's width."""
    wide, narrow, chosen = (2, 1, 2.5) if again else (1, 2.5, 1)
    made = (wide * compute + (10 if dora else 0)) * mlp_width(shape) + narrow * compute * shape.hidden
    return made + chosen * compute * _chosen(shape)


def around_scores(shape: ModelShape, one: Layer, compute: int, compiled: bool) -> float:
    """Bytes a token beside the scores while an attention that writes them goes backward: queries, and keys
    and values for every head. An uncompiled layer has the first norm's input in fp32 and two gradients of the
    hidden state, a compiled one its narrow tensors and five hidden states, some made again."""
    queries, h = shape.heads * shape.head_dim, shape.hidden
    around = one.held[Hold.NARROW] + 5 * compute * h if compiled else 4 * h + 2 * compute * h
    return around + 3 * compute * queries


def forward(shape: ModelShape, compute: int) -> float:
    """Bytes a token that come and go in a layer that nothing is kept of: the hidden state, its norm in fp32
    and cast, and the MLP's gate, up and product; of a mixture four times what is as wide as all choices, of a
    delta rule its steps."""
    if shape.experts:
        return 4 * compute * _chosen(shape)
    values = max(_values(linears) for _, linears in shape.every_linear)
    if values:
        return 3 * compute * shape.hidden + DELTA["asked"] * values
    return shape.hidden * (4 + 3 * compute) + 3 * compute * mlp_width(shape)
