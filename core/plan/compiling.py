"""Whether a run's layers are compiled: one rule, for the plan and for the worker that carries it out."""

from dataclasses import replace

from core.models.shape import ModelShape
from core.numbers import duration
from core.plan.cards import Card
from core.plan.dial import holds, may_record
from core.plan.objective import NAMES
from core.plan.speed import TYPICAL, tokens_per_second
from core.spec import Method, Objective, RunSpec

SECONDS = 30.0
"""What compiling takes: about 15 s on a fast box, up to 60 s on a slow one."""
SAVES = 1 / 6
"""Share of the seconds that compiling saves where that was not reckoned; it is more where passes are then
recorded."""


def pays(
    seconds: float | None,
    kind: str,
    *,
    compiled: float | None = None,
    asked: str | bool = "auto",
    objective: Objective = "sft",
    capable: bool = True,
    gives_up: str = "",
    by: str = "as asked",
) -> tuple[bool, str]:
    """Whether to compile, and why, in words that follow "compiled:" or "not compiled:".

    `seconds`: of training without it, None: not known; `compiled`: with it, what compiling takes left out.
    `kind`: cuda (or gpu), or cpu. `asked`: `compile` of the spec. `capable`: whether the card has compute
    capability 8.0, for which kernels are made. `gives_up`: what `gives_up_on` says. `by`: why, if asked.
    """
    if objective != "sft":
        return False, f"the passes of {NAMES[objective]} have a mask and many shapes"
    if kind == "cpu":
        return False, "there is no CUDA card"
    if not capable:
        return False, "the card is older than those that kernels are made for (compute capability 8.0)"
    if asked != "auto":
        return bool(asked), by
    if gives_up:
        return False, f"torch's compiler gives up on {gives_up}"
    if seconds is None:
        return True, "most runs are long enough to pay for it"
    if seconds - (seconds * (1 - SAVES) if compiled is None else compiled) < SECONDS:
        return False, f"about {duration(seconds)} of training is too short to pay for it"
    return True, f"about {duration(seconds)} of training without it is long enough to pay for it"


def gives_up_on(shape: ModelShape, spec: RunSpec, method: str) -> str:
    """What torch's compiler makes nothing of in such a run; empty: all can be compiled.

    Seen with torch 2.11 and 2.13: transformers watches routers by a hook that dynamo cannot trace (5.17), and
    PEFT 0.21 caches DoRA's norms.
    """
    if shape.balanced:
        return "experts whose routers are watched, as its config asks (output_router_logits)"
    return "DoRA" if spec.lora.dora and method != "full" else ""


def rated(card: Card) -> Card:
    """The card; where it is not on the list of known ones, with the rates of a middling one."""
    if card.tflops is None or card.bandwidth is None:
        return replace(card, tflops=TYPICAL[0], bandwidth=TYPICAL[1])
    return card


def training_seconds(
    spec: RunSpec, shape: ModelShape, card: Card, *, tokens: float, steps: int
) -> tuple[float, float]:
    """Seconds of training without compiling and with it, by a resolved spec whose rows have so many tokens on
    average; passes are recorded where that is quicker.

    A card that is not on the list of known ones is taken for a middling one: for this choice that is enough.
    """
    method: Method = spec.method if spec.method != "auto" else "lora"
    recompute = float(spec.recompute) if spec.recompute != "auto" else 0.5
    accumulate = spec.accumulate or 1
    host = recompute > 0 and card.ram > 0
    records = may_record(
        holds(recompute, shape.layers, host),
        experts=bool(shape.experts),
        drawn=spec.lora.dropout > 0 and method != "full",
        full=method == "full",
        accumulate=accumulate,
        precision=spec.precision,
    )

    def seconds(compiled: bool = False, recorded: bool = False) -> float:
        rate = tokens_per_second(
            shape,
            method,
            rated(card),
            tokens=max(1, int((spec.batch or 1) * tokens)),
            recompute=recompute,
            row=tokens,
            optimizer=spec.optimizer if spec.optimizer != "auto" else "adamw",
            accumulate=accumulate,
            host=host,
            compiled=compiled,
            recorded=recorded,
        )
        assert rate is not None
        return steps * accumulate * (spec.batch or 1) * tokens / rate

    ways = (False, True) if records else (False,)
    return seconds(), min(seconds(compiled=True, recorded=way) for way in ways)
