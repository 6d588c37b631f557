"""Which method to use on this card for these data, and with which numbers; every choice with its reason."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from core.machine import Finding, Machine
from core.models.shape import ModelShape
from core.numbers import gib
from core.plan import defaults, findings, memory, speed
from core.plan.cards import Card, card_here
from core.plan.memory import Bytes
from core.plan.objective import LEAST_BATCH, SEQUENCES, objective_of
from core.spec import Method, Objective, RunSpec

RESERVE = 0.06
"""Of the card's memory that is left free: the estimate's error, and what others may take meanwhile."""
CPU_RESERVE = 0.15
ENOUGH_FOR_FULL = 2_000_000
"""Learned tokens below which full tuning of a large model mostly forgets."""
SMALL = 3e9


@dataclass(frozen=True)
class MethodPlan:
    """One method with the numbers it would run with. Time and cost are estimates; None: not known."""

    method: Method
    fits: bool
    bytes: Bytes
    batch: int
    accumulate: int
    length: int
    recompute: float
    optimizer: str
    learning_rate: float
    epochs: float
    steps: int | None
    tokens_per_second: float | None
    seconds: float | None
    cost: float | None
    reason: str


@dataclass(frozen=True)
class Plan:
    card: dict[str, Any] | None
    methods: tuple[MethodPlan, ...]
    recommended: Method | None
    reason: str
    findings: tuple[Finding, ...] = ()
    objective: Objective = "sft"

    def of(self, method: str) -> MethodPlan:
        return next(one for one in self.methods if one.method == method)

    def to_dict(self) -> dict[str, Any]:
        """As JSON: bytes, seconds, tokens."""
        methods = [{**asdict(one), "bytes": one.bytes.to_dict()} for one in self.methods]
        return {**asdict(self), "methods": methods}


def advise(
    spec: RunSpec,
    machine: Machine,
    shape: ModelShape,
    report: dict[str, Any] | None = None,
    *,
    card: Card | None = None,
) -> Plan:
    """All methods on the card (default: the one here), and the recommended one. Well under 50 ms."""
    card = card or card_here(spec, machine)
    methods = tuple(_plan(spec, shape, card, report, method) for method in get_args(Method))
    recommended, reason = _recommend(spec, shape, card, report, {one.method: one for one in methods})
    shown = asdict(card) | {"room": room(card), "precision": card.precision}
    least = next(one for one in methods if one.method == ("qlora" if spec.method == "auto" else spec.method))
    way_out = "" if recommended else _way_out(spec, shape, card, report, least)
    found = findings.of_plan(spec, shape, card, methods, recommended, way_out)
    found += findings.of_objective(spec, report)
    found += findings.of_box(spec, machine, shape, card)
    return Plan(shown, methods, recommended, reason, found, objective_of(spec, report))


def room(card: Card) -> int:
    """Bytes that a run may take: what is free, less the reserve."""
    reserve = CPU_RESERVE if card.kind == "cpu" else RESERVE
    return int(card.memory_free - reserve * card.memory_total)


def _plan(
    spec: RunSpec, shape: ModelShape, card: Card, report: dict[str, Any] | None, method: Method
) -> MethodPlan:
    """The fastest setting of the method that fits; where none does, the smallest."""
    length, objective = defaults.length(spec, shape, card, report), objective_of(spec, report)
    rows, sequences = defaults.rows(report), SEQUENCES[objective]
    epochs = defaults.epochs(spec, shape, rows, objective)
    count, packed = defaults.lines(spec, report, length)
    together = defaults.effective_batch(spec, card, count, objective)
    batches = [spec.batch] if spec.batch else _halves(together, spec.accumulate, LEAST_BATCH[objective])
    dials = [float(spec.recompute)] if spec.recompute != "auto" else [0.0, 1.0]
    optimizers = [spec.optimizer] if spec.optimizer != "auto" else _optimizers(method, card)
    settings = [(o, b, d) for o in optimizers for b in batches for d in dials]
    sized = [
        (bytes_of(spec, shape, card, method, length, together, *one, objective), one) for one in settings
    ]
    fitting = [one for one in sized if one[0].total <= room(card)]
    fits = bool(fitting)

    def pace(choice: tuple[Bytes, tuple[str, int, float]]) -> float:
        _, (_, batch, dial) = choice
        mean, useful = defaults.useful_share(batch * sequences, length, report, packed)
        tokens = int(batch * sequences * mean / useful)
        return rate_of(tokens, dial, useful) or tokens * useful / (1 + 0.3 * dial)

    def rate_of(tokens: int, dial: float, useful: float) -> float | None:
        return speed.tokens_per_second(
            shape,
            method,
            card,
            tokens=tokens,
            recompute=dial,
            useful=useful,
            objective=objective,
            epochs=epochs,
        )

    if fits:
        exact = [one for one in fitting if one[1][0] == fitting[0][1][0]]  # the first optimiser that fits
        held, (optimizer, batch, dial) = max(exact, key=pace)
    else:
        held, (optimizer, batch, dial) = min(sized, key=lambda one: one[0].total)
    accumulate = spec.accumulate or max(1, round(together / batch))
    mean, useful = defaults.useful_share(batch * sequences, length, report, packed)
    rate = rate_of(int(batch * sequences * mean / useful), dial, useful)
    steps = spec.steps or (math.ceil(count / (batch * accumulate)) * epochs if count else None)
    steps = max(1, round(steps)) if steps else None
    seconds = steps * batch * accumulate * sequences * mean / rate if steps and rate else None
    cost = seconds / 3600 * spec.price_per_hour if seconds and spec.price_per_hour is not None else None
    return MethodPlan(
        method,
        fits,
        held,
        batch,
        accumulate,
        length,
        dial,
        optimizer,
        defaults.learning_rate(spec, shape, method, objective),
        epochs,
        steps,
        rate,
        seconds,
        cost,
        _reason(method, fits, held, card, batch, dial, optimizer),
    )


def _halves(together: int, accumulate: int | None, least: int) -> list[int]:
    if accumulate:
        return [max(least, together // accumulate)]
    return [together // 2**n for n in range(together.bit_length()) if together // 2**n >= least]


def _optimizers(method: Method, card: Card) -> list[str]:
    """Exact first; smaller moments only where a whole model learns and exact ones do not fit."""
    if method == "full" and card.kind == "gpu":
        return ["adamw", "adamw_8bit", "paged_adamw_8bit"]
    return ["adamw"]


def bytes_of(
    spec: RunSpec,
    shape: ModelShape,
    card: Card,
    method: Method,
    length: int,
    together: int,
    optimizer: str,
    batch: int,
    dial: float,
    objective: Objective = "sft",
) -> Bytes:
    """What a step of the method takes at a length, `batch` of its `together` rows at a time."""
    held = memory.estimate(
        shape,
        method,
        batch=batch,
        length=length,
        rank=spec.lora.rank,
        optimizer=optimizer,
        recompute=dial,
        precision=card.precision if spec.precision == "auto" else spec.precision,
        on_gpu=card.kind == "gpu",
        targets=None if spec.lora.targets == "all-linear" else list(spec.lora.targets),
        accumulate=spec.accumulate or max(1, round(together / batch)),
        padded=batch > 1 or spec.packing,
        dora=spec.lora.dora,
        objective=objective,
    )
    # paged moments move to the host's memory when the card is full
    return replace(held, optimizer=held.optimizer // 4) if optimizer.startswith("paged") else held


def _reason(
    method: Method, fits: bool, held: Bytes, card: Card, batch: int, dial: float, optimizer: str
) -> str:
    have = room(card)
    if not fits:
        return f"needs at least {gib(held.total)}, {gib(held.total - have)} more than there are"
    how = "recomputing activations" if dial else "keeping all activations"
    eight = ", with an 8-bit optimiser" if "8bit" in optimizer else ""
    rows = "1 row" if batch == 1 else f"{batch} rows"
    return f"needs {gib(held.total)} of {gib(have)}: {rows} at a time, {how}{eight}"


_TRADE = {
    "full": "Full tuning changes every weight: it learns most, and forgets most where the data are few",
    "lora": "LoRA learns small adapters beside the frozen model: nearly as good, and little is forgotten",
    "qlora": "QLoRA holds the model in four bits: the least memory, a little slower and less exact",
}


def _recommend(
    spec: RunSpec,
    shape: ModelShape,
    card: Card,
    report: dict[str, Any] | None,
    plans: dict[Method, MethodPlan],
) -> tuple[Method | None, str]:
    """The method and why, in two sentences that name the numbers."""
    full, lora, qlora = plans["full"], plans["lora"], plans["qlora"]
    have = gib(room(card))
    learned = int((report or {}).get("learned_tokens") or 0)
    wants_full = spec.aim in ("knowledge", "chat") and shape.parameters < SMALL and learned >= ENOUGH_FOR_FULL
    if full.fits and wants_full:
        why = f"full tuning needs {gib(full.bytes.total)} of the {have} there are"
        return "full", f"{why}, and {learned:,} learned tokens are enough for it. {_TRADE['full']}."
    if lora.fits:
        rest = (
            f"full tuning would need {gib(full.bytes.total)}"
            + (" and fit too" if full.fits else "")
        )  # fmt: skip
        return (
            "lora",
            f"LoRA needs {gib(lora.bytes.total)} of the {have} there are; {rest}. {_TRADE['lora']}.",
        )
    if qlora.fits:
        why = f"QLoRA needs {gib(qlora.bytes.total)} of the {have} there are"
        return "qlora", f"{why}; LoRA would need {gib(lora.bytes.total)}. {_TRADE['qlora']}."
    return None, f"nothing fits: {_way_out(spec, shape, card, report, qlora)}"


def _way_out(
    spec: RunSpec, shape: ModelShape, card: Card, report: dict[str, Any] | None, least: MethodPlan
) -> str:
    """The smallest change that would make the smallest method fit."""
    have, objective = room(card), objective_of(spec, report)
    batch = LEAST_BATCH[objective]
    for length in (2048, 1024, 512, 256):
        if length < least.length:
            held = bytes_of(spec, shape, card, "qlora", length, 1, least.optimizer, batch, 1.0, objective)
            if held.total <= have:
                return f"QLoRA would with length {length:,}, batch {batch} and recompute ({gib(held.total)})"
    short = gib(least.bytes.total - have)
    return f"QLoRA is {short} short of the {gib(have)} there are; take a smaller model or a larger card"
