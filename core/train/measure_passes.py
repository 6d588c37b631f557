"""Which passes of a run are its fullest: the ones that a measurement makes, and in which order.

A run goes through its rows in an order that its seed fixes, so its fullest pass is known before it begins.
That one is made, and the one that holds the longest row, until each was there with the optimiser's state in
place and, where a step is of several passes, with the gradients of another. Then come ordinary passes, the
run's own first ones, by which the speed is told.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from accelerate.data_loader import SeedableRandomSampler

from core.train.batches import Layout

Lengths = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Passes:
    """Places of rows, or of packs, a list a pass."""

    fullest: list[int]
    longest: list[int]
    """The pass with the longest row; of several the fullest."""
    ordinary: list[list[int]]
    tokens: int
    """Of the fullest pass, its padding with them."""

    def hot(self, accumulate: int) -> list[list[int]]:
        """Those that are made for what they take, in whole steps of so many passes: one, or two for more."""
        both = [self.fullest, self.longest]
        if accumulate == 1 or self.fullest == self.longest:
            return both * 2
        return [*both, *reversed(both), *both]  # the second of a step finds the first one's gradients


def of_training(
    lengths: Lengths, batch: int, seed: int | None, count: int, layout: Layout, ordinary: int = 1
) -> Passes:
    """Of the `count` passes that a run makes; `ordinary`: how many of its first ones are wanted too.

    `seed`: None where the rows are not shuffled.
    """
    fullest: tuple[int, ...] = ()
    longest: tuple[int, ...] = ()
    passes: dict[str, list[int]] = {}
    first: list[list[int]] = []
    for places in _epochs(len(lengths), batch, seed, count):
        held = lengths[places]
        facts = (held.max(axis=1), _tokens(held, layout), held.sum(axis=1))
        at = int(np.lexsort((facts[2], facts[1]))[-1])
        full = (int(facts[1][at]), int(facts[2][at]))
        if full > fullest:
            fullest, passes["fullest"] = full, places[at].tolist()
        at = int(np.lexsort((facts[2], facts[1], facts[0]))[-1])
        long = (int(facts[0][at]), int(facts[1][at]), int(facts[2][at]))
        if long > longest:
            longest, passes["longest"] = long, places[at].tolist()
        first += places[: ordinary - len(first)].tolist()
    return Passes(passes["fullest"], passes["longest"], first, fullest[0])


def of_evaluation(lengths: Lengths, batch: int, layout: Layout) -> list[int]:
    """Places of held-out rows: the fullest pass over them, and the one with the longest row."""
    whole = len(lengths) // batch * batch
    if not whole:
        return list(range(len(lengths)))
    places = np.arange(whole).reshape(-1, batch)
    held = lengths[places]
    tokens = _tokens(held, layout)
    chosen = {int(np.argmax(tokens)), int(np.argmax(held.max(axis=1)))}
    return [int(place) for one in sorted(chosen) for place in places[one]]


def lengths_of(rows: Sequence[Any]) -> Lengths:
    """Tokens of each row; of a preference those of the longer answer's."""
    return np.array(
        [max(len(row["input_ids"]), len(row.get("rejected_ids") or ())) for row in rows], np.int64
    )


def _tokens(held: Lengths, layout: Layout) -> Lengths:
    """Tokens of each pass, (passes,), of rows of these lengths, (passes, rows)."""
    if layout.kind == "lines":
        return held.sum(axis=1)
    wide: Lengths = np.maximum(held.max(axis=1), layout.length or 0)
    return wide * held.shape[1]


def _epochs(rows: int, batch: int, seed: int | None, count: int) -> Iterator[Lengths]:
    """Places, (passes, rows), of each epoch as the trainer's loader goes through them.

    The last pass of an epoch, which may be smaller, is left out where there are others.
    """
    sampler = SeedableRandomSampler(range(rows), data_seed=seed)
    whole, each, epoch = rows // batch, -(-rows // batch), 0
    while count > 0:
        sampler.set_epoch(epoch)
        order = np.arange(rows) if seed is None else np.fromiter(sampler, np.int64, rows)
        many = min(whole, count)
        yield order[: many * batch].reshape(many, batch) if many else order[None]
        if not many or seed is None:  # all epochs are the same
            return
        count, epoch = count - each, epoch + 1
