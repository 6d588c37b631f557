"""What a run's losses show: learning, memorising, standing still, climbing, or no numbers at all.

Each verdict is a pure function of the history. It asks for more than noise before it speaks.
"""

from __future__ import annotations

from bisect import bisect_right

from core.runs.history import History

EARLY_STEPS = 20
"""Until here the mean of the loss says little."""
RISE, CLEAR_RISE = 1.01, 1.02
"""Held-out loss over its best: twice in a row, or once, from which it counts as rising."""
GAP_FALL = 0.95
"""What training loss must have fallen to since then, for the rise to mean memorising."""
STILL = 0.02
"""Relative fall of a loss below which it stands still."""


def lost(history: History) -> str:
    """Says from where on the loss is no number; empty when it is one, or one step alone was lost."""
    missing = 0
    for loss in reversed(history.losses):
        if loss is not None:
            break
        missing += 1
    if missing < 2:
        return ""
    return (
        f"The loss is not a number since step {history.steps[-missing].step:,}: nothing is learned any more."
    )


def nothing_learned(history: History) -> bool:
    return len(history.losses) >= 3 and all(loss is not None and abs(loss) < 1e-6 for loss in history.losses)


def climbing(history: History) -> int | None:
    """The step of the lowest smoothed loss, when the loss has risen far above it since and stayed there."""
    begun = next((i for i, value in enumerate(history.smooth) if value is not None), 0)
    smooth = [value for value in history.smooth[begun + EARLY_STEPS // 2 :] if value is not None]
    if len(smooth) < EARLY_STEPS:
        return None
    lowest = min(smooth)
    since = smooth[smooth.index(lowest) + 1 :]
    risen = max(lowest * 1.25, lowest + 4 * noise(history))
    if len(since) < EARLY_STEPS or min(since[-EARLY_STEPS // 2 :]) <= risen:
        return None
    return history.steps[-len(since) - 1].step


def memorising(history: History) -> str:
    """Held-out loss rises while training loss goes on falling; says since which step, empty otherwise."""
    held = held_out(history)
    if len(held) < 2:
        return ""
    best_step, best = min(held, key=lambda pair: pair[1])
    after = [loss for step, loss in held if step > best_step]
    rising = after and (after[-1] > best * CLEAR_RISE or (len(after) > 1 and min(after[-2:]) > best * RISE))
    then, now = smoothed_at(history, best_step), smoothed_at(history, held[-1][0])
    if not rising or then is None or now is None or now > then * GAP_FALL:
        return ""
    return (
        f"Memorising since step {best_step:,}: held-out loss rises ({said(best)} to {said(after[-1])}) "
        f"while training loss falls ({said(then)} to {said(now)})."
    )


def standing(history: History) -> str:
    """Held-out loss hardly moves any more while training loss goes on falling; empty otherwise."""
    held = held_out(history)
    if len(held) < 3:
        return ""
    since, before = held[-1 - max(len(held) // 3, 2)]
    step, last = held[-1]
    then, now = smoothed_at(history, since), smoothed_at(history, step)
    if then is None or now is None or before <= 0 or then <= 0:
        return ""
    fall, train_fall = 1 - last / before, 1 - now / then
    if abs(fall) >= STILL or train_fall < 1 - GAP_FALL or fall > train_fall / 4:
        return ""
    return (
        f"Held-out loss has stood at {said(last)} since step {since:,} "
        f"while training loss falls ({said(then)} to {said(now)})."
    )


def flat(history: History) -> bool:
    """No fall beyond noise over a hundred steps or more, neither in training nor on held-out rows."""
    losses = [loss for loss in history.losses if loss is not None]
    total = history.steps_total or 0
    if len(losses) < 100 or history.step < total * 0.2:
        return False
    quarter = len(losses) // 4
    first, last = sum(losses[:quarter]) / quarter, sum(losses[-quarter:]) / quarter
    # the standard error of a quarter's mean: below twice that, a difference is chance
    chance = 2 * noise(history) / quarter**0.5
    held = held_out(history)
    held_fell = len(held) > 1 and held[-1][1] < held[0][1] * (1 - STILL / 2)
    return first - last < max(first * STILL, chance) and not held_fell


def held_out(history: History) -> list[tuple[int, float]]:
    return [(one.step, one.loss) for one in history.evals if one.loss is not None]


def smoothed(history: History) -> float | None:
    return history.smooth[-1] if history.smooth else None


def smoothed_at(history: History, step: int) -> float | None:
    at = bisect_right(history.steps, step, key=lambda one: one.step) - 1
    return history.smooth[at] if at >= 0 else None


def first_loss(history: History) -> float | None:
    """The mean of the first few steps: one alone is noise."""
    first = [loss for loss in history.losses[:5] if loss is not None]
    return sum(first) / len(first) if first else None


def noise(history: History) -> float:
    """How far steps scatter about their smoothed line (mean absolute deviation, over the last 200)."""
    pairs = zip(history.losses[-200:], history.smooth[-200:], strict=True)
    apart = [abs(loss - mean) for loss, mean in pairs if loss is not None and mean is not None]
    return sum(apart) / len(apart) if apart else 0.0


def said(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3g}"
