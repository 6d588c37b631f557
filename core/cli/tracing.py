"""`finetui plan --trace`: what the run's own modules take, counted on tensors without numbers."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from core.cli import show
from core.cli.measuring import PARTS

if TYPE_CHECKING:
    from core.plan.advise import MethodPlan
    from core.plan.cards import Card
    from core.plan.estimate import Estimate
    from core.spec import RunSpec


def traced(spec: RunSpec, vram: float | None, card: str | None, ram: float | None, as_json: bool) -> None:
    """Traces the method that the plan recommends and says what came of it; exit code 1: it is too big."""
    from core.plan.cards import room
    from core.prepare import trace_for

    tell, wipe = show.progress(not as_json)
    try:
        one, estimate, where = trace_for(spec, vram=vram, card=card, ram=ram, on_progress=tell)
    finally:
        wipe()
    fits = estimate.peak <= room(where)
    if as_json:
        told = {"estimate": estimate.to_dict(), "plan": one.to_dict(), "card": asdict(where)}
        show.answer({"fits": fits, "method": one.method, "room": room(where), **told})
    else:
        show.say(_told(one, estimate, where, fits))
    if not fits:
        raise typer.Exit(1)


def _told(one: MethodPlan, estimate: Estimate, where: Card, fits: bool) -> str:
    from core.numbers import gib, percent
    from core.plan.cards import room

    plain = one.estimate
    compiled = "compiled" if one.compiled else "not compiled"
    how = f"{one.method}, {one.batch} rows of {one.length:,} at a time, dial {one.recompute:.2f}, {compiled}"
    verdict = "fits into" if fits else "does not fit into"
    parts = [
        [words, gib(getattr(estimate.step, name)), gib(getattr(plain.step, name)) if plain else "?"]
        for name, words in PARTS.items()
        if getattr(estimate.step, name) or (plain and getattr(plain.step, name))
    ]
    phases = [("load", "load"), ("evaluation", "held-out rows"), ("save", "save"), ("merge", "a later merge")]
    parts.append(["a step", gib(estimate.step.total), gib(plain.step.total) if plain else "?"])
    for name, words in phases:
        if size := getattr(estimate, name):
            parts.append([words, gib(size), gib(getattr(plain, name)) if plain else "?"])
    table = show.table(parts, ["", "traced", "closed form"], right=(1, 2))
    beside = f"Beside the card {gib(estimate.ram)} of RAM, {gib(estimate.disk)} of disk."
    sure = f"The trace is {estimate.unchecked}."
    if estimate.error:
        under, over = estimate.error
        sure = f"Traces are from {percent(abs(under))} under to {percent(over)} over."
    return (
        f"{how}\n{gib(estimate.peak)} at the fullest moment {verdict} the {gib(room(where))} that a run may"
        f" take of {where.name}\n\n{table}\n\n{beside} {sure}"
    )
