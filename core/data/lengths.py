"""How long rows are, in tokens: percentiles, a histogram, and how many are longer than any length."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

BINS = 20
EXACT = 2_000
"""Different lengths that the table lists as they are."""


def describe(lengths: Mapping[int, int] | Iterable[int]) -> dict[str, Any]:
    """Of at least one length: count, min, max, mean, p50, p90, p95, p99, `histogram` and `table`.

    `lengths`: all of them, or how often there is each. A percentile is the smallest length that so many
    per cent of the rows do not exceed (nearest rank). The histogram's bins are equally wide; where few
    rows are far longer than the rest, the last bin holds them too, and `longer` says how many.
    The table is [[length, rows], …]; of more than 2,000 lengths, neighbours that differ by less than
    1 % stand together under the longest that there could be.
    """
    counted = Counter(lengths)
    ordered = sorted(counted)
    count, longest = counted.total(), ordered[-1]

    def percentile(share: float) -> int:
        wanted = max(1, math.ceil(share * count))
        for length in ordered:
            wanted -= counted[length]
            if wanted <= 0:
                return length
        return longest

    p99 = percentile(0.99)
    top = longest if longest <= 4 * p99 else 2 * p99
    width = max(1, math.ceil((top + 1) / BINS))
    counts = [0] * BINS
    for length in ordered:
        counts[min(length // width, BINS - 1)] += counted[length]
    return {
        "count": count,
        "min": ordered[0],
        "max": longest,
        "mean": sum(length * rows for length, rows in counted.items()) / count,
        "p50": percentile(0.5),
        "p90": percentile(0.9),
        "p95": percentile(0.95),
        "p99": p99,
        "histogram": {
            "edges": [width * edge for edge in range(BINS + 1)],
            "counts": counts,
            "longer": sum(rows for length, rows in counted.items() if length >= width * BINS),
        },
        "table": [list(pair) for pair in sorted(_table(counted).items())],
    }


def _table(counted: Counter[int]) -> Counter[int]:
    if len(counted) <= EXACT:
        return counted
    found: Counter[int] = Counter()
    for length, rows in counted.items():
        drop = max(0, length.bit_length() - 8)  # eight bits are kept: 128 lengths an octave
        found[min(-(-length >> drop) << drop, max(counted)) if drop else length] += rows
    return found


def longer_than(report: Mapping[str, Any], length: int) -> tuple[int, float]:
    """How many rows have more tokens than `length`, and which share of all that is."""
    known = report.get("lengths")
    if not known or "table" not in known:
        return 0, 0.0
    rows = sum(rows for one, rows in known["table"] if one > length)
    return rows, rows / max(1, known["count"])


def fitted(report: Mapping[str, Any], length: int, long: str) -> tuple[int, int]:
    """Rows (pieces, where they are split) and tokens of all the data at a length; of no tokens known: 0, 0.

    `long`: cut, drop or split. Plain text is split rather than cut, as `core.data.fit` does it. Pieces in
    which nothing is learned are counted here, since the table does not know them.
    """
    table = (report.get("lengths") or {}).get("table") or []
    if long == "drop":
        kept = [(one, rows) for one, rows in table if one <= length]
        return sum(rows for _, rows in kept), sum(one * rows for one, rows in kept)
    if long == "split" or report.get("format") == "text":
        return sum(rows * -(-one // length) for one, rows in table), sum(one * rows for one, rows in table)
    return sum(rows for _, rows in table), sum(min(one, length) * rows for one, rows in table)
