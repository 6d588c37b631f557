"""The dials of the Method step: what each is, the values its keys go through, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.numbers import gib, number, rate

if TYPE_CHECKING:
    from core.plan.advise import MethodPlan, Plan
    from tui.journey import Journey

DIALS: tuple[tuple[str, str, str, str, str], ...] = (
    ("objective", "objective", "objective", "", "what is learned from preferences: dpo, orpo or kto; or sft"),
    ("beta", "beta", "beta", "0.01 0.05 0.1 0.3 0.5", "how closely it keeps to the model as it was"),
    ("batch", "batch", "batch", "1 2 4 8 16 32 64", "rows in one pass: more is faster and takes more memory"),
    ("accumulate", "accumulate", "accumulate", "1 2 4 8 16", "passes a step: a larger batch, no more memory"),
    (
        "length",
        "length",
        "length",
        "256 512 1024 2048 4096 8192",
        "most tokens of a row: longer ones are cut",
    ),
    (
        "recompute",
        "recompute",
        "recompute",
        "0 0.25 0.5 0.75 1",
        "0 is fastest, 1 takes least memory",
    ),
    ("compile", "compile", "compile", "false true", "half a minute before the first step, then faster ones"),
    ("lora.rank", "rank", "rank", "4 8 16 32 64 128", "room to learn in the adapter: 16 is usual"),
    (
        "lora.alpha",
        "alpha",
        "alpha",
        "8 16 32 64 128 256",
        "strength of the adapter: twice the rank is usual",
    ),
    ("epochs", "epochs", "epochs", "1 2 3 4 5", "times through the data: more learns more, at last by heart"),
    ("steps", "steps", "step", "60 100 200 500 1000 2000", "a fixed number of steps instead of epochs"),
    (
        "learning_rate",
        "rate",
        "learning rate",
        "1e-5 2e-5 5e-5 1e-4 2e-4 3e-4 5e-4 1e-3",
        "size of a step: too large and the loss jumps, too small and little is learned",
    ),
    ("price_per_hour", "price / hour", "price", "", "what this box costs an hour, in your own currency"),
)
"""Key, label, glossary term, values for the up and down keys, and what it costs in a line."""

LEFT = "an empty dial is left to the plan"
LORA_ONLY = ("lora.rank", "lora.alpha")
PREFERENCES_ONLY = ("objective", "beta")
EXCLUDES = {"epochs": "steps", "steps": "epochs"}


def at_rest(plan: Plan | None) -> str:
    """What there is to do where no dial has the focus; a file of prices that is wrong is said first."""
    wrong = next((one for one in plan.findings if one.code == "prices"), None) if plan else None
    if wrong:
        return f"! {wrong.message}"
    on_cpu = plan is not None and (plan.card or {}).get("kind") == "cpu"
    return f"d: dials · m: measure, {'minutes on a CPU' if on_cpu else 'a minute on the card'} · {LEFT}"


def while_asking(plan: Plan | None, trace: bool, download: int) -> str:
    """How what is asked is ended, and how long it may take. `download`: bytes that come first."""
    on_cpu = plan is not None and (plan.card or {}).get("kind") == "cpu"
    long = "some seconds" if trace else "minutes on a CPU" if on_cpu else "a minute or so"
    if download and not trace:
        long = f"{gib(download)} to download, then {long}"
    return f"{'t' if trace else 'm'} or esc ends it · {long} · dials can be turned meanwhile"


def left_alone(plan: Plan, chosen: MethodPlan, journey: Journey) -> dict[str, str]:
    """What stands in each dial that nobody turned, by its key."""
    price = (plan.card or {}).get("price")
    return {
        "objective": plan.objective,
        "beta": "0.1",
        "batch": number(chosen.batch),
        "accumulate": number(chosen.accumulate),
        "length": number(chosen.length),
        "recompute": f"{chosen.recompute:g}",
        "compile": str(chosen.compiled).lower(),
        "lora.rank": "16",
        "lora.alpha": number(2 * int(journey.get("lora.rank") or 16)),
        "epochs": "–" if journey.get("steps") is not None else number(chosen.epochs),
        "steps": number(chosen.steps),
        "learning_rate": rate(chosen.learning_rate),
        "price_per_hour": number(price) if price is not None else "–",
    }
