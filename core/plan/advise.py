"""Which method to use on this card for these data, and with which numbers; every choice with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

from core.machine import Finding, Machine
from core.models.shape import ModelShape
from core.numbers import gib, percent
from core.plan import defaults, findings
from core.plan.cards import Card, card_here, room
from core.plan.choose import choose
from core.plan.corrected import Pace
from core.plan.dial import holds, in_words
from core.plan.estimate import Estimate
from core.plan.memory import Bytes
from core.plan.objective import objective_of
from core.plan.phases import loosened
from core.plan.search import Found
from core.plan.ways_out import WaysOut, ways_out
from core.plan.work import first_step_of, speed_of, steps_of, work_of
from core.spec import Method, Objective, RunSpec

ENOUGH_FOR_FULL = 2_000_000
"""Learned tokens below which full tuning of a large model mostly forgets."""
SMALL = 3e9


@dataclass(frozen=True)
class MethodPlan:
    """One method with the numbers it would run with. Time and cost are estimates; None: not known."""

    method: Method
    fits: bool
    bytes: Bytes
    """Of a step, by part; `estimate` has the other phases and says how sure that is."""
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
    first_step: float | None = None
    """Seconds from the start to the first step: libraries, weights from the disk, compiling; no download."""
    estimate: Estimate | None = None
    """Every phase's peak, RAM and disk, with the kind and the error of what is said."""
    pace: Pace | None = None
    """What the speed was bettered by; None: it is the form's."""
    out: WaysOut | None = None
    """Of a method that does not fit: what would make it fit. None: it fits, or nobody asked."""

    @property
    def peak(self) -> int:
        """The most bytes that the run has on the card."""
        return self.estimate.peak if self.estimate else self.bytes.total

    @property
    def sure(self) -> str:
        """Where the memory's figures come from, how far off such figures were, and what bettered them."""
        if self.estimate is None:
            return ""
        kind = {"formula": "by closed form", "trace": "traced", "measured": "measured"}[self.estimate.kind]
        said = f"{kind}, {self.estimate.unchecked}"
        if self.estimate.error:
            under, over = self.estimate.error
            said = f"{kind}, from {percent(abs(under))} under to {percent(over)} over"
        if self.estimate.correction is not None:
            said += f"; what comes and goes corrected {self.estimate.correction:.2f} times"
        return said + (f" ({self.estimate.of})" if self.estimate.of else "")

    @property
    def sure_of_speed(self) -> str:
        """What the speed was corrected by; empty: by nothing."""
        return f"corrected {self.pace.factor:.2f} times ({self.pace.of})" if self.pace else ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON: bytes, seconds, tokens."""
        estimate = self.estimate.to_dict() if self.estimate else None
        out = {**asdict(self.out), "line": self.out.line} if self.out else None
        known = {"bytes": self.bytes.to_dict(), "estimate": estimate, "out": out, "sure": self.sure}
        known["sure_of_speed"] = self.sure_of_speed
        return {**asdict(self), **known, "peak": self.peak}


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
        return {**asdict(self), "methods": [one.to_dict() for one in self.methods]}


def advise(
    spec: RunSpec,
    machine: Machine,
    shape: ModelShape,
    report: dict[str, Any] | None = None,
    *,
    card: Card | None = None,
    ways: bool = True,
    known: Mapping[str, Estimate] | None = None,
) -> Plan:
    """All methods on the card (default: the one here), and the recommended one. Well under 50 ms.

    `ways`: whether to look for what would make a method fit that does not, which takes most of that time.
    `known`: traces and measurements that stand in for the closed form (`core.plan.choose.exactly`).
    """
    card = card or card_here(spec, machine)
    methods = tuple(_plan(spec, shape, card, report, method, ways, known) for method in get_args(Method))
    recommended, reason = _recommend(spec, shape, report, card, {one.method: one for one in methods})
    shown = asdict(card) | {"room": room(card), "precision": card.precision, "price": price_of(spec, card)}
    taken = recommended if spec.method == "auto" else spec.method
    found = findings.of_plan(spec, shape, card, methods, recommended)
    found += findings.of_objective(spec, report)
    found += findings.of_box(spec, machine, shape, card)
    chosen = next((one for one in methods if one.method == taken), None)
    found += findings.of_host(card, chosen, machine.ram_total)
    return Plan(shown, methods, recommended, reason, found, objective_of(spec, report))


def _plan(
    spec: RunSpec,
    shape: ModelShape,
    card: Card,
    report: dict[str, Any] | None,
    method: Method,
    ways: bool,
    known: Mapping[str, Estimate] | None,
) -> MethodPlan:
    """The fastest setting of the method that fits; where none does, the smallest."""
    work = work_of(spec, shape, card, report, method)
    found, estimate = choose(work, room(card), known)
    chosen = found.setting
    estimate = loosened(estimate, work, chosen)
    speed = speed_of(work, chosen)
    seconds = speed.seconds
    price = price_of(spec, card)
    cost = seconds / 3600 * price if seconds is not None and price is not None else None
    kept = in_words(holds(chosen.recompute, shape.layers, chosen.host))
    kept += f" ({gib(found.bytes.host)} of it)" if found.bytes.host else ""
    able = method in shape.tunable
    return MethodPlan(
        method,
        found.fits and able,
        estimate.step,
        chosen.batch,
        work.accumulate(chosen.batch),
        work.length,
        chosen.recompute,
        chosen.optimizer,
        defaults.learning_rate(spec, shape, method, work.objective),
        work.epochs,
        steps_of(work, chosen.batch),
        speed.tokens_per_second,
        seconds,
        cost,
        _reason(card, found, estimate, kept) if able else "cannot be used on weights stored like these",
        chosen.host,
        chosen.compiled,
        found.why,
        kept,
        first_step_of(work, chosen),
        estimate,
        speed.pace,
        ways_out(spec, shape, card, report, method, estimate.peak - room(card))
        if ways and able and not found.fits
        else None,
    )


def price_of(spec: RunSpec, card: Card) -> float | None:
    """Of an hour: the spec's is this machine's, and a card's elsewhere whose own is not known."""
    own = spec.price_per_hour
    return own if own is not None and (card.here or card.price is None) else card.price


def _reason(card: Card, found: Found, estimate: Estimate, kept: str) -> str:
    """What it needs, and how it is made to fit."""
    have, chosen = room(card), found.setting
    need = gib(estimate.peak)
    if not found.fits:
        return f"needs at least {need}, {gib(estimate.peak - have)} more than there are"
    eight = ", with an 8-bit optimiser" if "8bit" in chosen.optimizer else ""
    rows = "1 row" if chosen.batch == 1 else f"{chosen.batch} rows"
    compiled = ", compiled" if chosen.compiled else ""
    return f"needs {need} of {gib(have)}: {rows} at a time{compiled}, {kept}{eight}"


def _recommend(
    spec: RunSpec,
    shape: ModelShape,
    report: dict[str, Any] | None,
    card: Card,
    plans: dict[Method, MethodPlan],
) -> tuple[Method | None, str]:
    """The method and why, in two sentences: what it needs, and what it is traded for."""
    full, lora, qlora = plans["full"], plans["lora"], plans["qlora"]
    have = gib(room(card))
    learned = int((report or {}).get("learned_tokens") or 0)
    wants_full = spec.aim in ("knowledge", "chat") and shape.parameters < SMALL and learned >= ENOUGH_FOR_FULL
    if full.fits and wants_full:
        why = f"full tuning needs {gib(full.peak)} of the {have} there are"
        why += f", and {learned:,} learned tokens are enough for it"
        return "full", f"{why}. It changes every weight: it learns most, and keeps least of what was there."
    if lora.fits:
        rest = f"full tuning would need {gib(full.peak)}" + (" and fit too" if full.fits else "")
        why = f"LoRA needs {gib(lora.peak)} of the {have} there are; {rest}"
        trade = "LoRA learns small adapters beside the frozen model, nearly as good as full tuning"
        if full.fits and 0 < learned < ENOUGH_FOR_FULL:
            trade += f", which with {learned:,} learned tokens would mostly forget"
        elif full.fits:
            trade += ", and forgets little"
        else:
            trade += f"; QLoRA would be {_slower(qlora, lora)} and less exact"
        return "lora", f"{why}. {trade}."
    if qlora.fits:
        why = f"QLoRA needs {gib(qlora.peak)} of the {have} there are"
        why += f"; LoRA would need {gib(lora.peak)}"
        trade = "QLoRA holds the model in four bits: least memory, for a little speed and a little quality"
        return "qlora", f"{why}. {trade}."
    out = min((one for one in plans.values()), key=lambda one: one.peak)
    return None, f"nothing fits: {findings.way_out(out)}"


def _slower(one: MethodPlan, other: MethodPlan) -> str:
    """How fast one method is beside another: "12 % slower"."""
    if not one.tokens_per_second or not other.tokens_per_second:
        return "a little slower"
    share = one.tokens_per_second / other.tokens_per_second - 1
    if abs(share) < 0.01:
        return "as fast"
    return f"{percent(abs(share))} {'faster' if share > 0 else 'slower'}"
