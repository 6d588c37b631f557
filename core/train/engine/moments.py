"""AdamW's update with moments of 8 bits, written so that a compiler makes one pass over memory of it.

What is kept is as bitsandbytes keeps it: a byte a moment, which names a place in a table of 256 values, and
for each BLOCK of them the largest as fp32. Either can go on from the other's. bitsandbytes finds the place of
a new moment by halving the table eight times for each; here it is computed. Between two powers of ten the
table's values lie evenly, 2, 4, 8, … of them in the second table, whose values have no sign, half as many in
the first: seven decades, then 1. A value belongs to the nearest, so to the interval between two borders
around it; where two decades meet the border lies one interval of the lower above the power of ten, since the
upper's are five times as wide.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

BLOCK = 256
DECADES = 7
LEAST = 2.0**-126
"""The smallest normal number of fp32: by it one can divide."""


class Told(NamedTuple):
    """What one step of one group of weights is told, as fp32 of no dimension on the weights' device."""

    first: Tensor
    second: Tensor
    """How much of a moment stays (beta)."""
    rate: Tensor
    """The learning rate by what the first moment still lacks so early."""
    lift: Tensor
    """One by the root of what the second moment still lacks."""
    least: Tensor
    """Epsilon."""
    keep: Tensor
    """What weight decay leaves of a weight."""


def told(group: dict[str, Any], step: int, device: torch.device) -> Told:
    """Of step `step`, counted from 1; `group`: lr, betas, eps, weight_decay."""
    first, second = group["betas"]
    rate = group["lr"] / (1 - first**step)
    numbers = [first, second, rate, (1 - second**step) ** -0.5]
    numbers += [group["eps"], 1 - group["lr"] * group["weight_decay"]]
    return Told(*torch.tensor(numbers, dtype=torch.float32).to(device).unbind())


class Kept(NamedTuple):
    """One weight and what is kept of it, in n rows of BLOCK: only what has one shape becomes one kernel."""

    weight: Tensor
    gradient: Tensor
    """(n, BLOCK), in any float type."""
    places: tuple[Tensor, Tensor]
    """(n, BLOCK) bytes, of the first moment and of the second."""
    largest: tuple[Tensor, Tensor]
    """(n,) fp32."""


def update(kept: Kept, tables: tuple[Tensor, Tensor], told: Told) -> None:
    """One step, in place. `tables`: (256,) fp32, bitsandbytes' "dynamic" and "udynamic"."""
    slope = kept.gradient.float()
    first, second = (
        table[place.int()] * most[:, None]
        for table, place, most in zip(tables, kept.places, kept.largest, strict=True)
    )
    first = told.first * first + (1 - told.first) * slope
    second = told.second * second + (1 - told.second) * slope * slope
    root = second * second.clamp(min=LEAST).rsqrt()
    down = told.rate * first / (root * told.lift + told.least)
    kept.weight.copy_(kept.weight.float() * told.keep - down)
    _keep(first, kept.places[0], kept.largest[0], signed=True)
    _keep(second, kept.places[1], kept.largest[1], signed=False)


def _keep(moment: Tensor, places: Tensor, largest: Tensor, *, signed: bool) -> None:
    top = moment.abs().amax(1)
    share = moment.abs() * top.clamp(min=LEAST).reciprocal()[:, None]
    at = nearest(share, 1 if signed else 2)
    if signed:  # 127 values below nothing, 127 above it, and 1, which has no counterpart
        at = torch.where(moment < 0, torch.where(at > 127, 0.0, 127 - at), 127 + at)
    places.copy_(at)
    largest.copy_(top)


def nearest(share: Tensor, first: int) -> Tensor:
    """Which of the values from 0 to 1 is nearest to each share of the largest: 0 is 0. fp32 numbers.

    `first`: how many values the lowest decade has; each has twice those of the one below, so `many` of a
    decade tells how many lie below it too.
    """
    lows = [10.0 ** (decade - DECADES) for decade in range(DECADES)]
    counts = [float(first * 2**decade) for decade in range(DECADES)]
    widths = [9 * low / count for low, count in zip(lows, counts, strict=True)]
    slope, many = torch.full_like(share, 1 / widths[0]), torch.full_like(share, counts[0])
    for below in range(DECADES - 1):
        above = share >= lows[below + 1] + widths[below]
        slope = torch.where(above, 1 / widths[below + 1], slope)
        many = torch.where(above, counts[below + 1], many)
    # from the first value of its decade on, of which `many - first` lie below, and none beyond its last
    at = (share * slope + many * (8 / 9) + (1 - first)).floor()
    last = 2 * many - first
    at = torch.where(at > last, last, at)
    at = torch.where(share < (lows[0] + widths[0] / 2) / 2, 0.0, at)
    return torch.where(share > 1 - widths[-1] / 4, 2 * counts[-1] - first + 1, at)
