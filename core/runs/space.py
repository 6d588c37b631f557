"""What a run writes to disk, reckoned before it starts: its result, its checkpoints, and its download."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.machine.doctor import Finding
from core.models.hub import cached_folder
from core.models.shape import looks_like_path
from core.numbers import gib
from core.plan.standing import adapter_parameters

if TYPE_CHECKING:
    from core.models.shape import ModelShape
    from core.spec import RunSpec

OPTIMIZER_BYTES = {"adamw": 8.0, "adamw_8bit": 2.1, "paged_adamw_8bit": 2.1, "adafactor": 0.1}
"""Bytes of optimiser state for each parameter that is trained: two fp32 moments, two of 8 bits with their
scales, or a row and a column of factors."""

TOKEN_BYTES = 75
"""Of tokenizer.json for each entry of the vocabulary: 67 in one of 8,192 entries, 75 in Qwen's 151,936."""
SMALL_FILES = 2**20
"""Configuration, state of the trainer, events and log, in bytes."""
TIGHT = 0.8
"""Share of the free space from which a run is worth a warning: others write there too."""


@dataclass(frozen=True)
class Space:
    """Bytes on disk."""

    result: int
    """The adapter, or the whole model."""
    checkpoint: int
    """One checkpoint: what is trained, the state of the optimiser, and the tokenizer."""
    run: int
    """The run folder at its fullest: one checkpoint more than are kept lies there while the oldest goes."""
    download: int
    """Weights that must be fetched first; 0 where they are here or their size is not known."""


def space(spec: RunSpec, shape: ModelShape) -> Space:
    """Reckons a resolved run, and looks whether the model is here."""
    here = looks_like_path(spec.model) or cached_folder(spec.model, spec.revision) is not None
    return replace(written(spec, shape), download=0 if here else shape.weight_bytes or 0)


def written(spec: RunSpec, shape: ModelShape) -> Space:
    """Reckons what a resolved run writes, and no download; looks at no disk. Adapters are saved in fp32."""
    if spec.method == "full":
        trained = shape.parameters
        weights = trained * (2 if spec.precision == "bf16" else 4)
    else:
        targets = None if spec.lora.targets == "all-linear" else spec.lora.targets
        trained = adapter_parameters(shape, spec.lora.rank, targets)
        weights = trained * 4
    result = weights + shape.vocab * TOKEN_BYTES
    checkpoint = int(result + trained * OPTIMIZER_BYTES.get(spec.optimizer, 8.0)) + SMALL_FILES // 8
    run = result + SMALL_FILES + (spec.save.keep + 1) * checkpoint
    return Space(result, checkpoint, run, 0)


def free_at(path: Path) -> int:
    """Bytes free where `path` is or would be made."""
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    return shutil.disk_usage(there).free


def findings(need: Space, runs: Path, models: Path) -> list[Finding]:
    """What stands against writing it: `runs` is where the run goes, `models` where a download goes."""
    found = []
    for bytes_, place, what in ((need.run, runs, "this run"), (need.download, models, "the model")):
        free = free_at(place)
        if bytes_ <= TIGHT * free:
            continue
        message = f"{what} takes about {gib(bytes_)} in {place}, where {gib(free)} are free"
        code, todo = (
            "disk",
            f"make room there, or choose another disk for {'runs' if place == runs else 'models'}",
        )
        found.append(Finding("stop" if bytes_ > free else "warn", code, message, todo))
    return found
