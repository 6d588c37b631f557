"""What is looked at before anything heavy starts: what can be refused early is refused early."""

import importlib.util
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from core.data.sources.packed import cache
from core.errors import UserError
from core.runs.folder import RunFolder
from core.spec import RunSpec
from core.train import checkpoints

LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "datasets")


def library_versions() -> dict[str, str]:
    """Versions of what trains, read without importing any of it."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def calm_libraries(run: RunFolder) -> None:
    """Set before they are imported: no telemetry, and figures for other tools lie in the run folder."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(run.path / "tensorboard"))
    os.environ.setdefault("WANDB_DIR", str(run.path))
    os.environ.setdefault("WANDB_PROJECT", "finetui")


def keep_compiled() -> None:
    """Layers that are compiled are kept from run to run. Set before torch is imported."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache("compiled")))


def refuse_unresolved(spec: RunSpec) -> None:
    """The plan decides; a worker that chose for itself would train something else than was shown."""
    open_keys = [
        key for key in ("length", "batch", "accumulate", "learning_rate") if getattr(spec, key) is None
    ]
    open_keys += [key for key in ("method", "optimizer", "recompute") if getattr(spec, key) == "auto"]
    if spec.epochs is None and spec.steps is None:
        open_keys.append("epochs")
    if open_keys:
        raise UserError(
            "run.yaml leaves something open",
            f"{', '.join(open_keys)} must be decided before a run starts",
            "start it with: finetui train SPEC",
        )


def refuse_missing_packages(spec: RunSpec) -> None:
    missing = [name for name in spec.report if importlib.util.find_spec(name) is None]
    if missing:
        names = " ".join(missing)
        raise UserError(
            f"report names {' and '.join(missing)}, which is not installed",
            "the run could not send its figures there",
            f"pip install {names}, or take it out of report",
        )


def refuse_packed_preferences(objective: str) -> None:
    if objective != "sft":
        raise UserError(
            f"rows cannot be packed for {objective}",
            "it compares whole answers",
            "start the run anew with packing: false",
            code=1,
        )


def refuse_nothing_learned(rows: Any) -> None:
    """UserError when no row has a token that would be learned; the first of a row cannot be."""
    if not any(1 in row["learned"][1:] for row in rows):
        raise UserError(
            "nothing would be learned",
            f"none of the {len(rows)} rows has a learned token",
            "look at the template and at what is learned with: finetui data",
            code=1,
        )


def refuse_small_disk(run: RunFolder, spec: RunSpec, model: Any, resumed: bool) -> None:
    """All checkpoints that are kept, the one being written, and the result; a short run makes fewer, but at
    least the one that a stop or a save asks for."""
    each, most = checkpoint_bytes(spec, model), spec.save.keep + 1
    if spec.steps and spec.save.every:
        most = min(most, max(1, (spec.steps - 1) // spec.save.every))
    there = checkpoints.folder_bytes(run.checkpoints) if resumed else 0
    needed = max(0, each * most - there) + each // 3
    checkpoints.refuse_small_disk(run, needed, "this run's checkpoints")


def checkpoint_bytes(spec: RunSpec, model: Any) -> int:
    """Trained weights and the optimiser's state of them."""
    weights = sum(one.numel() * one.element_size() for one in model.parameters() if one.requires_grad)
    numbers = sum(one.numel() for one in model.parameters() if one.requires_grad)
    moments = {"adamw": 2 * weights, "adafactor": weights // 10}.get(spec.optimizer, 2 * numbers)
    return int(weights + moments)
