"""Where methods, plan and figures become lines: pure functions from a plan to what the Method step shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from textual.content import Content

from core.numbers import count, duration, gib, money, percent, rate
from tui.model_list import SHOWN
from tui.widgets.memory_bars import PARTS, Bar

if TYPE_CHECKING:
    from core.plan.advise import MethodPlan, Plan
    from core.plan.estimate import Estimate


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


def how_sure(estimate: Estimate | None) -> str:
    """What kind of estimate it is and how far off such ones were: "closed form, -0.8 to +2 %"."""
    if estimate is None:
        return ""
    word = {"formula": "closed form", "trace": "traced", "measured": "measured here"}[estimate.kind]
    if estimate.kind == "measured" and estimate.correction is not None:
        word = "as a run of it took"
    elif estimate.correction is not None:
        word = "closed form, corrected by what was measured"
    if estimate.error is None:
        return f"{word}, {estimate.unchecked}"
    under, over = (percent(abs(share)) for share in estimate.error)
    if under == over:
        return f"{word}, ±{over}"
    return f"{word}, -{under.removesuffix(' %')} to +{over}"


def head(plan: Plan, one: MethodPlan, width: int) -> Content:
    """What is planned for and how sure the marked method's memory is, on one line of so many cells."""
    sure = how_sure(one.estimate)
    sure = f" · memory: {sure}" if sure else ""
    where = place(plan)
    if len(where) + len(sure) > width:
        card = plan.card or {}
        rest = f": {gib(room(plan))} to use"
        name = str(card.get("name"))
        left = max(width - len(rest) - len(sure), 8)
        where = f"{name if len(name) <= left else f'{name[: left - 1].rstrip()}…'}{rest}"
    return Content.assemble((where, "bold"), (sure, "$foreground 60%"))


def phases(one: MethodPlan) -> Content:
    """The marked method's peak in each phase, and what it takes beside the card."""
    found = one.estimate
    if found is None:
        return Content()
    rows = [
        ("load", found.load),
        ("a step", found.step.total),
        ("held-out rows", found.evaluation),
        ("save", found.save),
        ("a later merge", found.merge),
    ]
    lines = [Content.styled(f"{SHOWN[one.method]}'s peak by phase", "bold")]
    lines += [
        Content.assemble(
            (f"  {name:<15}", "$foreground 60%"), (f"{gib(size):>9}", "bold" if size == found.peak else "")
        )
        for name, size in rows
        if size
    ]
    beside = f"  RAM {gib(found.ram)} · disk {gib(found.disk)}"
    return Content("\n").join([*lines, Content.styled(beside, "$foreground 60%")])


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
    seen = " as seen here" if one.pace else ""
    return Content.assemble(
        (f"≈ {count(one.tokens_per_second)} tokens/s{seen}", "bold"),
        f" · ≈ {duration(one.seconds)}{cost} · {work}",
    )


def why(plan: Plan, chosen: MethodPlan) -> Content:
    """Why the recommended one, then what speaks for or against the one that is marked."""
    if plan.recommended is None:
        best = Content.styled(plan.reason, "$text-error")
    else:
        # the reason begins with the method's name
        name, needs, rest = plan.reason.partition(" needs ")
        best = Content.assemble(("★ ", "bold $text-warning"), (name, "bold"), needs, rest)
    if chosen.method == plan.recommended:
        return best
    reason = f"needs {chosen.out.line}" if chosen.out else chosen.reason
    if plan.recommended is None:
        if chosen.out and chosen.out.line in plan.reason:
            return best
        return Content.assemble((f"{SHOWN[chosen.method]}: ", "bold"), reason, "\n", best)
    # of the recommended one what it needs, so that both have room
    first = rest.partition(". ")[0]
    short = Content.assemble(("★ ", "bold $text-warning"), (name, "bold"), needs, first, ".")
    return Content.assemble((f"{SHOWN[chosen.method]}: ", "bold"), reason, "\n", short)
