"""What every known card could do with a run, to choose what to rent: the cheapest first, or the quickest."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from core.machine import Machine
from core.models.shape import ModelShape
from core.plan.advise import MethodPlan, Plan, advise
from core.plan.card_names import known_cards
from core.plan.cards import Card, of_list
from core.plan.prices import Prices
from core.spec import RunSpec


@dataclass(frozen=True)
class Offer:
    """A card and what it could do."""

    card: Card
    plan: Plan
    best: MethodPlan
    """The method that was asked for, or the recommended one; where none fits the one that is least short."""

    def short(self, method: str) -> int:
        """Bytes that the method needs beyond those there are; 0: it fits."""
        one = self.plan.of(method)
        return 0 if one.fits else one.peak - int((self.plan.card or {})["room"])

    def to_dict(self) -> dict[str, Any]:
        methods = [one.method for one in self.plan.methods]
        return {
            "card": self.card.name,
            "fits": self.best.fits,
            "method": self.best.method,
            "price": self.card.price,
            "cost": self.best.cost,
            "seconds": self.best.seconds,
            "short": {method: self.short(method) for method in methods},
            "plan": self.plan.to_dict(),
        }


def offers(
    spec: RunSpec,
    machine: Machine,
    shape: ModelShape,
    report: dict[str, Any] | None,
    *,
    ram: int = 0,
    prices: Prices | None = None,
    cards: Iterable[Card] | None = None,
) -> tuple[Offer, ...]:
    """Each known card with its plan: those that fit first, by cost where the price is known, else by time;
    then the others, the least short first. `ram`: bytes available in the box of each card, 0: not known.

    Under a second for all of them.
    """
    # the spec's price is this machine's, not that of a card elsewhere
    spec = spec.model_copy(update={"price_per_hour": None, "gpus": "auto"})
    found = []
    for card in cards if cards is not None else (of_list(one, ram=ram) for one in known_cards()):
        card = prices.on(card) if prices else card
        plan = advise(spec, machine, shape, report, card=card, ways=False)
        found.append(Offer(card, plan, _best(spec, plan)))
    return tuple(sorted(found, key=_rank))


def _best(spec: RunSpec, plan: Plan) -> MethodPlan:
    if spec.method != "auto":
        return plan.of(spec.method)
    return plan.of(plan.recommended) if plan.recommended else min(plan.methods, key=lambda one: one.peak)


def _rank(one: Offer) -> tuple[float, ...]:
    if not one.best.fits:
        return (1.0, one.short(one.best.method), one.card.memory_total)
    cost = one.best.cost if one.best.cost is not None else math.inf
    pace = -(one.best.tokens_per_second or 0.0)
    seconds = one.best.seconds if one.best.seconds is not None else math.inf
    return (0.0, cost, seconds, pace, one.card.memory_total)
