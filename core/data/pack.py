"""Which rows share a pack: several short ones laid end to end, up to the length, so that nothing is padded.

Packs are lists of rows, not copies of them, and are found within windows of rows that follow each other in
their source: so the packs of any row can be told without reading all the others.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import groupby

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
