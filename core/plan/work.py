"""What there is to do in a run, and what a setting of it takes, in bytes and in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from core.models.shape import ModelShape
from core.plan import compiling, defaults, measured, memory, speed, standing
from core.plan.cards import Card
from core.plan.corrected import Better, Lessons, Pace, lessons_on
from core.plan.fullest import Spread, coarse, spread_of
from core.plan.measured import Job
from core.plan.memory import Bytes
from core.plan.objective import SEQUENCES, objective_of
from core.plan.scores import writes_scores
from core.spec import Method, Objective, RunSpec

STARTING = 15.0
"""Seconds in which a worker reads its libraries and the rows."""
LOAD_RATE = 2e9
"""Bytes a second of weights from a disk to the card. Measured 3.4 to 5 on a fast box; assumed for others."""


OWN = ("optimizer", "batch", "recompute", "host", "compiled", "recorded")
"""Of a job's settings those that a setting chooses."""


@dataclass(frozen=True)
class Setting:
    """What is chosen."""

    optimizer: str
    batch: int
    recompute: float
    host: bool = False
    compiled: bool = False
    recorded: bool = False
    """Passes over the layers are started as a whole; the worker does so where it finds it quicker."""


@dataclass(frozen=True)
class Work:
    """What there is to do: all that the settings of one method share."""

    spec: RunSpec
    shape: ModelShape
    card: Card
    report: dict[str, Any] | None
    method: Method
    objective: Objective
    length: int
    together: int
    """Rows of one step."""
    lines: int | None
    """Rows, pieces or packs of an epoch; None: not known."""
    packed: float | None
    """Tokens of a pack; None: rows are not packed."""
    epochs: float
    most: int | None = None
    """Rows at a time, at most; None: a step's."""

    @property
    def precision(self) -> str:
        return self.card.precision if self.spec.precision == "auto" else self.spec.precision

    @cached_property
    def lessons(self) -> Lessons | None:
        """What was measured on the card before; None: nothing, or it is not here."""
        return lessons_on(self.card.name) if self.card.here else None

    @cached_property
    def job(self) -> Job:
        """What the jobs of all settings share; the setting's own keys are its spec's."""
        known = {"method": self.method, "length": self.length, "precision": self.precision}
        spec = self.spec.model_copy(update={**known, **defaults.by_data(self.spec, self.report)})
        on_gpu = self.card.kind == "gpu"
        return measured.job_of(
            spec,
            self.shape,
            card=self.card.name,
            on_gpu=on_gpu,
            objective=self.objective,
            compiled=False,
            recorded=False,
            host=False,
        )

    @cached_property
    def end_to_end(self) -> bool:
        """Whether the rows of a pass lie on one line, so that nothing is padding and no mask is made."""
        return (
            self.card.kind == "gpu"
            and self.card.bf16
            and self.precision != "fp32"
            and self.objective == "sft"
        )

    @cached_property
    def on_a_line(self) -> bool:
        """As `end_to_end`, and the model's attention sees each row by itself: what a row costs is its own."""
        return self.end_to_end and shares_a_line(self.shape)

    @cached_property
    def padded_by_pass(self) -> bool:
        """Rows are padded to the longest of their pass, not of the run (`core.train.batches.layout_of`)."""
        special = self.shape.balanced or self.shape.scaled_logits
        return self.card.kind != "gpu" or self.objective != "sft" or special

    @cached_property
    def widths_differ(self) -> bool:
        """Passes have so many widths that few of them would be as a recorded one."""
        if self.on_a_line or not (self.padded_by_pass or self.spec.packing):
            return False
        return bool(self.spec.packing) or self.rows is None or not self.rows.even

    @cached_property
    def rows(self) -> Spread | None:
        """How long the rows are, as they fit; None: not known."""
        return spread_of(self.report, self.length, self.spec.data.long)

    @cached_property
    def spread(self) -> Spread | None:
        """How long the rows are that share a line; None: each pass is as full as can be."""
        return self.rows if self.on_a_line and not self.spec.packing else None

    def tokens(self, batch: int, *, recorded: bool = False, common: float = 0.0) -> int:
        """Of the fullest pass, with all that its width is filled up with. `recorded`: widths are few.
        `common`: instead what that share of such runs has more than."""
        if self.spread is None:
            return batch * SEQUENCES[self.objective] * self.length
        found = self.spread.fullest(batch, self.passes(batch), common)
        if recorded and not self.spread.even:
            return -(-found // coarse(found)) * coarse(found)
        return found

    def held_out_tokens(self, batch: int) -> int:
        """Of the fullest pass over held-out rows, which come in their own order."""
        if self.spread is None:
            return self.tokens(batch)
        return self.spread.of_orders(batch, self.passes(batch))

    def passes(self, batch: int) -> int:
        """Of the whole run."""
        return (steps_of(self, batch) or 1) * self.accumulate(batch)

    def accumulate(self, batch: int) -> int:
        return self.spec.accumulate or max(1, round(self.together / batch))


def work_of(
    spec: RunSpec, shape: ModelShape, card: Card, report: dict[str, Any] | None, method: Method
) -> Work:
    length, objective = defaults.length(spec, shape, card, report), objective_of(spec, report)
    count, packed = defaults.lines(spec, report, length)
    together = defaults.effective_batch(spec, card, count, objective)
    epochs = defaults.epochs(spec, shape, defaults.rows(report), objective)
    return Work(spec, shape, card, report, method, objective, length, together, count, packed, epochs)


def bytes_of(work: Work, setting: Setting) -> Bytes:
    """What a step takes, by the closed form and by what was measured here before."""
    return better_of(work, setting).step


def better_of(work: Work, setting: Setting) -> Better:
    """As `bytes_of`, with what was learned from."""
    plain = of_tokens(work, setting, work.tokens(setting.batch, recorded=setting.recorded))
    if work.lessons is None:
        return Better(plain)
    return work.lessons.step(job_of(work, setting), plain)


WIDEST_HEAD = 256
"""Of the kernels for rows end to end."""


def shares_a_line(shape: ModelShape) -> bool:
    """Whether rows of a model lie end to end (`core.train.engine.attention.takes_lines`), as far as a family
    that we know says so."""
    plain = not (shape.balanced or shape.in_order or shape.scaled_logits)
    plain = plain and writes_scores(shape.architecture) is None
    return plain and not shape.estimated and shape.head_dim <= WIDEST_HEAD and shape.head_dim % 8 == 0


def job_of(work: Work, setting: Setting) -> Job:
    """The job that the work is with a setting, as it is known when it is measured."""
    own = {key: getattr(setting, key) for key in OWN}
    own["accumulate"] = min(work.accumulate(setting.batch), 2)
    return replace(work.job, settings={**work.job.settings, **own})


COMMON = 0.95
"""Of runs have a pass as full as the one by which it is said how far over an estimate may be."""


def looseness(work: Work, setting: Setting) -> float:
    """How far over a run's own peak an estimate may be for not knowing its fullest pass, as a share."""
    if work.spread is None or work.spread.even:
        return 0.0
    most, least = (
        of_tokens(work, setting, work.tokens(setting.batch, recorded=setting.recorded, common=common)).total
        for common in (0.0, COMMON)
    )
    return most / least - 1


def paged_moments(work: Work, setting: Setting) -> int:
    """Bytes of moments that lie in the host's memory when the card is full."""
    return standing.paged(work.shape, work.spec, work.method, setting.optimizer, work.precision)


PAGED_ADAM = Setting("paged_adamw_8bit", 1, 1.0)
"""Any setting with such moments: what they take hangs on nothing else of it."""


def may_page(work: Work) -> bool:
    """Whether moments may lie in the host's memory: it has room for them, or is not known."""
    return not work.card.ram or memory.host_holds(paged_moments(work, PAGED_ADAM), work.card.ram)


def of_tokens(work: Work, setting: Setting, tokens: int) -> Bytes:
    """The closed form of a step whose fullest pass has so many tokens, whatever was measured."""
    spec = work.spec
    held = memory.estimate(
        work.shape,
        work.method,
        batch=setting.batch,
        length=work.length,
        rank=spec.lora.rank,
        optimizer=setting.optimizer,
        recompute=setting.recompute,
        compiled=setting.compiled,
        host=setting.host,
        precision=work.precision,
        on_gpu=work.card.kind == "gpu",
        targets=None if spec.lora.targets == "all-linear" else list(spec.lora.targets),
        accumulate=work.accumulate(setting.batch),
        padded=not work.end_to_end and (setting.batch > 1 or spec.packing),
        dora=spec.lora.dora,
        dropout=spec.lora.dropout > 0,
        objective=work.objective,
        recorded=setting.recorded,
        capability=work.card.capability,
        tokens=tokens,
    )
    return replace(held, optimizer=0) if setting.optimizer.startswith("paged") else held


@dataclass(frozen=True)
class Speed:
    """How fast a run will be; None: not known."""

    tokens_per_second: float | None
    seconds: float | None
    """Of the whole run, with what compiling takes."""
    pace: Pace | None = None
    """What bettered the form; None: nothing was known."""


def speed_of(work: Work, setting: Setting) -> Speed:
    """By the form, and by how fast such jobs were here before. Then a card's rates need not be known."""
    pace = work.lessons.pace(job_of(work, setting)) if work.lessons else None
    factor = pace.factor if pace else 1.0
    rate = expected_of(work, setting) if pace else rate_of(work, setting)
    training = training_of(work, setting, typical=pace is not None)
    seconds = None
    if training is not None:
        seconds = training / factor + (compiling.SECONDS if setting.compiled else 0.0)
    return Speed(rate * factor if rate else None, seconds, pace)


def expected_of(work: Work, setting: Setting) -> float | None:
    """As `rate_of`, with the rates of a middling card where the card's own are not known."""
    return rate_of(_on_a_known_card(work), setting)


def _on_a_known_card(work: Work) -> Work:
    card = compiling.rated(work.card)
    return work if card is work.card else replace(work, card=card)


def rate_of(work: Work, setting: Setting) -> float | None:
    """Useful tokens a second by the form; None where the card's rate is not known."""
    sequences = setting.batch * SEQUENCES[work.objective]
    mean, useful = _useful(work, sequences)
    return speed.tokens_per_second(
        work.shape,
        work.method,
        work.card,
        tokens=max(1, int(sequences * mean / useful)),
        recompute=setting.recompute,
        compiled=setting.compiled,
        host=setting.host,
        row=work.rows.seen if work.on_a_line and work.rows else mean / useful,
        useful=useful,
        optimizer=setting.optimizer,
        accumulate=work.accumulate(setting.batch),
        objective=work.objective,
        epochs=work.epochs,
        recorded=setting.recorded,
    )


def steps_of(work: Work, batch: int) -> int | None:
    """Steps of the whole run, None where the rows are not known."""
    if work.spec.steps:
        return work.spec.steps
    if not work.lines:
        return None
    return max(1, round(math.ceil(work.lines / (batch * work.accumulate(batch))) * work.epochs))


def first_step_of(work: Work, setting: Setting) -> float:
    """Seconds from the start to the first step, without a download."""
    stored = work.shape.parameters * 2
    return STARTING + stored / LOAD_RATE + (compiling.SECONDS if setting.compiled else 0.0)


def training_of(work: Work, setting: Setting, *, typical: bool = True) -> float | None:
    """Seconds of the steps by the form; None where steps or the card's rate are not known. `typical`: a card
    that is not known is taken for a middling one."""
    if typical:
        work = _on_a_known_card(work)
    steps, rate = steps_of(work, setting.batch), rate_of(work, setting)
    if steps is None or rate is None:
        return None
    mean, _ = _useful(work, setting.batch)
    rows = steps * setting.batch * work.accumulate(setting.batch) * SEQUENCES[work.objective]
    return rows * mean / rate


def _useful(work: Work, sequences: int) -> tuple[float, float]:
    """Mean tokens of a row, and the share of a pass that is not padding."""
    rows = work.rows
    if rows is None or work.packed is not None:
        mean, useful = defaults.useful_share(sequences, work.length, work.report, work.packed)
        return mean, 1.0 if work.on_a_line else useful
    if work.on_a_line:
        return rows.mean, 1.0
    widest = rows.longest_of(sequences) if work.padded_by_pass else rows.longest
    return rows.mean, min(1.0, rows.mean / widest)
