"""What a run learns from its rows: answers (sft), or which answer is preferred (dpo, orpo, kto)."""

from __future__ import annotations

from typing import Any, cast

from core.errors import UserError
from core.spec import Method, Objective, RunSpec

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


SEQUENCES: dict[Objective, int] = {"sft": 1, "dpo": 2, "orpo": 2, "kto": 1}
"""Sequences that one row puts through the model: a pair is the chosen and the rejected one."""
LEAST_BATCH: dict[Objective, int] = {"sft": 1, "dpo": 1, "orpo": 1, "kto": 2}
"""KTO sets each answer of a pass beside another's prompt, so it needs two."""


def more_passes(objective: Objective, method: Method, epochs: float) -> float:
    """Forward passes a token beside the one that is learned from.

    DPO asks the model as it was (one), KTO it and the present one about mismatched answers too (three).
    A full run asks the model as it was once and keeps what it said, so that is shared by the epochs.
    """
    if objective == "dpo":
        return 1.0 if method != "full" else 1.0 / max(epochs, 1.0)
    if objective == "kto":
        return 3.0 if method != "full" else 1.0 + 2.0 / max(epochs, 1.0)
    return 0.0


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
    rows = {"dpo": "pairs", "kto": "labels"}.get(ROWS_OF[objective])
    read = {"dpo": "preference", "kto": "kto"}.get(ROWS_OF[objective])
    way = f"data.format: {read} with data.columns where they do hold {rows}" if rows else "give other data"
    why = f"it takes {WHAT[ROWS_OF[objective]]}, these are {WHAT[data]}"
    return what, why, f"set objective: {others}, or {way}"


def settled(spec: RunSpec, data: str) -> Objective:
    """The objective of a run whose data ask for `data`. UserError (code 1) where they cannot serve it."""
    objective = objective_of(spec, {"objective": data})
    if refused := refusal(objective, cast(Objective, data)):
        raise UserError(*refused, code=1)
    if spec.batch is not None and spec.batch < LEAST_BATCH[objective]:
        why = "it sets the answers of one pass beside each other"
        raise UserError(f"{NAMES[objective]} needs a batch of 2 or more", why, "set batch: 2", code=1)
    return objective
