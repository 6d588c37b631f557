"""What a run writes to disk, reckoned before it starts: its result, its checkpoints, and its download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.models.hub import cached_folder
from core.models.shape import looks_like_path
from core.plan.memory import adapter_parameters

if TYPE_CHECKING:
    from core.models.shape import ModelShape
    from core.spec import RunSpec

OPTIMIZER_BYTES = {"adamw": 8.0, "adamw_8bit": 2.1, "paged_adamw_8bit": 2.1, "adafactor": 0.1}
"""Bytes of optimiser state for each parameter that is trained: two fp32 moments, two of 8 bits with their
scales, or a row and a column of factors."""

SMALL_FILES = 20 * 2**20
"""Tokenizer, configuration, events and log of a run, in bytes; a large vocabulary takes most of it."""


@dataclass(frozen=True)
class Space:
    """Bytes on disk."""

    result: int
    """The adapter, or the whole model."""
    checkpoint: int
    """One checkpoint: what is trained, and the state of the optimiser."""
    run: int
    """The run folder at its fullest: one checkpoint more than are kept lies there while the oldest goes."""
    download: int
    """Weights that must be fetched first; 0 where they are here or their size is not known."""


def space(spec: RunSpec, shape: ModelShape) -> Space:
    """Reckons a resolved run. Adapters are saved in fp32."""
    if spec.method == "full":
        trained = shape.parameters
        result = trained * (4 if spec.precision == "fp32" else 2)
    else:
        targets = None if spec.lora.targets == "all-linear" else spec.lora.targets
        trained = adapter_parameters(shape, spec.lora.rank, targets)
        result = trained * 4
    checkpoint = int(result + trained * OPTIMIZER_BYTES.get(spec.optimizer, 8.0)) + SMALL_FILES // 2
    run = result + SMALL_FILES + (spec.save.keep + 1) * checkpoint
    here = looks_like_path(spec.model) or cached_folder(spec.model, spec.revision) is not None
    return Space(result, checkpoint, run, 0 if here else shape.weight_bytes or 0)
