"""Finds rows that say nearly the same as an earlier one, in one pass and bounded memory.

MinHash over pairs of neighbouring words (Broder 1997), of each hash only 8 bits kept (Li and König 2010),
candidates by bands (Leskovec et al., Mining of Massive Datasets, 3.4). Only heavy processes import this.
"""

import hashlib
import re
import zlib
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

HASHES, BANDS = 128, 16
"""Two rows of likeness s meet in a band with 1 - (1 - s^8)^16: 0.95 at 0.8, 0.9999 at 0.9, 0.06 at 0.5."""
NEAR = 0.8
"""Share of word pairs that two rows have in common from which they are nearly the same: in 60 words about
three may be others. Below it, rows that only speak of the same thing begin to be taken for repeats."""
END_WORDS, END_HASHES, END_NEAR = 16, 16, 0.5
"""A question about a long text that many rows share differs only at an end of the prompt or in the answer:
the first and last words of both must resemble by themselves."""
KEPT = 1 << 18
"""Rows that are remembered, the newest ones; 38 MiB in all."""
SLOTS = 1 << 19
COUNTS = 1 << 18
COMMON, COMMON_ROWS = 0.03, 10
"""A pair of words that more than 3 % of the rows hold (and more than ten) belongs to their pattern: it does
not make two rows alike."""
LEAST = 3
"""Pairs of words, beside the pattern's, without which there is nothing to compare."""
MOST = 4_096
"""Pairs of words that are compared at most; a longer row is sampled, by what the pairs are."""
CACHED = 1 << 17

# one character is a word where words are not set apart by blanks
UNSPACED = "぀-ヿ㐀-鿿豈-﫿가-힯฀-໿က-႟ក-៿"
WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
PLAIN = bytes(byte + 32 if 65 <= byte <= 90 else byte if chr(byte).isalnum() else 32 for byte in range(256))
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


class _Hashes(dict[bytes, int]):
    """32 bits of each word, remembered: most words come again and again."""

    def __missing__(self, word: bytes) -> int:
        if len(self) >= CACHED:
            self.clear()
        self[word] = value = zlib.crc32(word)
        return value


@dataclass(frozen=True)
class Twin:
    """The earlier row, as it was named to `look`, and the share of word pairs that both have (estimated)."""

    name: int
    likeness: float


class Near:
    """The rows so far. What is found depends on their order and content alone."""

    def __init__(self) -> None:
        self.hashes = _Hashes()
        self.seen = self.kept = 0
        self.counts = np.zeros(COUNTS, np.uint32)
        self.slots = np.zeros((BANDS, SLOTS), np.uint32)
        self.marks = np.zeros((KEPT, HASHES), np.uint8)
        self.ends = np.zeros((KEPT, 4, END_HASHES), np.uint8)
        self.sums = np.zeros(KEPT, np.uint32)
        self.names = np.zeros(KEPT, np.uint64)

    def prime(self, prompt: str, answer: str) -> None:
        """Counts a row's words beforehand, so that the pattern of the rows is known from the first one on."""
        pairs = self._pairs(np.concatenate((self._words(prompt), self._words(answer))))
        self.counts[pairs >> np.uint32(14)] += np.uint32(1)
        self.seen += 1

    def look(self, name: int, prompt: str, answer: str, verdict: str = "") -> Twin | None:
        """The earlier row that this one nearly repeats; only where there is none is it remembered.

        `name`: up to 64 bits by which a later Twin names it. Rows with other numbers, sums or another
        `verdict` are never taken for repeats: they may say the opposite with nearly the same words.
        """
        self.seen += 1
        asked, said = self._words(prompt), self._words(answer)
        pairs = self._pairs(np.concatenate((asked, said)))
        places = pairs >> np.uint32(14)
        known = self.counts[places]
        self.counts[places] = known + np.uint32(1)
        pairs = pairs[known <= max(COMMON_ROWS, COMMON * self.seen)]
        if len(pairs) < LEAST:
            return None
        while len(pairs) > MOST:
            pairs = pairs[(pairs & np.uint32(1)) == 0] >> np.uint32(1)
        full = np.multiply.outer(pairs, TIMES).min(axis=0)
        marks = (full >> np.uint32(3)).astype(np.uint8)
        ends = self._ends(asked, said)
        text = f"{prompt}\n{answer}".encode(errors="replace")
        sums = zlib.crc32(text.translate(None, NOT_SUMS) + verdict.encode())
        bands = (full.reshape(BANDS, -1) @ IN_BAND) * STIR
        slots = bands >> np.uint32(32 - 19)
        for place in self._candidates(self.slots[WHICH, slots]):
            likeness = (float((self.marks[place] == marks).mean()) - 1 / 256) * 256 / 255
            if likeness < NEAR or int(self.sums[place]) != sums:
                continue
            if float((self.ends[place] == ends).mean(axis=1).min()) >= END_NEAR:
                return Twin(int(self.names[place]), likeness)
        place = self.kept % KEPT
        self.marks[place], self.ends[place], self.sums[place], self.names[place] = marks, ends, sums, name
        self.kept += 1
        self.slots[WHICH, slots] = self.kept
        return None

    def _candidates(self, found: NDArray[np.uint32]) -> list[int]:
        """Places of rows that share a band, those that share most first."""
        there = found[found > max(0, self.kept - KEPT)]
        if not len(there):
            return []
        numbers, often = np.unique(there, return_counts=True)
        return [(int(number) - 1) % KEPT for number in numbers[np.argsort(-often, kind="stable")]]

    def _words(self, text: str) -> Words:
        """A hash for each word, without case and punctuation."""
        if text.isascii():
            words = text.encode().translate(PLAIN).split()
        else:
            words = [word.encode(errors="replace") for word in WORD.findall(text.lower())]
        return np.array(list(map(self.hashes.__getitem__, words)), dtype=np.uint32)

    def _pairs(self, words: Words) -> Words:
        pairs = words[:-1] * FIRST + words[1:] * SECOND if len(words) > 1 else words
        pairs = (pairs ^ (pairs >> np.uint32(15))) * STIR
        return pairs ^ (pairs >> np.uint32(13))

    def _ends(self, asked: Words, said: Words) -> NDArray[np.uint8]:
        """Marks of the single words at the beginning and the end of prompt and answer."""
        parts = [asked[:END_WORDS], asked[-END_WORDS:], said[:END_WORDS], said[-END_WORDS:]]
        none = np.zeros(1, np.uint32)
        parts = [part if len(part) else none for part in parts]
        starts = list(accumulate(map(len, parts[:-1]), initial=0))
        words = np.multiply.outer(np.concatenate(parts), TIMES[:END_HASHES])
        least: Words = np.minimum.reduceat(words, starts, axis=0)
        return (least >> np.uint32(3)).astype(np.uint8)
