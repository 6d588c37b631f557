"""How far two runs of the same mathematics lie apart, and how far they may, for `benchmarks.same_as_trl`.

What lies between two runs that compute the same in another order is noise: a rounding at the first step moves
all later ones a little. So the bound is a multiple of what was measured between plain runs, and where those
agree to the last digits, a floor below which a difference is none.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from core.errors import UserError

TIMES = 2.0
FLOOR = {"fp32": (1e-5, 1e-4), "bf16": (1e-3, 5e-3)}
"""By precision, what counts as no difference: of a loss in nats, of a gradient's norm as a share of it."""
ALIKE = 0.5
"""Least cosine of two adapters' A after training: near 1 from the same first weights, near 0 from others."""


@dataclass(frozen=True)
class Course:
    """What a run went through, one entry a step."""

    losses: list[float]
    norms: list[float]
    """Of the gradient before it is clipped."""
    tokens: list[int]
    """Seen so far."""
    held_out: float | None
    """Nats a learned token after the last step."""
    about: dict[str, Any]


@dataclass(frozen=True)
class Apart:
    """How far two courses lie apart."""

    first: float
    """Of the first step's loss, nats."""
    mean: float
    """Of the loss, over all steps."""
    largest: float
    """Of the loss, at one step."""
    norm: float
    """Of the gradient's norm, as a share of it; the mean over all steps."""
    held_out: float

    @classmethod
    def of(cls, one: Course, other: Course) -> "Apart":
        losses = [abs(a - b) for a, b in zip(one.losses, other.losses, strict=True)]
        norms = [abs(a - b) / max(a, b, 1e-12) for a, b in zip(one.norms, other.norms, strict=True)]
        held = 0.0 if one.held_out is None or other.held_out is None else abs(one.held_out - other.held_out)
        return cls(losses[0], sum(losses) / len(losses), max(losses), sum(norms) / len(norms), held)

    @classmethod
    def most(cls, many: Sequence["Apart"]) -> "Apart":
        """The largest of each."""
        found = [asdict(one) for one in many]
        return cls(**{name: max(one[name] for one in found) for name in found[0]})


def bound(noise: Apart, precision: str) -> Apart:
    """How far a cell may be from plain TRL.

    A held-out loss is one number, and two may agree by chance: its bound is at least that of the mean loss.
    """
    nats, share = FLOOR[precision]
    mean = max(TIMES * noise.mean, nats)
    return Apart(
        first=max(TIMES * noise.first, nats),
        mean=mean,
        largest=max(TIMES * noise.largest, 5 * nats),
        norm=max(TIMES * noise.norm, share),
        held_out=max(TIMES * noise.held_out, mean),
    )


def outside(apart: Apart, most: Apart) -> list[str]:
    """The names of what is larger than it may be."""
    found, limits = asdict(apart), asdict(most)
    return [name for name in found if not found[name] <= limits[name]]  # also what is not a number


def refuse_other_rows(plain: Course, other: Course, name: str) -> None:
    """UserError unless both saw as many tokens at every step: they are of other rows, or in another order."""
    if plain.tokens != other.tokens:
        step = next(
            (
                at
                for at, pair in enumerate(zip(plain.tokens, other.tokens, strict=False))
                if len(set(pair)) > 1
            ),
            None,
        )
        at = f"at step {step + 1}" if step is not None else f"in the number of steps, {len(other.tokens)}"
        raise UserError(
            f"{name} did not train on the rows of plain TRL",
            f"their tokens differ {at}",
            "nothing was compared; look at how its batches are made",
            code=1,
        )


def alike(one: Path, other: Path) -> float:
    """The least cosine, over all layers, of the A matrices of two adapters in these folders."""
    ours, theirs = (load_file(each / "adapter_model.safetensors") for each in (one, other))
    names = [name for name in theirs if "lora_A" in name]
    if set(ours) != set(theirs) or not names:
        return 0.0
    pairs = [(ours[name].astype(np.float64), theirs[name].astype(np.float64)) for name in names]
    return min(float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b))) for a, b in pairs)
