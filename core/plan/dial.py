"""The dial of recompute: from one number, what each layer holds between its forward and its backward pass.

A layer's tensors are narrow or wide. Narrow ones are no wider than the hidden state or all the queries
together: the layer's input, queries, keys, values, the attention's output and its projection. Wide ones lie
inside the MLP. All else (norms, activation functions, rotations, what an adapter adds) is cheap and always
computed again.

| recompute | wide tensors | narrow tensors |
|---|---|---|
| 0 | kept | kept |
| 0 to 0.5 | kept | of a share 2 r of the layers in the host's memory |
| 0.5 to 1 | computed again in a share 2 r - 1 of the layers | in the host's memory |
| 1 | computed again | in the host's memory |

Copying costs a fiftieth of the speed and computing again a sixth, so copying comes first. Where the host has
no room, there is no card, or layers are not compiled, it is: up to 0.5 a share 2 r of the layers computes
wide tensors again, from there on a share 2 r - 1 holds its input alone and computes again even the attention.

The card's memory is therefore a sum over the layers of what they hold there, and one layer that is live
(`core.plan.memory`). Layers of one kind are spread evenly, so that copying to the host has the other layers'
time as well.
"""

import functools
from collections.abc import Sequence
from enum import StrEnum


class Hold(StrEnum):
    """What a layer holds for its backward pass."""

    ALL = "all"
    """Narrow and wide tensors, on the card."""
    NARROW = "narrow"
    """Narrow tensors, on the card."""
    WIDE = "wide"
    """Wide tensors on the card, narrow ones in the host's memory."""
    HOST = "host"
    """Narrow tensors, in the host's memory."""
    INPUT = "input"
    """Its input alone, on the card."""


@functools.cache
def holds(recompute: float, layers: int, host: bool = True) -> tuple[Hold, ...]:
    """What each of the layers holds at a place of the dial, 0 to 1. `host`: may its memory be used."""
    middle, last = (Hold.WIDE, Hold.HOST) if host else (Hold.NARROW, Hold.INPUT)
    if recompute <= 0.5:
        more, less, share = Hold.ALL, middle, 2 * recompute
    else:
        more, less, share = middle, last, 2 * recompute - 1
    count = round(share * layers)
    return tuple(
        less if (place + 1) * count // layers > place * count // layers else more for place in range(layers)
    )


def widest_narrow(hidden: int, heads: int, head_dim: int) -> int:
    """Features up to which a tensor counts as narrow."""
    return max(hidden, heads * head_dim)


WAITING = (Hold.WIDE, Hold.HOST)
"""Kinds of layers that hold something in the host's memory."""


def may_record(
    kinds: Sequence[Hold], *, experts: bool, drawn: bool, full: bool, accumulate: int, precision: str
) -> bool:
    """Whether passes over compiled layers that hold this can be recorded and started as a whole.

    Not where passes differ: experts are chosen and numbers `drawn` (dropout) anew in each, and copies to the
    host's memory are not part of a recording. Nor where it would hold a whole model's gradients twice.
    """
    differ = experts or drawn or any(kind in WAITING for kind in kinds)
    return not differ and not (full and accumulate > 1) and precision != "fp32"


def in_words(kinds: Sequence[Hold]) -> str:
    """`20 of 32 layers compute their MLP again`, for a person."""
    layers, again = len(kinds), sum(kinds.count(one) for one in (Hold.NARROW, Hold.HOST))
    waiting, inputs = sum(kinds.count(one) for one in WAITING), kinds.count(Hold.INPUT)
    if inputs == layers:
        return "every layer is computed again"
    if inputs:
        return f"{inputs} of {layers} layers are computed again, of the others the MLP"
    told = "nothing is computed again"
    if again:
        told = f"{again} of {layers} layers compute their MLP again"
    if again == layers:
        told = "every layer computes its MLP again"
    if waiting:
        told += f", and {'all' if waiting == layers else f'{waiting} of {layers}'} wait in the host's memory"
    return told
