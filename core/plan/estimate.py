"""What a run takes in all its phases, as one of three answers, each with its kind and how far off it may be.

| kind | comes from | takes |
|---|---|---|
| formula | the closed form, `core.plan.memory` | under 50 ms, no torch |
| trace | the model's own modules on fake tensors, `core.plan.trace` | seconds, a process of its own, no GPU |
| measured | real steps on the card, `core.train.measure` | a minute, on the card |

A later one replaces an earlier one; whoever shows an estimate shows its kind and its error.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from core.plan.memory import Bytes

Kind = Literal["formula", "trace", "measured"]


@dataclass(frozen=True)
class Estimate:
    """Bytes on the card at each phase's peak, CUDA's context among them; `step` by part."""

    kind: Kind
    step: Bytes
    load: int
    evaluation: int
    save: int
    merge: int
    """Of the merge of an adapter into the model, which is done after the run; 0 for a full run."""
    ram: int
    """Of the host's memory, that which is page-locked among it."""
    disk: int
    """Checkpoints, the result and a merged model."""
    error: tuple[float, float] | None
    """How far estimates of this kind were from the truth where it was checked, as shares of the truth: most
    under it (0 or less) and most over it. None: such a run was not checked."""
    correction: float | None = None
    """The factor that is in the numbers already, from what was measured before; None: nothing was."""
    of: str = ""
    """What the correction was learned from, in words: card, model, settings, versions."""
    unchecked: str = ""
    """What is said where there is no error to tell."""

    @property
    def peak(self) -> int:
        """The most that the run itself has on the card: a merge comes after it."""
        return max(self.step.total, self.load, self.evaluation, self.save)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "step": self.step.to_dict(), "peak": self.peak}
