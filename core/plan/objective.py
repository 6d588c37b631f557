"""What a run learns from its rows: answers (sft), or which answer is preferred (dpo, orpo, kto)."""

from __future__ import annotations

from typing import Any, cast

from core.spec import Objective, RunSpec

NAMES: dict[Objective, str] = {"sft": "answers", "dpo": "DPO", "orpo": "ORPO", "kto": "KTO"}
ABOUT: dict[Objective, str] = {
    "sft": "learns to give the answers in the rows",
    "dpo": "makes the chosen answers likelier than the rejected ones, measured against the model as it was",
    "orpo": "learns the chosen answers and to prefer them in one go; compares with no earlier model",
    "kto": "makes good answers likelier and bad ones less, from rows with a label each, no pairs needed",
}
TAKES: dict[Objective, tuple[Objective, ...]] = {
    "sft": ("sft",),
    "dpo": ("dpo", "orpo", "sft"),
    "kto": ("kto",),
}
"""Objectives for which rows will do, by what they ask for: answers alone (sft), pairs (dpo), labels (kto)."""
WHAT: dict[Objective, str] = {
    "sft": "rows with one answer each",
    "dpo": "pairs of a chosen and a rejected answer",
    "kto": "answers with a label, good or bad",
}
ROWS_OF: dict[Objective, Objective] = {"sft": "sft", "dpo": "dpo", "orpo": "dpo", "kto": "kto"}


def asked_by(report: dict[str, Any] | None) -> Objective:
    """What the data of a report ask for: sft, dpo (pairs) or kto (labels)."""
    return cast(Objective, (report or {}).get("objective") or "sft")


def objective_of(spec: RunSpec, report: dict[str, Any] | None) -> Objective:
    """The run's objective: the one that was set, or the one that the data ask for."""
    return asked_by(report) if spec.objective == "auto" else spec.objective


def refusal(objective: Objective, data: Objective) -> tuple[str, str, str] | None:
    """(what, why, todo) where rows that ask for `data` cannot serve the objective, None where they can."""
    if objective in TAKES[data]:
        return None
    what = f"objective {objective} cannot learn from these data"
    if objective == "sft":
        return what, f"they are {WHAT[data]}, and the bad answers would be learned too", "set objective: kto"
    others = " or ".join(TAKES[data])
    why = f"it takes {WHAT[ROWS_OF[objective]]}, these are {WHAT[data]}"
    return what, why, f"set objective: {others}, or give other data"
