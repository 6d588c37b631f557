"""How long rows are, in tokens: percentiles and a histogram."""

import math
from collections.abc import Sequence
from typing import Any

BINS = 20


def describe(lengths: Sequence[int]) -> dict[str, Any]:
    """Of at least one length: count, min, max, mean, p50, p90, p95, p99 and `histogram`.

    A percentile is the smallest length that so many per cent of the rows do not exceed (nearest rank).
    The histogram's bins are equally wide; where few rows are far longer than the rest, the last bin
    holds them too, and `longer` says how many.
    """
    ordered = sorted(lengths)
    count, longest = len(ordered), ordered[-1]

    def percentile(share: float) -> int:
        return ordered[max(0, math.ceil(share * count) - 1)]

    p99 = percentile(0.99)
    top = longest if longest <= 4 * p99 else 2 * p99
    width = max(1, math.ceil((top + 1) / BINS))
    counts = [0] * BINS
    for length in ordered:
        counts[min(length // width, BINS - 1)] += 1
    return {
        "count": count,
        "min": ordered[0],
        "max": longest,
        "mean": sum(ordered) / count,
        "p50": percentile(0.5),
        "p90": percentile(0.9),
        "p95": percentile(0.95),
        "p99": p99,
        "histogram": {
            "edges": [width * edge for edge in range(BINS + 1)],
            "counts": counts,
            "longer": sum(length >= width * BINS for length in ordered),
        },
    }
