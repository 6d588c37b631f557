"""What `benchmarks.memory_caps` runs: shapes and cards, data as people have them, and the plan for each.

The plan is the real one (`core.plan.advise`) with everything on auto. Of each cell two things are run: what
it recommends, and the next larger method where that is said not to fit, with the smallest setting that the
search can give it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory_grid_cells import GRID
from core.data.lengths import describe
from core.machine import Machine
from core.models.shape import ModelShape, read_folder
from core.plan.advise import advise
from core.plan.cards import Card, card_of_size, room
from core.plan.choose import choose
from core.plan.estimate import Estimate
from core.plan.phases import formula
from core.plan.resolve import filled_in
from core.plan.search import smallest
from core.plan.work import Setting, Work, expected_of, of_tokens, shares_a_line, work_of
from core.spec import Method, RunSpec, parse_spec

GIB = 2**30
CARDS = (8.0, 12.0, 16.0, 24.0, 40.0, 48.0, 80.0)
"""GiB."""
SEED = 7
HELD_OUT = 0.05
TRIED = 1.25
"""Times the card up to which a method that is said to be too big is tried: the form is not that far off."""
LARGER: dict[Method | None, Method | None] = {None: "qlora", "qlora": "lora", "lora": "full", "full": None}
NO_LIMIT = 2**60
WORTH = 1.02
"""Times as fast a run must be with more memory for memory to be what decides."""


@dataclass(frozen=True)
class Mix:
    """Lengths of rows in tokens, drawn by a seed."""

    name: str
    rows: int
    mean: float
    spread: float
    """Of the logarithm; 0: all rows are equally long."""
    most: int
    learned: float
    """Share of a row, at its end."""

    def lengths(self, held_out: bool = False) -> Any:
        """(rows,) int64, in the order of the file; those held out are others."""
        rows = round(self.rows * (HELD_OUT if held_out else 1 - HELD_OUT))
        chance = np.random.default_rng([SEED, len(self.name), int(held_out)])
        drawn = self.mean * np.exp(chance.normal(-(self.spread**2) / 2, self.spread, rows))
        return np.clip(np.rint(drawn), 16, self.most).astype(np.int64)

    def report(self) -> dict[str, Any]:
        """What reading such data would say, as far as a plan looks."""
        both = [*self.lengths().tolist(), *self.lengths(True).tolist()]
        return {
            "mix": self.name,
            "rows": self.rows,
            "train_rows": len(self.lengths()),
            "format": "messages",
            "lengths": describe(both),
            "tokens": sum(both),
            "learned_tokens": int(sum(both) * self.learned),
            "template": {"name": "chatml", "origin": "named"},
        }


MIXES = (
    Mix("answers", 20_000, 180, 0.55, 2048, 0.5),
    Mix("chats", 8_000, 740, 0.9, 4096, 0.6),
    Mix("texts", 4_000, 2048, 0.0, 2048, 1.0),
)
"""Short answers such as Alpaca's, chats with a long tail, and pieces of text."""


@dataclass(frozen=True)
class Cell:
    """A model on a card."""

    shape: str
    gib: float
    mix: str

    def __str__(self) -> str:
        return f"{self.shape}:{self.gib:g}:{self.mix}"

    @property
    def ram(self) -> int:
        """Bytes that such a card's box has available."""
        return int(max(32, min(96, 2 * self.gib)) * GIB)

    @property
    def card(self) -> Card:
        return card_of_size(self.gib, ram=self.ram)

    @property
    def data(self) -> Mix:
        return mix_of(self.mix)


def mix_of(name: str) -> Mix:
    return next(one for one in MIXES if one.name == name)


def cells(
    shapes: tuple[str, ...] = GRID, cards: tuple[float, ...] = CARDS, turns: tuple[int, ...] = (0,)
) -> list[Cell]:
    """All shapes on all cards, each with the data whose turn it is; with as many turns as MIXES, with all."""

    def mix(shape: str, gib: float, turn: int) -> str:
        places = [all_of.index(one) for one, all_of in ((shape, GRID), (gib, CARDS)) if one in all_of]
        return MIXES[(sum(places) + turn) % len(MIXES)].name

    return [Cell(shape, gib, mix(shape, gib, turn)) for turn in turns for shape in shapes for gib in cards]


@dataclass(frozen=True)
class Try:
    """One method with one setting, to be run under the cap of a cell's card."""

    cell: Cell
    role: str
    """recommended, or next: the next larger method, which the plan calls too big."""
    method: Method
    setting: Setting
    spec: RunSpec
    planned: Estimate
    tokens: int
    """Of the fullest pass, as planned."""
    full: float
    """Of the card what the closed form says of the run's own fullest pass, which its rows and seed decide."""
    limit: bool
    """Memory decides on the setting: with more of it the run would be faster, by the form of speed."""

    def __str__(self) -> str:
        return f"{self.cell}:{self.role}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "cell": str(self),
            **asdict(self.cell),
            "role": self.role,
            "method": self.method,
            "setting": asdict(self.setting),
            "accumulate": self.spec.accumulate,
            "length": self.spec.length,
            "room": room(self.cell.card),
            "planned": self.planned.to_dict(),
            "planned_tokens": self.tokens,
            "expected": self.full,
            "limit": self.limit,
        }


def tries(cell: Cell, folder: Path, machine: Machine) -> tuple[list[Try], list[dict[str, Any]]]:
    """What is run for a cell, and rows of what need not be: nothing fits, or nothing larger is left."""
    shape = read_folder(folder, str(folder))
    spec, report = parse_spec({"model": str(folder), "data": {"source": "made here"}}), cell.data.report()
    plan = advise(spec, machine, shape, report, card=cell.card, ways=False)
    run: list[Try] = []
    told: list[dict[str, Any]] = []
    have = room(cell.card)

    def planned(role: str, method: Method, setting: Setting, estimate: Estimate, limit: bool) -> Try:
        filled = filled_in(spec.model_copy(update={"method": method}), plan, report)
        work = work_of(spec, shape, cell.card, report, method)
        own = {"batch": setting.batch, "accumulate": work.accumulate(setting.batch)}
        own |= {"optimizer": setting.optimizer, "recompute": setting.recompute}
        full = filled.model_copy(update=own)
        reckoned = work.tokens(setting.batch, recorded=setting.recorded)
        step = of_tokens(work, setting, own_fullest(full, work, setting)).total
        share = step / cell.card.memory_total
        return Try(cell, role, method, setting, full, estimate, reckoned, share, limit)

    if plan.recommended:
        work = work_of(spec, shape, cell.card, report, plan.recommended)
        found, estimate = choose(work, have)
        free, _ = choose(work, NO_LIMIT)
        limit = (expected_of(work, free.setting) or 0.0) > WORTH * (expected_of(work, found.setting) or 0.0)
        run.append(planned("recommended", plan.recommended, found.setting, estimate, limit))
    else:
        told.append(_told(cell, "recommended", have, nothing_fits=True))
    larger = LARGER[plan.recommended]
    if larger is None or plan.of(larger).fits:
        told.append(_told(cell, "next", have, no_larger=True))
        return run, told
    setting, estimate = least_of(spec, shape, cell.card, report, larger)
    one = planned("next", larger, setting, estimate, True)
    if estimate.peak > TRIED * cell.card.memory_total:
        told.append({**one.to_dict(), "not_tried": estimate.peak / cell.card.memory_total})
    else:
        run.append(one)
    return run, told


def own_fullest(spec: RunSpec, work: Work, setting: Setting) -> int:
    """Tokens of the fullest pass of the very run."""
    from core.train.batches import layout_of
    from core.train.measure_passes import of_training
    from core.train.order import passes_of, seed_of

    lengths = np.minimum(mix_of(work.report["mix"] if work.report else "").lengths(), work.length)
    lines = shares_a_line(work.shape)
    layout = layout_of(lengths, packing=None, lines=lines, cuda=True, masked=work.shape.balanced, count=None)
    seed, passes = seed_of(spec, lengths, layout), passes_of(spec, len(lengths))
    return of_training(lengths, setting.batch, seed, passes, layout).tokens


def least_of(
    spec: RunSpec, shape: ModelShape, card: Card, report: dict[str, Any], method: Method
) -> tuple[Setting, Estimate]:
    """The setting of a method that takes least in all its phases, with the rows as they are."""
    work = work_of(spec, shape, card, report, method)
    both = [smallest(work, compiled=compiled)[0] for compiled in (True, False)]
    return min(((one, formula(work, one)) for one in both), key=lambda one: one[1].peak)


def _told(cell: Cell, role: str, have: int, **more: Any) -> dict[str, Any]:
    return {"cell": f"{cell}:{role}", **asdict(cell), "role": role, "room": have, **more}
