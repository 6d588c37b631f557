"""What the checks on rows cost, and how many near repeats they find: `python -m benchmarks.findings [ROWS]`.

Made rows of about 100 tokens (25 words asked, 50 answered, drawn as words are in a language: few often, most
rarely), one in fifty an exact repeat and one in fifty a near one. Then how many of 2,000 near repeats are
found, by how many of their words are others, among 20,000 rows that are unlike. Prints two tables.
"""

from __future__ import annotations

import random
import sys
import time
from collections import deque
from collections.abc import Iterator

import psutil

from core.data.check.near import Near
from core.data.check.screen import Screen
from core.data.conversation import Conversation, Message
from core.data.findings import Tally
from core.spec import DataSpec

WORDS = 30_000
EDITS = 2
LAST = 10_000
"""Rows of which one is repeated."""


UNLIKE, EDITED = 20_000, 2_000


def vocabulary(chance: random.Random) -> tuple[list[str], list[float]]:
    """Words, and how often each is said, by Zipf's law."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(WORDS)]
    return words, [1 / (place + 3) for place in range(WORDS)]


def rows(count: int) -> Iterator[Conversation]:
    chance = random.Random(0)
    words, often = vocabulary(chance)
    said: deque[list[str]] = deque(maxlen=LAST)
    for row in range(1, count + 1):
        new = chance.choices(words, often, k=75)
        if row % 50 == 0:
            new = list(chance.choice(said))
        elif row % 50 == 25:
            new = list(chance.choice(said))
            for _ in range(EDITS):
                new[chance.randrange(75)] = chance.choice(words)
        said.append(new)
        ask, answer = " ".join(new[:25]) + "?", " ".join(new[25:]).capitalize() + "."
        yield Conversation(row, (Message("user", ask), Message("assistant", answer)))


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    process = psutil.Process()
    first = list(rows(200))
    before = process.memory_info().rss
    tally = Tally()
    screen = Screen(DataSpec(source="made"), tally, ("<|im_start|>", "<|im_end|>", "<|endoftext|>"))
    screen.prime(first)
    wall = cpu = 0.0
    for one in rows(count):
        started, worked = time.perf_counter(), time.process_time()
        screen.look(one)
        wall, cpu = wall + time.perf_counter() - started, cpu + time.process_time() - worked
    screen.end()
    grown = process.memory_info().rss - before  # with the last rows themselves
    found = {finding.code: finding.count for finding in tally.findings(count)}
    print(f"{'rows':>10}{'seconds':>10}{'of CPU':>10}{'a row':>10}{'memory':>10}{'repeats':>10}{'near':>10}")
    print(
        f"{count:>10,}{wall:>10.1f}{cpu:>10.1f}{cpu / count * 1e6:>7.0f} us{grown / 2**20:>6.0f} MiB"
        f"{found.get('duplicate', 0):>10,}{found.get('near_duplicate', 0):>10,}"
    )
    print(f"made: {count // 50:,} repeats, {(count + 25) // 50:,} near repeats of {EDITS} other words in 75")
    recall()
    return 0


def recall() -> None:
    chance = random.Random(1)
    words, often = vocabulary(chance)
    near, unlike = Near(), [chance.choices(words, often, k=75) for _ in range(UNLIKE)]
    wrong = sum(near.look(row, *_parts(said)) is not None for row, said in enumerate(unlike))
    print(f"\nof {UNLIKE:,} unlike rows {wrong:,} taken for near repeats\n{'others of 75':>14}{'found':>10}")
    for edits in (0, 1, 2, 3, 4, 6, 8):
        found = 0
        for row, said in enumerate(unlike[:EDITED]):
            new = list(said)
            for place in chance.sample(range(75), edits):
                new[place] = chance.choice(words)
            found += near.look(UNLIKE + row, *_parts(new)) == row
        print(f"{edits:>14}{found / EDITED:>10.1%}")


def _parts(said: list[str]) -> tuple[str, str]:
    return " ".join(said[:25]), " ".join(said[25:])


if __name__ == "__main__":
    raise SystemExit(main())
