"""Whether a run's layers are compiled: one rule, for the plan and for the worker that carries it out."""

from dataclasses import replace

from core.models.shape import ModelShape
from core.numbers import duration
from core.plan.cards import Card
from core.plan.objective import NAMES
from core.plan.speed import TYPICAL, tokens_per_second
from core.spec import Objective, RunSpec

SECONDS = 30.0
"""What compiling takes: about 15 s on a fast box, up to 60 s on a slow one."""
LONG_ENOUGH = 180.0
"""Seconds of training without compiling from which on it pays: a fifth of them is saved."""


def pays(
    seconds: float | None,
    kind: str,
    *,
    asked: str | bool = "auto",
    objective: Objective = "sft",
    capable: bool = True,
) -> tuple[bool, str]:
    """Whether to compile, and why, in words that follow "compiled:" or "not compiled:".

    `seconds`: of training without it, None: not known. `kind`: cuda (or gpu), or cpu. `asked`: `compile` of
    the spec. `capable`: whether the card has compute capability 8.0, for which kernels are made.
    """
    if objective != "sft":
        return False, f"the passes of {NAMES[objective]} have a mask and many shapes"
    if kind == "cpu":
        return False, "there is no CUDA card"
    if not capable:
        return False, "the card is older than those that kernels are made for (compute capability 8.0)"
    if asked != "auto":
        return bool(asked), "as asked"
    if seconds is None:
        return True, "most runs are long enough to pay for it"
    if seconds < LONG_ENOUGH:
        return False, f"about {duration(seconds)} of training is too short to pay for it"
    return True, f"about {duration(seconds)} of training without it is long enough to pay for it"


def rated(card: Card) -> Card:
    """The card; where it is not on the list of known ones, with the rates of a middling one."""
    if card.tflops is None or card.bandwidth is None:
        return replace(card, tflops=TYPICAL[0], bandwidth=TYPICAL[1])
    return card


def training_seconds(spec: RunSpec, shape: ModelShape, card: Card, *, tokens: float, steps: int) -> float:
    """Seconds of training without compiling, by a resolved spec whose rows have so many tokens on average.

    A card that is not on the list of known ones is taken for a middling one: for this choice that is enough.
    """
    card = rated(card)
    passes = steps * (spec.accumulate or 1)
    rate = tokens_per_second(
        shape,
        spec.method if spec.method != "auto" else "lora",
        card,
        tokens=max(1, int((spec.batch or 1) * tokens)),
        recompute=float(spec.recompute) if spec.recompute != "auto" else 0.5,
        row=tokens,
        optimizer=spec.optimizer if spec.optimizer != "auto" else "adamw",
        accumulate=spec.accumulate or 1,
    )
    assert rate is not None
    return passes * (spec.batch or 1) * tokens / rate
