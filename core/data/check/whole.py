"""What only the whole of the data shows: an answer that dominates, lengths and scripts far off the rest.

Rows are named by 64 bits (see `screen`). Memory is bounded: rows are counted in bins, each with a few names.
"""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from core.data.check.seen import hashed
from core.data.findings import SHOWN_ROWS

LEAST = 20
"""Rows below which nothing can be called the rest."""
DOMINATES = 0.2
"""Share of all answers that are one and the same from which it is what the model mostly learns."""
LABEL_DOMINATES = 0.6
"""The same for an answer of one word: of two or three classes each has a large share by right."""
ANSWERS = 1_000
"""Answers that are counted at a time; what more than a thousandth of the rows say cannot be missed."""
EXCERPT = 4_000
"""Characters kept of each, enough to know a whole key by before any of it is shown."""
SCRIPT_OF_THE_REST = 0.95
FAR = 5.0
"""Robust z (median and MAD of log lengths): of rows that are spread by chance, one in a million is so far."""
FAR_TIMES = 4.0
"""And at least so many times as long or short as the middle row, however alike the others are."""
BINS = 50
"""Of lengths, in each power of e: a bin is 2 % wide."""
MAD_TO_SIGMA = 1.4826


@dataclass
class Some:
    """How many rows there are of a kind, and the names of the first."""

    count: int = 0
    names: array[int] = field(default_factory=lambda: array("Q"))
    example: str = ""

    def add(self, name: int) -> None:
        self.count += 1
        if len(self.names) < SHOWN_ROWS:
            self.names.append(name)


class Answers:
    """The most frequent answers (Misra and Gries 1982); counts are at most a thousandth too low."""

    def __init__(self) -> None:
        self.total = 0
        self.by_key: dict[int, Some] = {}

    def add(self, name: int, answers: Iterable[str]) -> None:
        """A row's answers; case and blanks do not count."""
        for said in {" ".join(answer.split()) for answer in answers}:
            self.total += 1
            key = hashed(said.casefold())
            if key in self.by_key or len(self.by_key) < ANSWERS:
                some = self.by_key.setdefault(key, Some(example=said[:EXCERPT]))
                some.add(name)
            else:
                for other in list(self.by_key):
                    self.by_key[other].count -= 1
                    if not self.by_key[other].count:
                        del self.by_key[other]

    def dominating(self) -> Some | None:
        """The most frequent answer, where too large a part of all answers is this one."""
        if self.total < LEAST or not self.by_key:
            return None
        most = max(self.by_key.values(), key=lambda some: some.count)
        least = LABEL_DOMINATES if is_label(most.example) else DOMINATES
        return most if most.count > least * self.total else None


def is_label(answer: str) -> bool:
    return len(answer.split(None, 1)) == 1


class Scripts:
    def __init__(self) -> None:
        self.by_script: dict[str, Some] = defaultdict(Some)

    def add(self, name: int, script: str | None) -> None:
        if script:
            self.by_script[script].add(name)

    def others(self) -> tuple[str, dict[str, Some]]:
        """The script of the rest and, where nearly all rows have it, the rows that have another."""
        total = sum(some.count for some in self.by_script.values())
        if total < LEAST:
            return "", {}
        top = max(self.by_script, key=lambda script: self.by_script[script].count)
        if self.by_script[top].count < SCRIPT_OF_THE_REST * total:
            return top, {}
        return top, {script: some for script, some in self.by_script.items() if script != top}


@dataclass(frozen=True)
class Far:
    """Rows far off the rest: `shortest` and `longest` are the lengths beyond which a row is."""

    middle: int
    shortest: int
    longest: int
    short: Some
    long: Some


class Lengths:
    """Of rows, in tokens or characters."""

    def __init__(self) -> None:
        self.rows = 0
        self.bins: dict[int, Some] = defaultdict(Some)

    def add(self, name: int, length: int) -> None:
        self.rows += 1
        self.bins[int(math.log(max(length, 1)) * BINS)].add(name)

    def far(self) -> Far | None:
        if self.rows < LEAST:
            return None
        centre = middle({place: some.count for place, some in self.bins.items()}) or 0
        spread: dict[float, int] = defaultdict(int)
        for place, some in self.bins.items():
            spread[abs(place - centre)] += some.count
        reach = max(FAR * MAD_TO_SIGMA * (middle(spread) or 0), BINS * math.log(FAR_TIMES))
        short, long = Some(), Some()
        for place in sorted(self.bins):
            if abs(place - centre) > reach:
                side = short if place < centre else long
                side.count += self.bins[place].count
                side.names.extend(self.bins[place].names[: SHOWN_ROWS - len(side.names)])
        if not short.count and not long.count:
            return None
        return Far(_length(centre), _length(centre - reach), _length(centre + reach), short, long)


def _length(place: float) -> int:
    return round(math.exp((place + 0.5) / BINS))


def middle(counts: Mapping[int, int] | Mapping[float, int]) -> float | None:
    """The median of values with how often each occurs; None: there are none."""
    half, passed = sum(counts.values()) / 2, 0
    for value, count in sorted(counts.items()):
        passed += count
        if passed >= half:
            return value
    return None
