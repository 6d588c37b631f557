"""Which rows are held out: the same for the same data and seed, and never one that is also learned.

Rows fall into bins by what they ask and by the seed, and whole bins are held out. So rows that ask the same
are all learned or all held out, no row's number or length matters, and a pass over the data needs only a
count for each bin, whatever the number of rows.
"""

from array import array
from collections.abc import Sequence
from typing import Literal

from core.data.fit import Key

BINS = 1 << 16
WORD = (1 << 64) - 1
ENOUGH = 0.8
"""Of the wanted share; where so much cannot be held out by what rows ask, since many ask the same, they
fall apart by all that they say."""

Way = Literal["asked", "said", "parts"]
"""By what rows fall into bins: what is asked in them, all that they say, or each part of a text by itself."""


def mixed(key: int, seed: int) -> int:
    """64 bits that look like chance, but are the same for the same two (splitmix64, Steele et al. 2014)."""
    word = (key + (seed + 1) * 0x9E3779B97F4A7C15) & WORD
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & WORD
    return word ^ (word >> 31)


def bin_of(key: int, seed: int) -> int:
    return mixed(key, seed) % BINS


def bin_by(way: Way, key: Key, part: int, seed: int) -> int:
    """The bin of a row, or of a part of it (from 0)."""
    said, asked = key
    if way == "asked":
        return bin_of(asked or said, seed)
    return bin_of(mixed(said, part) if way == "parts" else said, seed)


def repeats(source: int, row: int, weight: float, seed: int) -> int:
    """How often an epoch sees a row of a source of this weight: 1.5 is once or twice, by chance."""
    whole = int(weight)
    if weight == whole:
        return whole
    return whole + (mixed((source << 48) + row, seed) / 2**64 < weight - whole)


class Count:
    """Rows, the pieces they were made into, and what an epoch sees of them, in each bin."""

    def __init__(self) -> None:
        self.rows, self.pieces, self.seen, self.tokens = (array("q", bytes(8 * BINS)) for _ in range(4))

    def add(self, place: int, pieces: int, times: int, tokens: int, rows: int = 1) -> None:
        """`times`: how often an epoch sees them; `tokens`: of all the pieces together."""
        self.rows[place] += rows
        self.pieces[place] += pieces
        self.seen[place] += pieces * times
        self.tokens[place] += tokens * times

    def inside(self, held: frozenset[int], name: str) -> int:
        """What is held out of one of the counts."""
        counts: array[int] = getattr(self, name)
        return sum(counts[place] for place in held)

    def outside(self, held: frozenset[int], name: str) -> int:
        counts: array[int] = getattr(self, name)
        return sum(counts) - self.inside(held, name)

    def wanted(self, share: float) -> int:
        """At least one row where the share is not 0, but never all of them."""
        total = sum(self.rows)
        return min(max(1, round(total * share)) if share > 0 else 0, total - 1)

    def held_out(self, share: float) -> frozenset[int]:
        """The bins that together hold this share of the rows, or as much of it as whole bins allow."""
        wanted, taken, chosen = self.wanted(share), 0, []
        for place, rows in enumerate(self.rows):
            if taken >= wanted:
                break
            if rows and taken + rows <= wanted:  # rows that say the same may be too many to be held out
                chosen.append(place)
                taken += rows
        return frozenset(chosen)


class Choice:
    """Counts by each way; at the end of the data it is known which one does."""

    def __init__(self) -> None:
        self.counts: dict[Way, Count] = {"asked": Count(), "said": Count(), "parts": Count()}
        self.only_text = True

    def add(self, key: Key, pieces: Sequence[int], times: int, seed: int, *, is_text: bool) -> None:
        """A row with the tokens of each of its pieces, of which there is at least one."""
        self.only_text = self.only_text and is_text
        for way in ("asked", "said"):
            self.counts[way].add(bin_by(way, key, 0, seed), len(pieces), times, sum(pieces))
        if self.only_text:
            for part, tokens in enumerate(pieces):
                self.counts["parts"].add(bin_by("parts", key, part, seed), 1, times, tokens)

    def held_out(self, share: float) -> tuple[Way, frozenset[int]]:
        """Parts of texts are held out only where the texts are so few that none could be spared."""
        if self.only_text and sum(self.counts["said"].rows) * share < 1:
            return "parts", self.counts["parts"].held_out(share)
        count = self.counts["asked"]
        held = count.held_out(share)
        if count.inside(held, "rows") >= ENOUGH * count.wanted(share):
            return "asked", held
        return "said", self.counts["said"].held_out(share)
