"""The plan command: what each method needs on this card, on one that is not here, or on all known ones."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from core.cli import options, show
from core.cli.measuring import measured
from core.cli.tracing import traced

if TYPE_CHECKING:
    from core.plan.advise import MethodPlan, Plan
    from core.plan.prices import Prices
    from core.plan.rent import Offer
    from core.spec import RunSpec

SHOWN, TOO_SMALL = 25, 5
"""Cards in the table without --all: so many of those that would do, and of those that are too small."""
WIDTH = 80


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
    cards: Annotated[
        bool, typer.Option("--cards", help="What each card that one can rent would do; the best first.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="With --cards: all of them, not the best alone.")
    ] = False,
    ram: Annotated[
        float | None, typer.Option(metavar="GIB", help="Free memory of the box that card is in.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure the run on the card: real steps, a minute or so.")
    ] = False,
    trace: Annotated[
        bool, typer.Option("--trace", help="Run the model's own modules through shapes: surer, some seconds.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """What each method needs, how long it takes, and which is recommended (exit code 1 if none fits)."""
    from core.errors import UserError
    from core.prepare import NO_DATA

    if cards and (card is not None or vram is not None):
        raise UserError("--cards looks at every card", "--card and --vram name one", "leave one out")
    if cards and measure:
        raise UserError("--cards looks at every card", "--measure is of the one here", "leave one out")
    if trace and (cards or measure):
        raise UserError("--trace is of one run", "--cards and --measure look elsewhere", "leave one out")
    if every and not cards:
        raise UserError("--all is for --cards", "", "write --cards --all")
    spec = options.spec_of(file, model, source or (None if file else NO_DATA), method, changes)
    if measure:
        measured(spec, vram, card, as_json)
    elif trace:
        traced(spec, vram, card, ram, as_json)
    elif cards:
        _cards(spec, ram, every, as_json)
    else:
        _one(spec, vram, card, ram, as_json)


def _one(spec: RunSpec, vram: float | None, card: str | None, ram: float | None, as_json: bool) -> None:
    from core.prepare import plan_for
    from core.spec import dump_spec

    tell, wipe = show.progress(not as_json)
    try:
        made, filled = plan_for(spec, vram=vram, card=card, ram=ram, on_progress=tell)
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


def _cards(spec: RunSpec, ram: float | None, every: bool, as_json: bool) -> None:
    from core.prepare import offers_for

    tell, wipe = show.progress(not as_json)
    try:
        found, prices = offers_for(spec, ram=ram, on_progress=tell)
    finally:
        wipe()
    if as_json:
        show.answer({"cards": [one.to_dict() for one in found], "prices": prices.to_dict()})
    else:
        show.say(_table(found, prices, ram, every))
    if not any(one.best.fits for one in found):
        raise typer.Exit(1)


def _plan(made: Plan) -> str:
    from core.numbers import count, duration, gib, money
    from core.plan.objective import ABOUT, NAMES
    from core.plan.prices import FILE
    from core.runs.folder import home

    def row(one: MethodPlan) -> list[str]:
        return [
            ("→ " if one.method == made.recommended else "  ") + one.method,
            "fits" if one.fits else "too big",
            gib(one.peak),
            f"{one.batch} x {one.accumulate}",
            f"{one.length:,}",
            f"{one.recompute:.2f}",
            count(one.tokens_per_second) if one.tokens_per_second else "?",
            duration(one.seconds),
            *([money(one.cost)] if priced else []),
        ]

    priced = any(one.cost is not None for one in made.methods)
    head = ["  method", "", "memory", "batch", "length", "dial", "tokens/s", "time"]
    head += ["cost"] if priced else []
    card = made.card
    free = f"{gib(card['memory_free'])} free of " if card and card["here"] else ""
    where = f"{card['name']}, {free}{gib(card['memory_total'])}" if card else "?"
    methods = show.table([row(one) for one in made.methods], head, right=(2, 3, 4, 5, 6, 7, 8))
    text = f"{show.paint('for', 'dim')} {where}\n\n{methods}\n\n{made.reason}"
    if made.recommended:
        one = made.of(made.recommended)
        compiled = "compiled" if one.compiled else "not compiled"
        text += f"\nLayers: {one.kept}; {compiled}: {one.compile_why}."
        if one.estimate:
            peaks = one.estimate
            phases = [("load", peaks.load), ("step", peaks.step.total), ("held-out rows", peaks.evaluation)]
            told = ", ".join(f"{name} {gib(size)}" for name, size in [*phases, ("save", peaks.save)])
            merge = f", a later merge {gib(peaks.merge)}" if peaks.merge else ""
            beside = f"; beside the card {gib(peaks.ram)} of RAM, {gib(peaks.disk)} of disk"
            text += f"\nMemory: {told}{merge}{beside}.\nMemory is {one.sure}."
        if one.pace:
            text += f"\nTokens/s are the form's, {one.sure_of_speed}."
        text += f"\nThe first step after about {duration(one.first_step)}, without what is to be downloaded."
    names = {"full": "full tuning", "lora": "LoRA", "qlora": "QLoRA"}
    for one in made.methods:
        # where nothing fits the smallest one's is in the reason already
        if one.out and (made.recommended or one.out.line not in made.reason):
            text += f"\n{names[one.method][0].upper()}{names[one.method][1:]} needs {one.out.line}."
    if card and card["listed"] and card["price"] is None and not card["here"]:
        text += f"\nWhat it costs is not known: put its price of an hour into {home() / FILE}"
        text += f", such as {card['listed']}: 0.42."
    if made.objective != "sft":
        text += f"\n{NAMES[made.objective]} {ABOUT[made.objective]}."
    found = [asdict(one) for one in made.findings]
    return f"{text}\n\n{show.findings(found)}" if found else text


def _table(found: tuple[Offer, ...], prices: Prices, ram: float | None, every: bool) -> str:
    """At most 80 columns wide."""
    fitting = [one for one in found if one.best.fits]
    small = [one for one in found if not one.best.fits]
    shown = list(found) if every else fitting[:SHOWN] + small[:TOO_SMALL]
    priced = any(one.best.cost is not None for one in found)
    head = ["card", "GiB", "full", "lora", "qlora", "rows", "dial", "tok/s", "time"]
    head += ["cost"] if priced else []
    table = show.table([_row(one, priced) for one in shown], head, right=tuple(range(1, len(head))))
    said = "* the method that the figures are of, + how many GiB it is short."
    said += " rows: of one pass; dial: 0 is fastest, 1 takes least memory."
    if len(shown) < len(found):
        said += f" {len(fitting)} cards would do, {len(small)} are too small; --all shows them all."
    if ram is None:
        said += " The memory of the boxes is not known, so no layer waits there (--ram GIB)."
    if not prices.there:
        said += f" What it costs: put your prices into {prices.file}, a line a card"
        said += ", such as RTX 4090: 0.42 (an hour)."
    elif priced and prices.currency:
        said += f" Cost in {prices.currency}."
    lines = textwrap.wrap(said, WIDTH, break_on_hyphens=False, break_long_words=False)
    everywhere = [
        asdict(one)
        for one in found[0].plan.findings
        if one.severity != "info" and all(one in other.plan.findings for other in found)
    ]
    return "\n".join([table, "", *lines, *(["", show.findings(everywhere)] if everywhere else [])])


def _row(one: Offer, priced: bool) -> list[str]:
    from core.numbers import GIB, duration, money

    def fits(method: str) -> str:
        mark = "*" if method == one.best.method else ""
        short = one.short(method) / GIB
        return ("yes" if not short else f"+{short:.1f}" if short < 9.95 else f"+{short:.0f}") + mark

    best, name = one.best, one.card.name.replace(" Blackwell", "")
    rate, total = best.tokens_per_second, one.card.memory_total / GIB
    time = "" if not best.fits else duration(best.seconds).replace(" days", "d")
    return [
        name,
        f"{total:.0f}" if total >= 9.95 else f"{total:.1f}",
        *(fits(method) for method in ("full", "lora", "qlora")),
        str(best.batch) if best.fits else "",
        f"{best.recompute:.2f}" if best.fits else "",
        ""
        if not best.fits
        else "?"
        if rate is None
        else f"{rate:,.0f}"
        if rate < 10_000
        else f"{rate / 1000:.1f}k",
        time,
        *([("" if best.cost is None or not best.fits else money(best.cost))] if priced else []),
    ]
