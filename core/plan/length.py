"""What a length does to the rows, and what it would cost to keep them all: for the choice of a length."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from core.data.lengths import fitted, longer_than
from core.machine import Machine
from core.models.shape import ModelShape
from core.numbers import gib
from core.plan.advise import Plan, advise
from core.plan.cards import Card, card_here
from core.plan.work import Setting, bytes_of, work_of
from core.spec import RunSpec

WAYS = ("cut", "drop", "split")


def at_length(
    spec: RunSpec,
    machine: Machine,
    shape: ModelShape,
    report: dict[str, Any],
    length: int | None = None,
    *,
    card: Card | None = None,
    plan: Plan | None = None,
) -> dict[str, Any]:
    """What becomes of the data at a length (None: the one that the plan chooses).

    {length, rows, rows_longer, share, p99, max, bytes_to_keep_all, sentence, choices}; a choice is {long,
    length, rows, tokens, tokens_lost, bytes}: the three ways with long rows, and `raise`, with the length
    that keeps all rows whole. `bytes`: what a step takes beyond the one at `length`, with the same batch.
    `rows_longer` and what follows are 0 where no lengths are known. Light, and in milliseconds.
    """
    card = card or card_here(spec, machine)
    plan = plan or advise(spec, machine, shape, report, card=card)
    method = spec.method if spec.method != "auto" else plan.recommended or "qlora"
    chosen = plan.of(method)
    length = length or spec.length or chosen.length
    lengths = report.get("lengths") or {"count": 0, "p99": 0, "max": 0, "table": []}
    most = max(int(lengths["max"]), 1)
    if shape.context:
        most = min(most, shape.context)
    longer, share = longer_than(report, length)

    work = work_of(spec, shape, card, report, method)
    setting = Setting(chosen.optimizer, chosen.batch, chosen.recompute, chosen.host, chosen.compiled)

    def held(tokens: int) -> int:
        return bytes_of(replace(work, length=tokens), setting).total

    more = max(0, held(most) - held(length)) if longer else 0
    ways = [(way, length, 0) for way in WAYS]
    if longer and most > length:
        ways.append(("raise", most, more))
    total = sum(one * rows for one, rows in lengths.get("table", ()))
    choices = []
    for way, tokens, extra in ways:
        rows, kept = fitted(report, tokens, "cut" if way == "raise" else way)
        about = {"long": way, "length": tokens, "rows": rows, "tokens": kept}
        choices.append({**about, "tokens_lost": total - kept, "bytes": extra})
    return {
        "length": length,
        "rows": lengths["count"],
        "rows_longer": longer,
        "share": share,
        "p99": lengths["p99"],
        "max": lengths["max"],
        "bytes_to_keep_all": more,
        "sentence": _sentence(lengths, length, longer, share, more, most),
        "choices": choices,
    }


def _sentence(lengths: dict[str, Any], length: int, longer: int, share: float, more: int, most: int) -> str:
    if not lengths["count"]:
        return "how long the rows are is not known without the model's tokenizer"
    if not longer:
        return f"every row fits into {length:,} tokens; the longest has {lengths['max']:,}"
    are = "is" if longer == 1 else "are"
    said = f"{longer:,} of {lengths['count']:,} rows ({100 * share:.1f} %) {are} longer than {length:,}"
    said += f"; p99 is {lengths['p99']:,}"
    if most < lengths["max"]:
        return f"{said}; the longest has {lengths['max']:,}, more than the model's {most:,}"
    return f"{said}; keeping them all costs {gib(more)} more"
