"""Which rows are held out: the same for the same data and seed, and never one that is also learned.

Rows fall into bins by what they say and by the seed, and whole bins are held out. So rows that say the
same are all learned or all held out, no row's number or length matters, and a pass over the data needs
only a count for each bin, whatever the number of rows.
"""

import hashlib
import json
from array import array

from core.data.conversation import Conversation, Message

BINS = 1 << 18
WORD = (1 << 64) - 1


def key(one: Conversation) -> int:
    """64 bits of what a row says, blanks aside: rows with the same words have the same key."""
    said: list[object] = [_turns(one.messages), one.text and " ".join(one.text.split()), one.tools]
    said += [_turns(one.rejected), one.label]
    return int.from_bytes(hashlib.blake2b(json.dumps(said).encode(), digest_size=8).digest(), "big")


def _turns(messages: tuple[Message, ...]) -> list[list[object]]:
    return [
        [turn.role, " ".join(turn.content.split()), [[call.name, call.arguments] for call in turn.calls]]
        for turn in messages
    ]


def mixed(key: int, seed: int) -> int:
    """64 bits that look like chance, but are the same for the same two (splitmix64, Steele et al. 2014)."""
    word = (key + (seed + 1) * 0x9E3779B97F4A7C15) & WORD
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & WORD
    return word ^ (word >> 31)


def bin_of(key: int, seed: int) -> int:
    return mixed(key, seed) >> 46


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

    def add(self, place: int, pieces: int, repeats: int, tokens: int, rows: int = 1) -> None:
        """`tokens` of all the pieces together."""
        self.rows[place] += rows
        self.pieces[place] += pieces
        self.seen[place] += pieces * repeats
        self.tokens[place] += tokens * repeats

    def outside(self, held: frozenset[int], name: str) -> int:
        """What is not held out of one of the counts."""
        counts: array[int] = getattr(self, name)
        return sum(counts) - sum(counts[place] for place in held)

    def held_out(self, share: float) -> frozenset[int]:
        """The bins that together hold this share of the rows, or as much of it as whole bins allow.

        At least one row where the share is not 0, but never all of them.
        """
        total = sum(self.rows)
        wanted = min(max(1, round(total * share)) if share > 0 else 0, total - 1)
        taken, chosen = 0, []
        for place, rows in enumerate(self.rows):
            if taken >= wanted:
                break
            if rows and taken + rows <= wanted:  # rows that say the same may be too many to be held out
                chosen.append(place)
                taken += rows
        return frozenset(chosen)
