"""Divides a store into rows that are learned and rows that are held out, all at once in arrays.

The same arithmetic as `core.data.held_out` does row by row, so that the report and the run agree.
"""

from array import array
from typing import Any

import numpy as np

from core.data.held_out import BINS, Choice, Count, Way
from core.data.reading import Opened
from core.data.store import Places, Rows, Store
from core.spec import RunSpec

Words = np.ndarray[Any, np.dtype[np.uint64]]


def divided(store: Store, sources: list[Opened], spec: RunSpec) -> tuple[Rows, Rows]:
    """The rows that are learned, as often as an epoch sees them, and those held out as a share.

    What is held out stands in an order by chance: what looks only at the first sees all sources.
    """
    share = spec.data.eval if isinstance(spec.data.eval, float) else 0.0
    said, asked = store.column("key").astype(np.uint64), store.column("asked").astype(np.uint64)
    source, row = store.column("source").astype(np.int64), store.column("row").astype(np.int64)
    first = np.ones(len(store), bool)
    first[1:] = (row[1:] != row[:-1]) | (source[1:] != source[:-1])
    starts = np.flatnonzero(first)
    part = np.arange(len(store)) - np.repeat(starts, np.diff([*starts, len(store)]))
    bins: dict[Way, Places] = {
        "asked": bins_of(np.where(asked == 0, said, asked), spec.seed),
        "said": bins_of(said, spec.seed),
        "parts": bins_of(mixed(said, part), spec.seed),
    }
    choice = Choice()
    choice.only_text = all(one.is_text for one in sources)
    for name, found in bins.items():
        choice.counts[name] = _counted(found if name == "parts" else found[first])
    way, chosen = choice.held_out(share)
    held = np.isin(bins[way], list(chosen))
    places: Places = np.arange(len(store))
    times = repeats(source, row, {one.number: one.spec.weight for one in sources}, spec.seed)
    train = np.repeat(places, np.where(held, 0, times))
    out = places[held]
    return Rows(store, train), Rows(store, out[np.argsort(bins[way][held], kind="stable")])


def _counted(bins: Places) -> Count:
    count = Count()
    count.rows = array("q", np.bincount(bins, minlength=BINS).astype(np.int64).tobytes())
    return count


def mixed(keys: Words, seed: Any) -> Words:
    """As `held_out.mixed`; `seed` is one number, or one for each key."""
    # arrays wrap around in silence, single numbers would warn
    word: Words = keys + (np.atleast_1d(np.asarray(seed, np.uint64)) + np.uint64(1)) * np.uint64(
        0x9E3779B97F4A7C15
    )
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def bins_of(keys: Words, seed: int) -> Places:
    found: Places = (mixed(keys, seed) % np.uint64(BINS)).astype(np.int64)
    return found


def repeats(source: Places, row: Places, weights: dict[int, float], seed: int) -> Places:
    """As `held_out.repeats`, of each row."""
    table = np.zeros(max(weights) + 1)
    for number, times in weights.items():
        table[number] = times
    weight = table[source]
    whole = np.floor(weight)
    chance = mixed(((source << 48) + row).astype(np.uint64), seed) / 2**64
    found: Places = (whole + (chance < weight - whole)).astype(np.int64)
    return found
