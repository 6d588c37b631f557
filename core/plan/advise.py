"""Which method to use on this card for these data, and with which numbers; every choice with its reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from core.machine import Finding, Machine
from core.models.shape import ModelShape
from core.numbers import gib
from core.plan import defaults, findings
from core.plan.cards import Card, card_here
from core.plan.dial import holds, in_words
from core.plan.memory import Bytes
from core.plan.objective import LEAST_BATCH, objective_of
from core.plan.search import Found, Setting, bytes_of, fastest, rate_of, seconds_of, steps_of, work_of
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
    host: bool = False
    """Layers wait in the host's memory (`bytes.host` of it)."""
    compiled: bool = False
    compile_why: str = ""
    """Why the layers are compiled, or why not."""
    kept: str = ""
    """What the place of the dial means for this model, in words."""


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
    work = work_of(spec, shape, card, report, method)
    found = fastest(work, room(card))
    chosen = found.setting
    seconds = seconds_of(work, chosen)
    cost = seconds / 3600 * spec.price_per_hour if seconds and spec.price_per_hour is not None else None
    kept = in_words(holds(chosen.recompute, shape.layers, chosen.host))
    kept += f" ({gib(found.bytes.host)} of it)" if found.bytes.host else ""
    return MethodPlan(
        method,
        found.fits,
        found.bytes,
        chosen.batch,
        work.accumulate(chosen.batch),
        work.length,
        chosen.recompute,
        chosen.optimizer,
        defaults.learning_rate(spec, shape, method, work.objective),
        work.epochs,
        steps_of(work, chosen.batch),
        rate_of(work, chosen),
        seconds,
        cost,
        _reason(card, found, kept),
        chosen.host,
        chosen.compiled,
        found.why,
        kept,
    )


def _reason(card: Card, found: Found, kept: str) -> str:
    """What it needs, and how it is made to fit."""
    have, held, chosen = room(card), found.bytes, found.setting
    if not found.fits:
        return f"needs at least {gib(held.total)}, {gib(held.total - have)} more than there are"
    eight = ", with an 8-bit optimiser" if "8bit" in chosen.optimizer else ""
    rows = "1 row" if chosen.batch == 1 else f"{chosen.batch} rows"
    compiled = ", compiled" if chosen.compiled else ""
    return f"needs {gib(held.total)} of {gib(have)}: {rows} at a time{compiled}, {kept}{eight}"


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
    have = room(card)
    work = replace(work_of(spec, shape, card, report, "qlora"), together=1)
    batch = LEAST_BATCH[work.objective]
    setting = Setting("adamw", batch, 1.0, compiled=least.compiled)
    for length in (2048, 1024, 512, 256):
        if length < least.length:
            held = bytes_of(replace(work, length=length), setting)
            if held.total <= have:
                return (
                    f"QLoRA would with length {length:,}, batch {batch} and recompute 1 ({gib(held.total)})"
                )
    short = gib(least.bytes.total - have)
    return f"QLoRA is {short} short of the {gib(have)} there are; take a smaller model or a larger card"
