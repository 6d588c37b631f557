"""The dial of recompute: from one number, what each layer holds between its forward and its backward pass.

A layer's tensors are narrow or wide. Narrow ones are no wider than the hidden state or all the queries
together: the layer's input, queries, keys, values, the attention's output and its projection. Wide ones lie
inside the MLP. All else (norms, activation functions, rotations, what an adapter adds) is cheap and always
computed again.

| recompute | wide tensors | narrow tensors |
|---|---|---|
| 0 | kept | kept |
| 0 to 0.5 | computed again in a share 2 r of the layers | kept |
| 0.5 to 1 | computed again | of a share 2 r - 1 of the layers in the host's memory |
| 1 | computed again | in the host's memory |

Where the host has no room, or there is no card, those layers hold their input alone and compute again even
the attention. The card's memory is therefore a sum: narrow bytes of the layers that keep them, wide bytes of
those that keep these too, and one layer that is live (`core.plan.memory`). Layers of one kind are spread
evenly, so that copying to the host has the other layers' time as well.
"""

from collections.abc import Sequence
from enum import StrEnum


class Hold(StrEnum):
    """What a layer holds for its backward pass."""

    ALL = "all"
    """Narrow and wide tensors, on the card."""
    NARROW = "narrow"
    """Narrow tensors, on the card."""
    HOST = "host"
    """Narrow tensors, in the host's memory."""
    INPUT = "input"
    """Its input alone, on the card."""


def holds(recompute: float, layers: int, host: bool = True) -> tuple[Hold, ...]:
    """What each of the layers holds at a place of the dial, 0 to 1. `host`: may its memory be used."""
    if recompute <= 0.5:
        more, less, share = Hold.ALL, Hold.NARROW, 2 * recompute
    else:
        more, less, share = Hold.NARROW, Hold.HOST if host else Hold.INPUT, 2 * recompute - 1
    count = round(share * layers)
    return tuple(
        less if (place + 1) * count // layers > place * count // layers else more for place in range(layers)
    )


def widest_narrow(hidden: int, heads: int, head_dim: int) -> int:
    """Features up to which a tensor counts as narrow."""
    return max(hidden, heads * head_dim)


def in_words(kinds: Sequence[Hold]) -> str:
    """`20 of 32 layers compute their MLP again`, for a person."""
    layers, narrow = len(kinds), sum(kinds.count(one) for one in (Hold.NARROW, Hold.HOST))
    host, inputs = kinds.count(Hold.HOST), kinds.count(Hold.INPUT)
    if inputs == layers:
        return "every layer is computed again"
    if inputs:
        return f"{inputs} of {layers} layers are computed again, of the others the MLP"
    if not narrow:
        return "nothing is computed again"
    told = "every layer computes its MLP again"
    if narrow < layers:
        told = f"{narrow} of {layers} layers compute their MLP again"
    if host:
        told += f", and {'all' if host == layers else f'{host} of {layers}'} wait in the host's memory"
    return told
