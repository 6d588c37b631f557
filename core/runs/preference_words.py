"""What a preference run's rewards show, in plain words: does it tell the answers apart, and at what price?

Rewards are judged by how far they have come since the first steps, so that it does not matter that those
of ORPO, which compares with no earlier model, do not begin at 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from core.runs.events import Eval, Step
from core.runs.history import History
from core.runs.trend import EARLY_STEPS, memorising, said

FIRST, RECENT = 5, 20
"""Steps whose mean stands for the beginning and for now: a single batch is noise."""
FALLEN = 0.3
"""Fall of the chosen reward from which it is spoken of; with beta 0.1, three nats an answer."""
TELLS_APART = 0.55
"""Accuracy up to which a run does no better than chance."""
LONG_ENOUGH = 100

Mood = Literal["calm", "good", "warn"]


@dataclass(frozen=True)
class Standing:
    """Means over the first steps and over the latest; None where nobody told."""

    chosen: float
    chosen_first: float
    rejected: float
    rejected_first: float
    accuracy: float | None

    @property
    def margin(self) -> float:
        return self.chosen - self.rejected

    @property
    def margin_first(self) -> float:
        return self.chosen_first - self.rejected_first

    @property
    def fell(self) -> bool:
        """Both answers have become less likely, and the chosen one lost more than half of what was gained."""
        fall = self.chosen_first - self.chosen
        gain = self.margin - self.margin_first
        return fall > FALLEN and fall > gain / 2 and self.rejected < self.rejected_first


def is_preference(history: History) -> bool:
    """Whether the run's steps tell rewards."""
    return any(one.reward_chosen is not None or one.margin is not None for one in history.steps[:FIRST])


def standing(history: History) -> Standing | None:
    """None before both kinds of answer were seen."""
    chosen, rejected = _ends(history, "reward_chosen"), _ends(history, "reward_rejected")
    right = _told(history.steps[-RECENT:], "accuracy")
    if chosen is None or rejected is None:
        return None
    return Standing(*chosen, *rejected, _mean(right) if right else None)


def _ends(history: History, name: str) -> tuple[float, float] | None:
    """Means over the latest and the first steps that told it: one of KTO may have seen one kind alone."""
    first, recent = _told(history.steps[: 4 * FIRST], name), _told(history.steps[-RECENT:], name)
    return (_mean(recent), _mean(first[:FIRST])) if first and recent else None


def while_training(history: History, slow: str) -> tuple[str, str, Mood]:
    """(line, more, mood) of a run under way; `slow`: what is said of its speed, or nothing."""
    now = standing(history)
    if now is None or history.step < EARLY_STEPS:
        return "Under way: too early to tell what it prefers.", slow, "calm"
    if verdict := memorising(history):
        return (
            verdict,
            "Stop here, and use the checkpoint from before; more or other pairs would help.",
            "warn",
        )
    if now.fell:
        return (
            f"Both rewards fall ({_sign(now.chosen)} and {_sign(now.rejected)}): "
            "the model moves away from both answers.",
            "A lower learning rate or a higher beta holds it.",
            "warn",
        )
    long = history.step >= LONG_ENOUGH and history.step >= 0.2 * (history.steps_total or 0)
    grown = now.margin - now.margin_first
    if now.accuracy is not None and now.accuracy <= TELLS_APART:
        line = f"It does not tell the answers apart yet: {_share(now.accuracy)} of the pairs ranked right."
        more = "The learning rate may be too low, or the pairs too alike." if long else slow
        return line, more, "warn" if long else "calm"
    line = _prefers(now)
    if grown > 0.01:
        line += f" the margin grows ({_sign(now.margin_first)} to {_sign(now.margin)})."
    else:
        line += f" the margin stands at {_sign(now.margin)}."
    return line, slow or _more(history, now), "good" if grown > 0.01 else "calm"


def at_the_end(history: History) -> tuple[str, str, Mood]:
    """(line, more, mood) of a finished run."""
    now = standing(history)
    if now is None:
        return f"Finished: {history.step:,} steps.", "It is saved and can be talked to.", "good"
    margin = f"margin {_sign(now.margin_first)} to {_sign(now.margin)}"
    line = f"Finished: {history.step:,} steps, {margin}."
    if verdict := memorising(history):
        return line, verdict, "warn"
    if now.fell:
        more = (
            "Both rewards fell: it moved away from both answers. Try a lower learning rate or a higher beta."
        )
        return line, more, "warn"
    if now.margin <= now.margin_first:
        more = "It has not learned to tell the answers apart: more pairs or a higher learning rate may help."
        return line, more, "warn"
    return line, _more(history, now), "good"


def _prefers(now: Standing) -> str:
    if now.accuracy is None:
        return "Good answers gain on bad ones;" if now.margin > now.margin_first else "Good and bad alike;"
    return f"Prefers the chosen answer in {_share(now.accuracy)} of pairs;"


def _more(history: History, now: Standing) -> str:
    """What the held-out pairs say, or what has become of the chosen answers."""
    held = [one for one in history.evals if one.margin is not None and one.step > 0]
    if held and held[-1].accuracy is not None:
        return f"Of the held-out pairs in {_share(held[-1].accuracy)}, margin {_sign(_known(held[-1]))}."
    if held:
        return f"Held-out margin {_sign(_known(held[-1]))}."
    way = "likelier" if now.chosen > now.chosen_first else "less likely"
    return f"The chosen answers have become {way} ({_sign(now.chosen)})."


def _known(one: Eval) -> float:
    return one.margin or 0.0


def _told(steps: Sequence[Step], name: str) -> list[float]:
    return [value for one in steps if (value := getattr(one, name)) is not None]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _share(value: float) -> str:
    return f"{value * 100:.0f} %"


def _sign(value: float) -> str:
    return said(value) if abs(value) >= 0.005 else "0"
