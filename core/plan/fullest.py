"""How many tokens the fullest pass of a run has, where rows of many lengths lie end to end.

A pass takes b rows at random, and its tokens are their sum, which is hardly ever near b times the longest
row. With K(x) = ln(sum of p exp(x l)), where a row has l tokens with the share p of all, the chance that a
pass has more than b K'(x) tokens is nearly (Bahadur and Ranga Rao 1960)

    exp(b (K(x) - x K'(x))) / (x sqrt(2 pi b K''(x)))

and the denominator, where it is less than 1, is left out, as in Chernoff's bound. One order of the rows is as
good as another, so a run tries some and takes the first in which no pass has more than planned
(`core.train.order`). The plan reckons with what one of those tries stays under, in all but one run of a
hundred; and never with less than the pass that holds the longest row has, since each order has that one. The
worker decides by the same number what it decides by tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

UNLUCKY = 0.01
"""Share of runs none of whose tries stays under what is planned, and then by hardly anything."""
TRIES, LOOKED_AT = 64, 20_000_000
"""Orders that are tried at most, and rows that are looked at for it: some seconds."""
BESIDE = 0.5
"""Standard deviations over their mean that the rows beside the longest one may have."""
EVEN = 0.94
"""Rows whose mean is at least this share of the longest are laid side by side: the kernels for one length are
quicker by more than the padding costs."""
STEP = 64
"""Widths are multiples of this: quick for a card, and few of them."""
BITS = 6
"""Of a length that are looked at, rounded up: lengths that differ by less count as one."""
TRIED = [0.3 * 1.2**place for place in range(36)]
"""Values of x, by the longest row."""


def coarse(tokens: int) -> int:
    """Steps of a line's length where lines have few of them: eight from each power of two to the next."""
    return max(STEP, int(2 ** (tokens.bit_length() - 4)))


class Spread:
    """Rows of many lengths, of which passes are made."""

    def __init__(self, counted: Iterable[tuple[int, int]]):
        """`counted`: (tokens, rows) of each length; at least one row."""
        known: dict[int, int] = {}
        total = tokens = longest = squares = 0
        for length, rows in counted:
            drop = max(0, length.bit_length() - BITS)
            about = -(-length >> drop) << drop
            known[about] = known.get(about, 0) + rows  # never more than a sixtieth longer
            total, tokens, longest = total + rows, tokens + rows * length, max(longest, length)
            squares += rows * length**2
        self.longest = longest = max(1, longest)  # rows of no tokens at all
        self.even = tokens >= EVEN * longest * total
        """They are laid side by side."""
        self.seen = squares / max(1, tokens)
        """Tokens of the row of a token, in the mean of all tokens: more than the mean row has."""
        self._rows = total
        self.mean = tokens / max(1, total)
        self._counted = sorted(known.items())
        self._longest_of: dict[int, float] = {}
        apart = sum(rows * (length - self.mean) ** 2 for length, rows in known.items())
        self._variance = apart / max(1, total)
        self._known: dict[tuple[int, int, float], int] = {}
        self._tilted = [self._at(x / longest, known) for x in TRIED]

    def _at(self, x: float, known: Mapping[int, int]) -> tuple[float, float, float, float]:
        """x, K(x), K'(x), K''(x)."""
        weighed = [(length, rows * math.exp(x * length)) for length, rows in known.items()]
        whole = sum(weight for _, weight in weighed)
        mean = sum(length * weight for length, weight in weighed) / whole
        spread = sum((length - mean) ** 2 * weight for length, weight in weighed) / whole
        return x, math.log(whole / self._rows), mean, spread

    def longest_of(self, batch: int) -> float:
        """Tokens of the longest of so many rows, in the mean of passes."""
        if batch not in self._longest_of:
            there, mean, before = 0, 0.0, 0.0
            for length, rows in self._counted:
                there += rows
                chance = (there / self._rows) ** batch  # that none is longer
                mean, before = mean + min(length, self.longest) * (chance - before), chance
            self._longest_of[batch] = mean
        return self._longest_of[batch]

    def fullest(self, batch: int, passes: int, common: float = 0.0) -> int:
        """Tokens of the fullest pass of so many rows at a time, with what fills up its width, in the order
        that a run of so many passes takes. `common`: instead what this share of such orders has more than."""
        return self.of_orders(batch, passes, 1 - (1 - chance_of(batch * passes)) * (1 - common))

    def of_orders(self, batch: int, passes: int, chance: float = UNLUCKY) -> int:
        """The same in an order that was not chosen: what a share of `chance` of all orders has more than."""
        asked = batch, passes, chance
        if asked not in self._known:
            self._known[asked] = self._fullest(*asked)
        return self._known[asked]

    def _fullest(self, batch: int, passes: int, chance: float) -> int:
        widest = batch * -(-self.longest // STEP) * STEP
        if self.even:
            return widest
        beside = (batch - 1) * self.mean + BESIDE * math.sqrt((batch - 1) * self._variance)
        least = min(widest, self.longest + beside)
        wanted = math.log(-math.log(1 - chance) / max(1, passes))
        before = (0.0, batch * self.mean)
        most: float = widest
        for x, log, mean, spread in self._tilted:
            tokens = batch * mean
            rarity = batch * log - x * tokens
            rarity -= math.log(max(1.0, x * math.sqrt(2 * math.pi * batch * spread)))
            if rarity <= wanted:
                share = (wanted - before[0]) / (rarity - before[0])
                most = before[1] + share * (tokens - before[1])
                break
            before = rarity, tokens
        return min(-(-math.ceil(max(most, least)) // STEP) * STEP, widest)


def tries_of(rows: int) -> int:
    """How many orders a run may try that goes through so many rows, each as often as it does."""
    return max(1, min(TRIES, LOOKED_AT // max(1, rows)))


def chance_of(rows: int) -> float:
    """Of one order of such a run to have a fuller pass than planned."""
    return float(UNLUCKY ** (1 / tries_of(rows)))


def spread_of(report: Mapping[str, Any] | None, length: int, long: str) -> Spread | None:
    """Of the rows of a data report at a length; None: their lengths are not known. `long`: as in the spec."""
    table = ((report or {}).get("lengths") or {}).get("table")
    if not report or not table:
        return None
    if report.get("format") == "text":
        long = "split"
    asked = id(table), length, long
    if asked not in _SEEN:
        while len(_SEEN) >= MOST_SEEN:
            del _SEEN[next(iter(_SEEN))]
        _SEEN[asked] = table, _spread(table, length, long)
    return _SEEN[asked][1]


_SEEN: dict[tuple[int, int, str], tuple[object, Spread | None]] = {}
"""What was made of the tables of late, each with its table, which so stays the one of that id: a plan asks
for the same some hundred times."""
MOST_SEEN = 64


def _spread(table: Iterable[tuple[int, int]], length: int, long: str) -> Spread | None:
    if long == "drop":
        rows = [(one, many) for one, many in table if one <= length]
    elif long == "split":
        rows = [(length, many * (one // length)) for one, many in table if one >= length]
        rows += [(one % length, many) for one, many in table if one % length]
    else:
        rows = [(min(one, length), many) for one, many in table]
    return Spread(rows) if rows else None
