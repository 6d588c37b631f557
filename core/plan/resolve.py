"""Fills in what a spec leaves open, from the plan and the data; what the user set is never changed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.models.shape import ModelShape
from core.plan.advise import Plan
from core.plan.defaults import by_data
from core.spec import RunSpec

LOOKS = 10
"""Times in a run that the held-out rows are looked at, and a checkpoint is written half as often."""


def resolve(spec: RunSpec, plan: Plan, shape: ModelShape, report: dict[str, Any] | None) -> RunSpec:
    """The spec with nothing left to be decided, but for `template: auto` where the model brings its own.

    UserError (code 1): the model's folder holds no weights, which is enough for a plan but not for a run.
    """
    if not shape.has_weights:
        raise UserError(
            f"{shape.name} has no weights",
            "the folder holds a config.json alone",
            "give a folder with *.safetensors, or a Hub id",
            code=1,
        )
    return filled_in(spec, plan, report)


def filled_in(spec: RunSpec, plan: Plan, report: dict[str, Any] | None) -> RunSpec:
    """As `resolve`, also for a model of which only the shape is here."""
    method = spec.method if spec.method != "auto" else plan.recommended or "qlora"
    chosen = plan.of(method)
    steps = chosen.steps or 1000
    look = max(1, round(steps / LOOKS))
    precision = str((plan.card or {}).get("precision") or "fp32")
    filled: dict[str, Any] = {
        "method": method,
        "objective": plan.objective,
        "length": chosen.length,
        "batch": chosen.batch,
        "accumulate": chosen.accumulate,
        "learning_rate": chosen.learning_rate,
        "optimizer": chosen.optimizer,
        "recompute": chosen.recompute,
        "compile": chosen.compiled,
        "precision": precision if spec.precision == "auto" else spec.precision,
        "lora": spec.lora.model_copy(update={"alpha": spec.alpha}),
        "save": spec.save.model_copy(update={"every": spec.save.every or 2 * look}),
        "evaluate": spec.evaluate.model_copy(update={"every": spec.evaluate.every or look}),
        "name": spec.name or name_of(spec),
    }
    if spec.epochs is None and spec.steps is None:
        filled["epochs"] = chosen.epochs
    filled |= by_data(spec, report)
    return RunSpec.model_validate({**spec.model_dump(), **_plain(filled)})


def name_of(spec: RunSpec) -> str:
    """model-data, in letters that a folder may have."""
    source = Path(spec.data.source.split("[")[0].rstrip("/"))
    data = (
        source.stem if source.stem not in ("train", "data", "dataset") else source.parent.name or source.stem
    )
    parts = [Path(spec.model.rstrip("/")).name, data]
    plain = "-".join(re.sub(r"[^A-Za-z0-9._]+", "-", part).strip("-._") for part in parts if part)
    return plain.strip("-.")[:60].lower() or "run"


def _plain(filled: dict[str, Any]) -> dict[str, Any]:
    return {key: one.model_dump() if hasattr(one, "model_dump") else one for key, one in filled.items()}
