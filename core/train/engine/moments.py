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


class Told(NamedTuple):
    """What one step of one group of weights is told, as fp32 of no dimension on the weights' device."""

    first: Tensor
    second: Tensor
    """How much of a moment stays (beta)."""
    rate: Tensor
    """The learning rate by what the first moment still lacks so early."""
    root: Tensor
    """The root of what the second moment still lacks."""
    least: Tensor
    """Epsilon."""
    keep: Tensor
    """What weight decay leaves of a weight."""


def told(group: dict[str, Any], step: int, device: torch.device) -> Told:
    """Of step `step`, counted from 1; `group`: lr, betas, eps, weight_decay."""
    first, second = group["betas"]
    rate = group["lr"] / (1 - first**step)
    numbers = [first, second, rate, (1 - second**step) ** 0.5]
    numbers += [group["eps"], 1 - group["lr"] * group["weight_decay"]]
    return Told(*torch.tensor(numbers, dtype=torch.float32).to(device).unbind())


class Kept(NamedTuple):
    """One weight of n numbers and what is kept of it, each on one line."""

    weight: Tensor
    gradient: Tensor
    """(n,), in any float type; n is a number of whole blocks."""
    places: tuple[Tensor, Tensor]
    """(n,) bytes, of the first moment and of the second."""
    largest: tuple[Tensor, Tensor]
    """(n / BLOCK,) fp32."""


def update(kept: Kept, tables: tuple[Tensor, Tensor], told: Told) -> None:
    """One step, in place. `tables`: (256,) fp32, bitsandbytes' "dynamic" and "udynamic"."""
    slope = kept.gradient.view(-1, BLOCK).float()
    first, second = (
        table[place.view(-1, BLOCK).int()] * most[:, None]
        for table, place, most in zip(tables, kept.places, kept.largest, strict=True)
    )
    first = told.first * first + (1 - told.first) * slope
    second = told.second * second + (1 - told.second) * slope * slope
    down = told.rate * first / (second.sqrt() / told.root + told.least)
    weight = kept.weight.view(-1, BLOCK)
    weight.copy_(weight.float() * told.keep - down)
    _keep(first, kept.places[0], kept.largest[0], signed=True)
    _keep(second, kept.places[1], kept.largest[1], signed=False)


def _keep(moment: Tensor, places: Tensor, largest: Tensor, *, signed: bool) -> None:
    top = moment.abs().amax(1)
    share = moment.abs() / top.clamp(min=torch.finfo(torch.float32).tiny)[:, None]
    at = nearest(share, 1 if signed else 2)
    if signed:  # 127 values below nothing, 127 above it, and 1, which has no counterpart
        at = 127 + torch.where(moment < 0, -at.clamp(max=127), at)
    places.view(-1, BLOCK).copy_(at)
    largest.copy_(top)


def nearest(share: Tensor, first_decade: int) -> Tensor:
    """Which of the values from 0 to 1 is nearest to each share of the largest: 0 is 0. fp32 numbers.

    `first_decade`: how many values the lowest decade has; each has twice those of the one below.
    """
    borders, slopes, shifts, lasts = _decades(first_decade)
    slope, shift, last = (torch.full_like(share, told[0]) for told in (slopes, shifts, lasts))
    for border, *here in zip(borders[1:], slopes[1:], shifts[1:], lasts[1:], strict=True):
        above = share >= border
        slope, shift, last = (
            torch.where(above, new, old) for new, old in zip(here, (slope, shift, last), strict=True)
        )
    at = torch.minimum((share * slope + shift).floor(), last)
    at = torch.where(share < borders[0], torch.zeros_like(at), at)
    return torch.where(share > 1 - 0.25 / slopes[-1], lasts[-1] + 1, at)


def _decades(first: int) -> tuple[list[float], list[float], list[float], list[float]]:
    """Of each decade: the share from which it counts, places a unit, their shift, and its last place."""
    borders, slopes, shifts, lasts = [], [], [], []
    before, below = 0, 0.0
    for decade in range(DECADES):
        count = first * 2**decade
        low = 10.0 ** (decade - DECADES)
        wide = 9 * low / count
        borders.append(low + below if decade else (low + wide / 2) / 2)
        slopes.append(1 / wide)
        shifts.append(1 + before - low / wide)
        before += count
        lasts.append(float(before))
        below = wide
    return borders, slopes, shifts, lasts
