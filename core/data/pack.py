"""Which rows share a pack: several short ones laid end to end, up to the length, so that nothing is padded.

Packs are lists of rows, not copies of them, and are found within windows of rows that follow each other in
their source: so the packs of any row can be told without reading all the others.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

from core.data.fit import Key
from core.data.held_out import Way, bin_by

WINDOW = 2_000
"""Rows of a source that are packed among themselves."""


def window_of(row: int) -> int:
    return (row - 1) // WINDOW


def packs(rows: Sequence[tuple[int, int]], lengths: Sequence[int], size: int) -> list[list[int]]:
    """Places in `lengths` by pack. `rows`: (source, row) of each place, in order.

    Every place stands in one pack, and no pack is longer than `size`, as no single row may be.
    """
    found: list[list[int]] = []
    for _, group in groupby(range(len(rows)), key=lambda at: (rows[at][0], window_of(rows[at][1]))):
        places = list(group)
        found += [
            [places[one] for one in pack] for pack in best_fit([lengths[place] for place in places], size)
        ]
    return found


def best_fit(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Longest first, each to the pack whose room it fills best (best-fit decreasing; Johnson 1974)."""
    made: list[list[int]] = []
    room: list[tuple[int, int]] = []
    """(free, pack), least free first."""
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        at = bisect_left(room, (lengths[place], 0))
        if at == len(room):
            free, pack = size, len(made)
            made.append([])
        else:
            free, pack = room.pop(at)
        made[pack].append(place)
        if free > lengths[place]:
            insort(room, (free - lengths[place], pack))
    return made


class Beside(NamedTuple):
    """A piece of a row that may share a pack with others of its window."""

    row: int
    key: Key
    part: int
    tokens: int
    times: int
    """How often an epoch sees it."""


def pack_of(
    row: int, window: Sequence[Beside], way: Way, held: frozenset[int], length: int, seed: int
) -> dict[str, Any] | None:
    """{"rows": that share a pack with the beginning of this one, "start": the place in it where that stands}.

    `window`: all pieces of the row's window, in order; `way` and `held` say which are held out. None: this
    row is, and what is held out is not packed.
    """
    laid = [
        one for one in window if bin_by(way, one.key, one.part, seed) not in held for _ in range(one.times)
    ]
    for pack in packs([(0, one.row) for one in laid], [one.tokens for one in laid], length):
        rows = [laid[place].row for place in pack]
        if row in rows:
            before = pack[: rows.index(row)]
            return {"rows": rows, "start": sum(laid[place].tokens for place in before)}
    return None
