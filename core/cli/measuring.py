"""`finetui plan --measure`: the run measured on the card before it is paid for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from core.cli import show
from core.errors import UserError

if TYPE_CHECKING:
    from core.plan.cards import Card
    from core.plan.estimate import Estimate
    from core.plan.measuring import Measured
    from core.spec import RunSpec

PARTS = {
    "weights": "weights",
    "quantization": "scales of four bits",
    "adapters": "adapters",
    "gradients": "gradients",
    "optimizer": "optimiser",
    "kept": "kept for the backward pass",
    "live": "the layer that goes backward",
    "loss": "loss",
    "temporary": "temporary",
    "context": "CUDA and libraries",
    "fragments": "in pieces",
}


def measured(spec: RunSpec, vram: float | None, card: str | None, as_json: bool) -> None:
    """Measures and says what came of it; exit code 1 where no rung of the ladder fits."""
    from core.plan import measuring
    from core.plan.cards import card_here
    from core.prepare import NO_DATA, prepare

    if spec.data.source == NO_DATA:
        raise UserError(
            "a measurement needs the rows", "their lengths decide", "name them with --data, or in the spec"
        )
    smaller = _other(spec, vram, card)
    cap = smaller.memory_total if smaller else None
    tell, wipe = show.progress(not as_json)
    try:
        prepared = prepare(spec, tell, card=smaller)
        found = measuring.measure(prepared.spec, cap=cap, on_progress=tell)
    finally:
        wipe()
    here = card_here(prepared.spec, prepared.machine)
    plain = measuring.formula_for(found, prepared.shape, here, prepared.report)
    estimate = None
    if found.fits:
        expected = measuring.expected_for(found, prepared.shape, here, prepared.report)
        # of a card that is not here nothing is kept
        estimate = (
            measuring.estimate_of(found, plain) if cap else _kept(found, plain, prepared.shape, expected)
        )
    where = f"{here.name}, standing for {smaller.name}" if smaller else here.name
    if as_json:
        show.answer(_json(found, plain, estimate, where))
    else:
        show.say(_told(found, plain, estimate, where))
    if not found.fits:
        raise typer.Exit(1)


def _other(spec: RunSpec, vram: float | None, card: str | None) -> Card | None:
    """The smaller card that this machine's is to stand for, in a box like this one."""
    from core.machine import look
    from core.numbers import gib
    from core.plan.cards import card_here
    from core.prepare import elsewhere

    machine = look()
    other, here = elsewhere(vram, card, machine.ram_available), card_here(spec, machine)
    if other is None:
        return None
    if here.kind == "cpu":
        raise UserError(
            f"nothing here can stand for {other.name}",
            "a CPU has no memory of a card",
            "plan without --measure",
        )
    if other.memory_total > here.memory_total:
        raise UserError(
            f"{here.name} cannot stand for {other.name}",
            f"it has {gib(here.memory_total)}, {gib(other.memory_total)} were asked for",
            "plan without --measure, or name a smaller card",
        )
    return other


def _kept(found: Measured, plain: Estimate, shape: Any, expected: float | None) -> Estimate:
    from core.plan import measuring

    try:
        return measuring.kept(found, shape, plain, expected)
    except OSError as error:
        show.say(f"what was measured could not be kept: {error.strerror or error}")
        return measuring.estimate_of(found, plain)


def _json(found: Measured, plain: Estimate, estimate: Estimate | None, where: str) -> dict[str, Any]:
    told = {key: found.told.get(key) for key in ("tokens_per_second", "first_step_seconds", "why", "phase")}
    return {
        "fits": found.fits,
        "where": where,
        "estimate": estimate.to_dict() if estimate else None,
        "formula": plain.to_dict(),
        "changes": list(found.changes),
        "others": found.told.get("others"),
        "spec": found.spec.model_dump(mode="json"),
        **told,
    }


def _told(found: Measured, plain: Estimate, estimate: Estimate | None, where: str) -> str:
    from core.numbers import count, duration, gib, percent

    lines = [f"changed: {one}" for one in found.changes]
    if found.others:
        lines.append(f"others hold memory of the card ({found.others})")
    if estimate is None:
        return "\n".join([*lines, f"it does not fit on {where}: {found.told['why']}"])
    off = plain.peak / estimate.peak - 1
    side = "over" if off >= 0 else "under"
    sure = f"{estimate.kind}; {estimate.unchecked}"
    if estimate.error:
        under, over = estimate.error
        sure = f"{estimate.kind}; off by {percent(-under)} under to {percent(over)} over"
    lines += [
        f"{gib(estimate.peak)} at the fullest moment on {where} ({sure})",
        f"the closed form said {gib(plain.peak)}, {percent(abs(off))} {side}",
        "",
        show.table(
            [[words, gib(getattr(estimate.step, name))] for name, words in PARTS.items()],
            ["of a step", "memory"],
            right=(1,),
        ),
        "",
        show.pairs(
            [
                ("load", gib(estimate.load)),
                ("step", gib(estimate.step.total)),
                ("evaluation", gib(estimate.evaluation) if estimate.evaluation else "none"),
                ("save", gib(estimate.save) if found.told["saved"] else "not measured: no room on the disk"),
                ("host's memory", gib(estimate.ram)),
                ("speed", f"{count(found.told['tokens_per_second'])} tokens/s"),
                ("first step", f"after {duration(found.told['first_step_seconds'])}"),
            ]
        ),
    ]
    return "\n".join(lines)
