"""Where methods, plan and figures become lines: pure functions from a plan to what the Method step shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from textual.content import Content

from core.numbers import count, duration, gib, money, rate
from tui.model_list import SHOWN
from tui.widgets.memory_bars import PARTS, Bar

if TYPE_CHECKING:
    from core.plan.advise import MethodPlan, Plan


def bars(plan: Plan) -> list[Bar]:
    """One bar a method; the recommended one says so."""
    return [
        Bar(SHOWN[one.method], parts(one), one.fits, "★" if one.method == plan.recommended else "")
        for one in plan.methods
    ]


def parts(method: MethodPlan) -> dict[str, int]:
    """Bytes by part."""
    held: dict[str, Any] = asdict(method.bytes)
    return {part: int(held[part]) for part in PARTS}


def room(plan: Plan) -> int | None:
    """Bytes that a run may take: what is free on the card, less the reserve."""
    return (plan.card or {}).get("room")


def place(plan: Plan) -> str:
    """What is planned for, in words: "NVIDIA H200: a run may use 130 GiB of 138 GiB free"."""
    card = plan.card or {}
    return f"{card.get('name')}: a run may use {gib(room(plan))} of {gib(card.get('memory_free'))} free"


def figures(plan: Plan) -> Sequence[tuple[str, Sequence[str]]]:
    """Further lines of the table: speed, time and cost, all estimates, and what the batch came to."""
    methods = plan.methods
    return [
        ("tokens/s ≈", [count(one.tokens_per_second) for one in methods]),
        ("time ≈", [duration(one.seconds) for one in methods]),
        ("cost ≈", [money(one.cost) if one.cost is not None else "–" for one in methods]),
        ("batch", [f"{one.batch} x {one.accumulate}" for one in methods]),
        ("steps", [count(one.steps) for one in methods]),
        ("rate", [rate(one.learning_rate) for one in methods]),
    ]


def brief(one: MethodPlan) -> Content:
    """The same on one line, for the method that is chosen: ≈ marks what is estimated."""
    work = f"{count(one.steps)} steps of {one.batch} x {one.accumulate} rows"
    if one.tokens_per_second is None:
        return Content.assemble(
            (work, "bold"), " · how fast is known after the first steps: this card is new to us"
        )
    cost = f" · ≈ {money(one.cost)} to pay" if one.cost is not None else ""
    return Content.assemble(
        (f"≈ {count(one.tokens_per_second)} tokens/s", "bold"), f" · ≈ {duration(one.seconds)}{cost} · {work}"
    )
