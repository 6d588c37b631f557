"""The plan command: what each method needs on this card, or on one that is not here."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from core.cli import options, show

if TYPE_CHECKING:
    from core.plan.advise import MethodPlan, Plan


def plan(
    file: options.SpecFile = None,
    model: options.Model = None,
    source: options.Data = None,
    method: options.Method = None,
    changes: options.Set = None,
    vram: Annotated[
        float | None, typer.Option(metavar="GIB", help="Plan for a card with this much memory.")
    ] = None,
    card: Annotated[
        str | None, typer.Option(metavar="NAME", help="Plan for this card, such as 4090.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """What each method needs, how long it takes, and which is recommended (exit code 1 if none fits)."""
    from core.prepare import NO_DATA, plan_for
    from core.spec import dump_spec

    spec = options.spec_of(file, model, source or (None if file else NO_DATA), method, changes)
    tell, wipe = show.progress(not as_json)
    try:
        made, filled = plan_for(spec, vram=vram, card=card, on_progress=tell)
    finally:
        wipe()
    if as_json:
        show.answer({**made.to_dict(), "spec": filled.model_dump(mode="json") if filled else None})
    else:
        show.say(_plan(made))
        if filled:
            head = show.paint("# the run, with all that was left open", "dim")
            show.say(f"\n{head}\n{dump_spec(filled)}".rstrip())
    if any(one.severity == "stop" for one in made.findings):
        raise typer.Exit(1)


def _plan(made: Plan) -> str:
    from core.numbers import count, duration, gib, money
    from core.plan.objective import ABOUT, NAMES

    def row(one: MethodPlan) -> list[str]:
        return [
            ("→ " if one.method == made.recommended else "  ") + one.method,
            "fits" if one.fits else "does not fit",
            gib(one.bytes.total),
            f"{one.batch} x {one.accumulate}",
            f"{one.length:,}",
            count(one.tokens_per_second) if one.tokens_per_second else "?",
            duration(one.seconds),
            *([money(one.cost)] if priced else []),
        ]

    priced = any(one.cost is not None for one in made.methods)
    head = ["  method", "", "memory", "batch", "length", "tokens/s", "time", *(["cost"] if priced else [])]
    card = made.card
    free = f"{gib(card['memory_free'])} free of " if card and card["here"] else ""
    where = f"{card['name']}, {free}{gib(card['memory_total'])}" if card else "?"
    methods = show.table([row(one) for one in made.methods], head, right=(2, 3, 4, 5, 6, 7))
    text = f"{show.paint('for', 'dim')} {where}\n\n{methods}\n\n{made.reason}"
    if made.recommended:
        one = made.of(made.recommended)
        compiled = "compiled" if one.compiled else "not compiled"
        text += f"\nLayers: {one.kept}; {compiled}: {one.compile_why}."
    if made.objective != "sft":
        text += f"\n{NAMES[made.objective]} {ABOUT[made.objective]}."
    found = [asdict(one) for one in made.findings]
    return f"{text}\n\n{show.findings(found)}" if found else text
