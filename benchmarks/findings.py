"""What the checks on rows cost, and how many near repeats they find: `python -m benchmarks.findings [ROWS]`.

Made rows of about 100 tokens (25 words asked, 50 answered, drawn as words are in a language: few often, most
rarely), one in fifty an exact repeat and one in fifty a near one. Prints a table.
"""

from __future__ import annotations

import random
import sys
import time
from collections import deque
from collections.abc import Iterator

import psutil

from core.data.check.screen import Screen
from core.data.conversation import Conversation, Message
from core.data.findings import Tally
from core.spec import DataSpec

WORDS = 30_000
EDITS = 2
LAST = 10_000
"""Rows of which one is repeated."""


def rows(count: int) -> Iterator[Conversation]:
    chance = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(WORDS)]
    often = [1 / (place + 3) for place in range(WORDS)]
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
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
