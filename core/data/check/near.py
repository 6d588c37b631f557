"""Finds rows that say nearly the same as an earlier one, in one pass and bounded memory.

MinHash over pairs of neighbouring words (Broder 1997), of each hash only 8 bits kept (Li and König 2010),
candidates by bands (Leskovec et al., Mining of Massive Datasets, 3.4).
Of rows of 75 words it finds all in which one word is another, 99.8 % with two others, 92 % with three, 58 %
with four and 4 % with six, and takes none of 20,000 unlike rows for alike (`python -m benchmarks.findings`).
Only heavy processes import this.
"""

import hashlib
import re
import zlib
from collections import Counter

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

HASHES, BANDS = 128, 16
"""Two rows of likeness s meet in a band with 1 - (1 - s^8)^16: 0.95 at 0.8, 0.9999 at 0.9, 0.06 at 0.5."""
NEAR = 0.8
"""Share of word pairs that two rows have in common from which they are nearly the same: in 60 words about
three may be others. Below it, rows that only speak of the same thing begin to be taken for repeats."""
END_WORDS, END_NEAR = 16, 0.5
"""A question about a long text that many rows share differs only at an end of the prompt or in the answer:
the first and last words of both must resemble by themselves."""
KEPT = 1 << 18
"""Rows that are remembered, the newest ones; 84 MiB with all tables."""
SLOTS = 1 << 19
COUNTS = 1 << 18
COMMON, COMMON_ROWS = 0.03, 10
"""A pair of words that more than 3 % of the rows hold (and more than ten) belongs to their pattern: it does
not make two rows alike."""
LEAST = 3
"""Pairs of words, beside the pattern's, without which there is nothing to compare."""
MOST = 4_096
"""Pairs of words that are compared at most; a longer row is sampled, by what the pairs are."""

# one character is a word where words are not set apart by blanks
UNSPACED = "぀-ヿ㐀-鿿豈-﫿가-힯฀-໿က-႟ក-៿"
UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")
WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
POINTS = re.compile("[\xa0-\xbf‐-⁯、-〿]+")
"""Punctuation beyond ASCII."""
PLAIN = bytes(
    byte + 32 if 65 <= byte <= 90 else byte if byte > 127 or chr(byte).isalnum() else 32
    for byte in range(256)
)
SUMS = b"0123456789+*/=<>^%|&"
NOT_SUMS = bytes(byte for byte in range(256) if byte not in SUMS)


def _constants(name: bytes, count: int) -> Words:
    """Odd numbers that look like chance and are the same everywhere."""
    return np.frombuffer(hashlib.shake_128(name).digest(4 * count), dtype="<u4").astype(
        np.uint32
    ) | np.uint32(1)


TIMES = _constants(b"times", HASHES)
IN_BAND = _constants(b"band", HASHES // BANDS)
FIRST, SECOND, STIR = _constants(b"pair", 3)
WHICH = np.arange(BANDS)
HIGH, TO_SLOT = np.uint32(32 - 18), np.uint32(32 - 19)
"""The highest bits of a hash, as many as say a place in `counts` and in `slots`."""
TAG, PLACE = np.uint32(18), np.uint32(KEPT - 1)
"""A slot holds the place of a row and above it what is left of the band's hash."""
BEGUN = np.uint32(1)
"""Set in the byte kept of a word, so that it is never 0, which is no word."""


class Near:
    """The rows so far. What is found depends on their order and content alone."""

    def __init__(self) -> None:
        self.seen = self.kept = 0
        self.counts = np.zeros(COUNTS, np.uint32)
        self.slots = np.zeros((BANDS, SLOTS), np.uint32)
        self.marks = np.zeros((KEPT, HASHES), np.uint8)
        self.ends = np.zeros((KEPT, 4, END_WORDS), np.uint8)
        self.sums = np.zeros(KEPT, np.uint32)
        self.names = np.zeros(KEPT, np.uint64)

    def prime(self, prompt: str, answer: str) -> None:
        """Counts a row's words beforehand, so that the pattern of the rows is known from the first one on."""
        pairs = _pairs(_words(prompt, answer)[0])
        self.counts[pairs >> HIGH] += np.uint32(1)
        self.seen += 1

    def look(self, name: int, prompt: str, answer: str, verdict: str = "") -> int | None:
        """The name of an earlier row that this one nearly repeats; only where there is none is it remembered.

        `name`: up to 64 bits that later looks answer. Rows with other numbers, sums or another
        `verdict` are never taken for repeats: they may say the opposite with nearly the same words.
        """
        self.seen += 1
        words, asked = _words(prompt, answer)
        pairs = _pairs(words)
        places = pairs >> HIGH
        known = self.counts[places]
        self.counts[places] = known + np.uint32(1)
        pairs = pairs[known <= max(COMMON_ROWS, COMMON * self.seen)]
        if len(pairs) < LEAST:
            return None
        while len(pairs) > MOST:
            pairs = pairs[(pairs & np.uint32(1)) == 0] >> np.uint32(1)
        least = np.multiply.outer(pairs, TIMES).min(axis=0)
        marks = (least >> np.uint32(4)).astype(np.uint8)
        text = f"{prompt}\n{answer}".encode(errors="replace")
        sums = zlib.crc32(text.translate(None, NOT_SUMS) + verdict.encode())
        # with other numbers a row is no candidate, and does not take the slot of one that is
        bands = ((least.reshape(BANDS, -1) @ IN_BAND) ^ np.uint32(sums)) * STIR
        slots, tags = bands >> TO_SLOT, bands << TAG
        ends = [words[:asked][:END_WORDS], words[:asked][-END_WORDS:]]
        ends += [words[asked:][:END_WORDS], words[asked:][-END_WORDS:]]
        for place in _candidates(self.slots[WHICH, slots], tags):
            likeness = (float((self.marks[place] == marks).mean()) - 1 / 256) * 256 / 255
            if likeness >= NEAR and int(self.sums[place]) == sums and self._ends_alike(place, ends):
                return int(self.names[place])
        place = self.kept % KEPT
        self.marks[place], self.sums[place], self.names[place] = marks, sums, name
        self.ends[place] = 0
        for part, end in enumerate(ends):
            self.ends[place, part, : len(end)] = end | BEGUN
        self.kept += 1
        self.slots[WHICH, slots] = tags | np.uint32(place)
        return None

    def _ends_alike(self, place: int, ends: list[Words]) -> bool:
        """Whether at each end half of the words are the same, in whatever order."""
        for before, end in zip(self.ends[place], ends, strict=True):
            old, new = Counter(before[before > 0].tolist()), Counter((end | BEGUN).astype(np.uint8).tolist())
            if (old & new).total() < END_NEAR * max(old.total(), new.total()):
                return False
        return True


def _candidates(found: Words, tags: Words) -> list[int]:
    """Places of rows that share a band, those that share most first. A band's tag tells most others apart."""
    there = found[(found & ~PLACE) == tags] & PLACE
    if not len(there):
        return []
    numbers, often = np.unique(there, return_counts=True)
    return [int(place) for place in numbers[np.argsort(-often, kind="stable")]]


def _words(prompt: str, answer: str) -> tuple[Words, int]:
    """A hash for each word of both, without case and punctuation; how many of them are the prompt's."""
    asked, said = _split(prompt), _split(answer)
    return np.array(list(map(zlib.crc32, asked + said)), dtype=np.uint32), len(asked)


def _split(text: str) -> list[bytes]:
    if not text.isascii():
        text = text.lower()
        text = " ".join(WORD.findall(text)) if UNSPACED_LETTER.search(text) else POINTS.sub(" ", text)
    return text.encode(errors="replace").translate(PLAIN).split()


def _pairs(words: Words) -> Words:
    """32 bits of each two neighbouring words; of a single word itself."""
    pairs = words[:-1] * FIRST + words[1:] * SECOND if len(words) > 1 else words * FIRST
    pairs ^= pairs >> np.uint32(15)
    pairs *= STIR
    return pairs
