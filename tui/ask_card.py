"""What a method takes, asked of the card by real steps or of a trace; needs no more than the wizard knows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.errors import UserError
from core.job import Progress
from tui import find_out
from tui.model_list import SHOWN

if TYPE_CHECKING:
    from core.models.shape import ModelShape
    from core.plan.advise import MethodPlan, Plan
    from core.plan.estimate import Estimate
    from core.spec import RunSpec
    from tui.journey import Journey

SETTINGS = ("recompute", "batch", "accumulate", "optimizer")
"""Choices that the ladder may change (`core.plan.ladder`)."""


@dataclass(frozen=True)
class Answer:
    """What came of a measurement or a trace."""

    method: str
    estimate: Estimate | None
    """None: it does not fit, and `why` says so."""
    plain: Estimate
    """The closed form of the same."""
    why: str = ""
    asked: dict[str, Any] = field(default_factory=dict)
    """All of SETTINGS as they were to be measured."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The same as they were at last, after all that was changed until it fitted."""
    speed: float | None = None
    """Useful tokens a second, where that was measured."""
    others: str = ""
    """Who held memory of the card meanwhile."""
    unkept: str = ""
    """Why later plans will not know of it."""

    @property
    def changed(self) -> dict[str, tuple[Any, Any]]:
        """What had to be changed: (before, after)."""
        return {key: (self.asked[key], now) for key, now in self.settings.items() if self.asked[key] != now}


def why_not(journey: Journey, method: str, *, trace: bool = False) -> str:
    """Why it cannot be asked, in a line; empty: it can."""
    plan, shape = journey.plan, journey.shape
    if plan is None or shape is None or journey.machine is None or journey.report is None:
        return "there is no plan yet: it needs the model and the data"
    if method not in shape.tunable:
        return f"{SHOWN[method]} cannot be used on weights stored like these"
    if trace and (plan.card or {}).get("kind") == "cpu":
        return "a trace is of what a GPU would hold, and there is none here: m measures on the CPU"
    if trace and plan.objective != "sft":
        return f"{plan.objective} cannot be traced, its passes are the library's own: m measures it"
    if not trace and not shape.has_weights:
        return f"{shape.name} has no weights here: it can be traced, not measured"
    return ""


def to_download(journey: Journey) -> int:
    """Bytes that a measurement would fetch first."""
    from core.runs.space import space

    return space(journey.spec(), journey.shape).download if journey.shape else 0


async def measured(journey: Journey, method: str, on_progress: Progress) -> Answer:
    """Real steps of what the plan would run. UserError: the card is held, the model cannot be read.

    What fitted as it was is kept, and stands in the next plan.
    """
    from core.plan import measuring
    from core.plan.cards import card_here
    from core.plan.resolve import resolve

    spec, plan, shape, report = _known(journey, method)
    key = _of(journey, spec, shape, report, method)
    asked = resolve(spec, plan, shape, report)
    found = await measuring.measure_async(asked, on_progress=on_progress)
    assert journey.machine is not None
    card = card_here(asked, journey.machine)
    plain = measuring.formula_for(found, shape, card, report)
    before, after = ({name: getattr(one, name) for name in SETTINGS} for one in (asked, found.spec))
    if not found.fits:
        why = str(found.told["why"])
        return Answer(method, None, plain, why, before, after, others=found.others)
    estimate, unkept = measuring.estimate_of(found, plain), ""
    try:
        measuring.kept(found, shape, plain, measuring.expected_for(found, shape, card, report))
    except OSError as error:
        unkept = error.strerror or str(error)
    if not found.changes:
        journey.estimates[key] = estimate
    speed = found.told["tokens_per_second"]
    return Answer(method, estimate, plain, "", before, after, speed, found.others, unkept)


async def traced(journey: Journey, method: str, on_progress: Progress) -> Answer:
    """The run's own modules counted without a card. It stands in the plan for exactly these settings."""
    from core.plan.cards import card_here, room
    from core.plan.choose import choose, exactly
    from core.plan.phases import formula
    from core.plan.trace import trace_async
    from core.plan.work import work_of

    spec, _, shape, report = _known(journey, method)
    assert journey.machine is not None
    card = card_here(spec, journey.machine)
    work = work_of(spec, shape, card, report, spec.method if spec.method != "auto" else "lora")
    setting = choose(work, room(card))[0].setting
    estimate = await trace_async(work, setting, on_progress)
    journey.estimates[exactly(work, setting)] = estimate
    return Answer(method, estimate, formula(work, setting))


def take(journey: Journey, answer: Answer, data: dict[str, Any]) -> MethodPlan:
    """Puts settings that fitted into the draft, so that the plan is of them; it is made anew.

    Only what the plan would not choose by itself is fixed. UserError as `find_out.advise`.
    """
    for name in (*SETTINGS, *SETTINGS):  # a dial that is set may move one that was right before
        one = find_out.advise(journey, data).of(answer.method)
        if getattr(one, name) != answer.settings[name]:
            journey.set(name, answer.settings[name])
    chosen, best = journey.get("method") or "auto", find_out.advise(journey, data).recommended
    if (best if chosen == "auto" else chosen) != answer.method:
        journey.set("method", answer.method)
    if answer.estimate is not None:
        spec, _, shape, report = _known(journey, answer.method, data)
        journey.estimates[_of(journey, spec, shape, report, answer.method)] = answer.estimate
    return find_out.advise(journey, data).of(answer.method)


def _known(
    journey: Journey, method: str, data: dict[str, Any] | None = None
) -> tuple[RunSpec, Plan, ModelShape, dict[str, Any]]:
    from core.prepare import anchored

    plan, shape, report = journey.plan, journey.shape, data or journey.report
    if plan is None:
        plan = find_out.advise(journey, report)
    if shape is None or report is None:
        raise UserError("nothing can be asked", "the model or the data are not known", "go back to them")
    spec = anchored(journey.spec())
    return spec.model_copy(update={"method": method}), plan, shape, report


def _of(journey: Journey, spec: RunSpec, shape: ModelShape, report: dict[str, Any], method: Any) -> str:
    """The words by which a plan finds the estimate again."""
    from core.plan.cards import card_here, room
    from core.plan.choose import choose, exactly
    from core.plan.work import work_of

    assert journey.machine is not None
    card = card_here(spec, journey.machine)
    work = work_of(spec, shape, card, report, method)
    return exactly(work, choose(work, room(card))[0].setting)
