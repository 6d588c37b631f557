"""What is taken where the user leaves it open: length, effective batch, epochs, learning rate, and why."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from core.data.lengths import fitted
from core.models.shape import ModelShape
from core.plan.cards import Card
from core.plan.objective import LEAST_BATCH
from core.spec import Method, Objective, RunSpec

SHORT = 2048
"""Rows up to here are kept whole without asking what that costs."""
BATCH = {"gpu": 16, "cpu": 8}
"""Rows that one step learns from."""
RATES = (
    # up to this many parameters: full, LoRA
    (5e6, 1e-3, 5e-3),
    (1e8, 5e-4, 1e-3),
    (1e9, 5e-5, 3e-4),
    (4e9, 2e-5, 2e-4),
    (float("inf"), 1e-5, 2e-4),
)
PREFERENCE_RATES: dict[Objective, tuple[tuple[float, float, float], ...]] = {
    # full, LoRA; published recipes for 7 B: DPO 5e-7 and 5e-6, KTO 5e-7 to 1e-6, ORPO 5e-6 to 8e-6
    "dpo": (
        (5e6, 5e-5, 5e-4),
        (1e8, 1e-5, 1e-4),
        (1e9, 1e-6, 5e-5),
        (4e9, 1e-6, 2e-5),
        (float("inf"), 5e-7, 5e-6),
    ),
    "orpo": (
        (5e6, 5e-4, 2e-3),
        (1e8, 1e-4, 5e-4),
        (1e9, 1e-5, 5e-5),
        (4e9, 8e-6, 5e-5),
        (float("inf"), 8e-6, 3e-5),
    ),
    "kto": (
        (5e6, 1e-5, 1e-4),
        (1e8, 5e-6, 5e-5),
        (1e9, 1e-6, 2e-5),
        (4e9, 1e-6, 1e-5),
        (float("inf"), 5e-7, 5e-6),
    ),
}
"""As RATES. A preference is learned in far smaller steps than answers: there is always a way to make the
rejected answer less likely still, and a large step takes it by spoiling both."""
PREFERENCE_EPOCHS = 1.0
"""A pair that is ranked right is not learned again but moved further apart; a second time through mostly
drives both answers away from what the model would say."""
TINY = 5e6
"""Parameters below which a model remembers a row only after many looks; the demo's wants eight or more."""
FILLED = 0.97
"""Of a pack: rows do not quite fill it."""
STEPS_AN_EPOCH = 20
"""Few rows get a smaller step, so that there are at least about this many in an epoch."""


def length(spec: RunSpec, shape: ModelShape, card: Card, report: dict[str, Any] | None) -> int:
    """Tokens of the longest row that is kept whole; capped by what the model was made for.

    From the data: the longest row, or where that is long the 99th percentile. Without data 2,048,
    on a CPU 1,024.
    """
    if spec.length is not None:
        return spec.length
    lengths = (report or {}).get("lengths")
    if lengths:
        most = int(lengths["max"])
        wanted = most if most <= SHORT else max(SHORT, int(lengths["p99"]))
        wanted = max(64, -(-wanted // 64) * 64)
        if spec.packing:  # what several rows share should have room for several
            wanted = max(wanted, SHORT if card.kind == "gpu" else SHORT // 4)
    else:
        wanted = SHORT if card.kind == "gpu" else SHORT // 2
    return min(wanted, shape.context) if shape.context else wanted


def by_data(spec: RunSpec, report: dict[str, Any] | None) -> dict[str, Any]:
    """What reading the data has decided: the template where the model brings none, and the format."""
    found: dict[str, Any] = {}
    template = (report or {}).get("template")
    if spec.template == "auto" and template and template.get("origin") == "named":
        found["template"] = template["name"]
    if report and spec.data.format == "auto":
        found["data"] = spec.data.model_copy(update={"format": report.get("format") or "auto"})
    return found


def rows(report: dict[str, Any] | None) -> int | None:
    """Rows to train on, None where the data were not read."""
    if not report:
        return None
    return int(report.get("train_rows") or 0) or None


def lines(spec: RunSpec, report: dict[str, Any] | None, length: int) -> tuple[int | None, float | None]:
    """What an epoch trains on at this length: rows, or pieces of them, or packs; None where nothing is known.

    And of packs how many tokens each holds; None: rows are not packed.
    """
    trained = rows(report)
    if not report or trained is None or not (report.get("lengths") or {}).get("table"):
        return trained, length * FILLED if spec.packing else None
    before, _ = fitted(
        report, report.get("length") or int(report["lengths"]["max"]), report.get("long", "cut")
    )
    count, tokens = fitted(report, length, spec.data.long)
    share = trained / max(1, before)  # what is not held out, as often as an epoch sees it
    if not spec.packing:
        return max(1, round(count * share)), None
    packs = max(1, math.ceil(tokens * share / (length * FILLED)))
    return packs, tokens * share / packs


def effective_batch(spec: RunSpec, card: Card, count: int | None, objective: Objective = "sft") -> int:
    """Rows of one step: a power of two."""
    if spec.batch is not None and spec.accumulate is not None:
        return spec.batch * spec.accumulate
    wanted = BATCH[card.kind]
    while count is not None and wanted > 1 and count / wanted < STEPS_AN_EPOCH:
        wanted //= 2
    return max(wanted, spec.batch or 1, LEAST_BATCH[objective])


def epochs(spec: RunSpec, shape: ModelShape, count: int | None, objective: Objective = "sft") -> float:
    """Times through the data: few rows want more, facts want more than a manner, a tiny model most."""
    if spec.epochs is not None:
        return spec.epochs
    if objective != "sft":
        return PREFERENCE_EPOCHS
    few = count is None or count <= 2_000
    if shape.parameters < TINY and few and spec.aim != "try":
        return 8.0
    if spec.aim == "knowledge":
        return 4.0 if few else 3.0
    if spec.aim == "try":
        return 1.0
    if few:
        return 3.0
    return 2.0 if count is not None and count <= 20_000 else 1.0


def learning_rate(spec: RunSpec, shape: ModelShape, method: Method, objective: Objective = "sft") -> float:
    """Small models want, and bear, larger steps; adapters about ten times those of full tuning."""
    if spec.learning_rate is not None:
        return spec.learning_rate
    rates = PREFERENCE_RATES.get(objective, RATES)
    full, adapters = next((full, lora) for most, full, lora in rates if shape.parameters < most)
    return full if method == "full" else adapters


def useful_share(
    batch: int, limit: int, report: dict[str, Any] | None, packed: float | None = None
) -> tuple[float, float]:
    """Mean tokens a row, and the share of a padded pass that is not padding. `packed`: tokens of a pack.

    Rows of a pass are as long as the longest of them; of n rows that is about the quantile n / (n + 1).
    """
    if packed is not None:
        return packed, min(1.0, packed / limit)
    lengths = (report or {}).get("lengths")
    if not lengths:
        return limit * 0.6, 0.7
    known = [(0.0, lengths["min"]), (0.5, lengths["p50"]), (0.9, lengths["p90"]), (0.95, lengths["p95"])]
    known += [(0.99, lengths["p99"]), (1.0, lengths["max"])]
    wanted = batch / (batch + 1)
    longest = float(lengths["max"])
    for (low, a), (high, b) in pairwise(known):
        if low <= wanted <= high:
            longest = a + (b - a) * (wanted - low) / (high - low)
            break
    mean = min(float(lengths["mean"]), float(limit))
    return mean, min(1.0, mean / max(1.0, min(longest, float(limit)))) if batch > 1 else 1.0
