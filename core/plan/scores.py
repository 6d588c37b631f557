"""Attention that writes its scores: a number for each pair of tokens and each head, which quick kernels never
hold.

Two families ask for what no kernel of torch's does: Gemma 2 caps its scores with a tanh, and gpt-oss gives
each head a sink to look at instead of a token. Transformers computes their attention in plain steps: 5.23 by
itself, 5.17 only where it is told to, and else takes torch's kernels for Gemma 2, which leave the cap away.
Gemma 3 does neither and has quick kernels. Whoever loads a model, the engine (`core.train.engine.attention`)
and the closed form (`core.plan.memory`) all ask here.

With e numbers (rows x heads x length x length) and c bytes of the compute dtype, caps and sinks take:

- what autograd keeps: the tanh's result, the softmax in fp32 and cast, (2 c + 4) e; the softmax, c e
- most while it goes backward, uncompiled: the tanh's result, and in fp32 the softmax and its gradient on both
  sides, (c + 12) e; the softmax, its gradient on both sides and that of the scores, 4 c e
- the same compiled, where all of it is made again: the scores, the gradient of what became of them and, since
  more is read for it than the compiler likes to read twice, that times the softmax in fp32, (2 c + 4) e, with
  the softmax and the scores' gradient beside it where the layer's own weights learn, (4 c + 4) e; with sinks
  both with their column beside both without it, 4 c e
- where nothing is kept: the scores, and the softmax in fp32 on both sides, (c + 8) e; the scores, those with
  sinks, and less their largest, 3 c e

Each pass makes their masks as numbers before the first layer and holds them to the end: two, as both have
layers with a window and layers without.
"""

from typing import Literal

Kind = Literal["caps", "sinks"]
KINDS: dict[str, Kind] = {"gemma2": "caps", "gpt_oss": "sinks"}
MASKS = 2


def writes_scores(architecture: str) -> Kind | None:
    """Why a family's attention writes its scores; None: it does not. `architecture`: config's model_type."""
    return KINDS.get(architecture)


def in_plain_steps(architecture: str) -> dict[str, str]:
    """What transformers is to be told when it makes such a model, so that no kernel leaves something away."""
    return {"attn_implementation": "eager"} if writes_scores(architecture) else {}


def kept(kind: Kind, compute: int) -> int:
    """Bytes a number that autograd keeps of a layer which is left to it. `compute`: bytes of the dtype."""
    cast = compute if compute < 4 else 0
    return compute + 4 + cast if kind == "caps" else compute


def backward(kind: Kind, compute: int, compiled: bool, full: bool) -> int:
    """Bytes a number at most while the attention goes backward, with what was kept. `full`: all weights
    learn."""
    if compiled:
        return (4 if full else 2) * compute + 4 if kind == "caps" else 4 * compute
    return compute + 12 if kind == "caps" else 4 * compute


def asked(kind: Kind, compute: int) -> int:
    """Bytes a number at most in a pass that nothing is kept of."""
    return compute + 8 if kind == "caps" else 3 * compute
