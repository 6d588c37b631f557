"""The table of `benchmarks.memory_caps`: what was recommended, whether it ran, what it used of the card."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from core.plan.memory import CONTEXT

GIB = 2**30
Row = dict[str, Any]
LEAST = 0.85
"""Share of the card that a recommended plan is to use where memory decides."""
MOST_WRONG = 0.05
"""Share of the cells in which the next larger method may be called too big and run."""


def table(rows: Sequence[Row]) -> str:
    """Markdown: what was to be reached, the cards' shares by kind of data, then a row a cell."""
    recommended = [one for one in rows if one["role"] == "recommended"]
    larger = [one for one in rows if one["role"] == "next"]
    return "\n".join(
        [
            *_goals(recommended, larger),
            *_shares([one for one in recommended if one.get("limit") and one.get("peak")]),
            *_long(recommended, larger),
        ]
    )


def _goals(recommended: Sequence[Row], larger: Sequence[Row]) -> list[str]:
    ran = [one for one in recommended if "fits" in one]
    short = [one["cell"] for one in ran if not one["fits"]]
    none = [one for one in recommended if one.get("nothing_fits")]
    tried = [one for one in larger if "fits" in one]
    wrong = [one for one in tried if one["fits"]]
    near = [one for one in wrong if _planned(one) <= 1]
    limit = [tensors(one) for one in ran if one.get("limit") and one.get("peak")]
    cells = len({one["cell"].rpartition(":")[0] for one in (*recommended, *larger)})
    far, left = (sum(1 for one in larger if key in one) for key in ("not_tried", "no_larger"))
    lines = [
        "| what | found | goal |",
        "|---|---|---|",
        f"| recommended plans that ran out of memory | {len(short)} of {len(ran)} | 0 |",
        f"| next larger methods called too big that ran | {len(wrong)} of {cells} cells "
        f"({len(wrong) / max(1, cells):.1%}) | at most {MOST_WRONG:.0%} |",
    ]
    if limit:
        few = sum(one < LEAST for one in limit)
        lines.append(
            "| share of the card that tensors and context fill where memory decides "
            f"| median {statistics.median(limit):.0%}, least {min(limit):.0%}, "
            f"{few} of {len(limit)} under {LEAST:.0%} | at least {LEAST:.0%} |"
        )
    lines.append("")
    lines.append(
        f"Larger methods: {len(tried)} tried, {far} not tried since they are planned far beyond the card, "
        f"in {left} cells none is called too big. On {len(none)} cards nothing fits.\n"
    )
    for words, some in (
        ("Ran out of memory", short),
        ("Called too big, and ran", [f"{one['cell']} ({_planned(one):.0%} planned)" for one in wrong]),
        ("Of those planned to fit the card, but not with the plan's reserve", [one["cell"] for one in near]),
        ("Not compiled as planned", [one["cell"] for one in (*ran, *tried) if one.get("not_compiled")]),
        ("Held something else than planned", [one["cell"] for one in (*ran, *tried) if one.get("otherwise")]),
    ):
        if some:
            lines.append(f"{words}: {', '.join(some)}.\n")
    return lines


def _shares(limited: Sequence[Row]) -> list[str]:
    if not limited:
        return []
    lines = [
        "| where memory decides | cells | planned | tensors | pool | tokens of the fullest pass |",
        "|---|---|---|---|---|---|",
    ]
    for mix in dict.fromkeys(one["mix"] for one in limited):
        some = [one for one in limited if one["mix"] == mix]
        shares = [
            f"{statistics.median(way(one) for one in some):.0%}, least {min(way(one) for one in some):.0%}"
            for way in (_planned, tensors, share, tokens)
        ]
        lines.append(f"| {mix} | {len(some)} | {' | '.join(shares)} |")
    said = (
        "Shares of the card, CUDA's context among them, and of the tokens that were planned for: the median, "
    )
    pool = "The pool takes what the card has while tensors leave for the host, and needs less."
    return [*lines, f"\n{said}and the least. {pool}\n"]


def _long(recommended: Sequence[Row], larger: Sequence[Row]) -> list[str]:
    lines = [
        "| cell | method | rows | length | dial | optimiser | planned | peak | pool | of the card | s "
        "| next | planned | ran |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    after = {one["cell"].rpartition(":")[0]: one for one in larger}
    for one in recommended:
        cell = one["cell"].rpartition(":")[0]
        lines.append(f"| {cell} | {_of(one)} | {_of_next(after.get(cell, {}))} |")
    return [*lines, ""]


def _of(one: Row) -> str:
    if "setting" not in one:
        return "nothing fits" + " | –" * 9
    chosen = one["setting"]
    rows = f"{chosen['batch']} x {one['accumulate']}"
    marks = [
        f"{chosen['recompute']:g}",
        *(name for name in ("host", "compiled", "recorded") if chosen[name]),
    ]
    ends = [_gib(_with_context(one.get(key))) for key in ("peak", "reserved")]
    used = f"{tensors(one):.0%}" if one.get("peak") else "out of memory" if "out_of_memory" in one else "–"
    used += "" if one["limit"] else " (not the limit)"
    return " | ".join(
        [
            one["method"],
            rows,
            str(one["length"]),
            " ".join(marks),
            chosen["optimizer"],
            f"{_gib(one['planned']['peak'])} ({_planned(one):.0%})",
            *ends,
            used,
            f"{one['took']:.0f}",
        ]
    )


def _of_next(one: Row) -> str:
    if "method" not in one:
        return "– | – | –"
    ran = "not tried"
    if "fits" in one:
        ran = f"yes, {_gib(_with_context(one.get('reserved')))}" if one["fits"] else "no"
    return f"{one['method']} | {_gib(one['planned']['peak'])} ({_planned(one):.0%}) | {ran}"


def share(one: Row) -> float:
    """Of the card that torch's pool and CUDA's context took."""
    return float((one["reserved"] + CONTEXT) / (one["gib"] * GIB))


def tensors(one: Row) -> float:
    """Of the card that tensors and CUDA's context took at the fullest moment."""
    return float((one["peak"] + CONTEXT) / (one["gib"] * GIB))


def tokens(one: Row) -> float:
    """Of those that the plan reckoned with what the run's fullest pass has."""
    return float(one["tokens"] / one["planned_tokens"])


def _planned(one: Row) -> float:
    return float(one["planned"]["peak"] / (one["gib"] * GIB))


def _with_context(value: int | None) -> int | None:
    return value + CONTEXT if value else None


def _gib(value: float | None) -> str:
    return f"{value / GIB:.2f}" if value else "–"
