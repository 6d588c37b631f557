"""What would make a method fit that does not: the smallest changes of the run, and the smallest card.

Each way is one change of the spec that suffices alone (several where none does), and was planned like any
other run before it is named.
Those that cost least come first: what changes nothing of what is learned, then numbers of the optimiser, then
what the adapters can hold, then how much of the rows is seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from core.data.lengths import longer_than
from core.models.shape import ModelShape
from core.numbers import gib, percent
from core.plan.card_names import known_cards
from core.plan.cards import Card, of_list, room
from core.plan.choose import choose, least
from core.plan.memory import HOST_SPARE
from core.plan.objective import LEAST_BATCH
from core.plan.work import PAGED_ADAM, Work, may_page, paged_moments, work_of
from core.spec import Method, RunSpec

MANY = 2
"""Ways that are named."""
STEP, SHORTEST = 64, 128
"""Lengths are looked for in such steps, down to this one: shorter rows say too little to learn from."""
LEAST_RANK = 4


@dataclass(frozen=True)
class Way:
    """One change that suffices. `changes`: dotted keys of the spec; {}: nothing of the run changes."""

    words: str
    changes: dict[str, Any]
    bytes: int
    """What a step takes then."""


@dataclass(frozen=True)
class WaysOut:
    """Of a method that does not fit."""

    short: int
    """Bytes that it needs beyond those there are, at the least that it can do with."""
    ways: tuple[Way, ...]
    card: str | None
    """The smallest known card on which it fits as it was asked for; None: none does."""
    card_memory: int | None

    @property
    def line(self) -> str:
        """ "2.1 GiB more: length 1,536 or 8-bit Adam; or RTX A4500 (19.7 GiB)"."""
        ways = " or ".join(one.words for one in self.ways)
        card = f"{self.card} ({gib(self.card_memory)})" if self.card else "more than any known card has"
        if not ways:
            card = f"a card such as {card}" if self.card else card
            return f"{gib(self.short)} more: no setting gives that; {card}"
        return f"{gib(self.short)} more: {ways}" + (f"; or {card}" if self.card else "")


def ways_out(
    spec: RunSpec, shape: ModelShape, card: Card, report: dict[str, Any] | None, method: Method, short: int
) -> WaysOut:
    """For a method that is `short` of so many bytes on the card. Some milliseconds."""
    have, found = room(card), []
    held = card.memory_total - card.memory_free
    if card.here and card.kind == "gpu" and held >= short:
        taken = have + short
        found.append(Way(f"an end to what holds {gib(held)} of the card", {}, taken))
    found += _more_ram(spec, shape, card, report, method, have)
    for words, changes in _changes(spec, shape, card, report, method, have):
        planned, estimate = choose(work_of(_with(spec, changes), shape, card, report, method), have)
        if planned.fits:
            found.append(Way(words, changes, estimate.peak))
        if len(found) == MANY:
            break
    if not any(one.changes for one in found):
        found += _together(spec, shape, card, report, method, have)
    larger = _smallest_card(spec, shape, card, report, method)
    return WaysOut(
        short, tuple(found), larger.name if larger else None, larger.memory_total if larger else None
    )


def _more_ram(
    spec: RunSpec, shape: ModelShape, card: Card, report: dict[str, Any] | None, method: Method, have: int
) -> list[Way]:
    """As much of the host's memory as the moments of all weights want, where it is what is short."""
    work = work_of(spec, shape, card, report, method)
    if method != "full" or spec.optimizer != "auto" or card.kind != "gpu" or may_page(work):
        return []
    times, beside = HOST_SPARE
    need = int(times * paged_moments(work, PAGED_ADAM) + beside) + 1
    planned, estimate = choose(work_of(spec, shape, replace(card, ram=need), report, method), have)
    words = f"{gib(need)} of free RAM instead of {gib(card.ram)}"
    return [Way(words, {}, estimate.peak)] if planned.fits else []


def _changes(
    spec: RunSpec, shape: ModelShape, card: Card, report: dict[str, Any] | None, method: Method, have: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Changes that would suffice, each alone, the least costly first."""

    def fits(changes: dict[str, Any]) -> bool:
        return _need(_with(spec, changes), shape, card, report, method) <= have

    work = work_of(spec, shape, card, report, method)
    fewest = LEAST_BATCH[work.objective]
    yield from _first_of_each_kind(_of_no_cost(spec, work, card), fits)

    whole = _longest_row(report)
    if whole and whole < work.length and fits({"length": whole}):
        yield f"length {whole:,}, which cuts no row", {"length": whole}
    if not (spec.batch or spec.accumulate):
        halves = [work.together // 2**n for n in range(1, 6) if work.together // 2**n >= fewest]
        rows = [(_rows_a_step(one), {"batch": one, "accumulate": 1}) for one in halves]
        yield from _first_of_each_kind(rows, fits)
    if method != "full":
        ranks = [spec.lora.rank // 2**n for n in range(1, 9) if spec.lora.rank // 2**n >= LEAST_RANK]
        yield from _first_of_each_kind([(f"rank {one}", {"lora.rank": one}) for one in ranks], fits)
    if length := _longest(work.length, lambda one: fits({"length": one})):
        yield _said(length, report), {"length": length}


def _of_no_cost(spec: RunSpec, work: Work, card: Card) -> list[tuple[str, dict[str, Any]]]:
    """Choices of the user's that could be left to the plan, or be made smaller, with the rows as they are."""
    fewest, free = LEAST_BATCH[work.objective], []
    if spec.batch and spec.batch > fewest:
        halves = [spec.batch // 2**n for n in range(1, 11) if spec.batch // 2**n >= fewest]
        rows = spec.batch * spec.accumulate if spec.accumulate else None
        kept = [{"accumulate": max(1, rows // one)} if rows else {} for one in halves]
        free += [(f"batch {one}", {"batch": one, **same}) for one, same in zip(halves, kept, strict=True)]
    if spec.recompute != "auto" and spec.recompute < 1:
        free.append(("recompute auto", {"recompute": "auto"}))
    if spec.compile is False:
        free.append(("compile auto", {"compile": "auto"}))
    if spec.precision == "fp32" and card.kind == "gpu":
        free.append((f"precision {card.precision}", {"precision": "auto"}))
    if work.method == "full" and card.kind == "gpu":
        if spec.optimizer in ("adamw", "adafactor"):
            free.append(("8-bit Adam", {"optimizer": "adamw_8bit"}))
            if may_page(work):
                free.append(("paged 8-bit Adam", {"optimizer": PAGED_ADAM.optimizer}))
        if spec.optimizer != "adafactor":
            free.append(("Adafactor", {"optimizer": "adafactor"}))
    if work.method != "full" and spec.lora.dora:
        free.append(("no DoRA", {"lora.dora": False}))
    if work.method != "full" and spec.lora.dropout:
        free.append(("no dropout", {"lora.dropout": 0.0}))
    return free


def _together(
    spec: RunSpec, shape: ModelShape, card: Card, report: dict[str, Any] | None, method: Method, have: int
) -> list[Way]:
    """Where no change suffices alone: what costs nothing, then fewer rows a step, a small rank and short
    rows, added one to another until it fits."""
    work = work_of(spec, shape, card, report, method)
    least_of_each = {frozenset(change): (words, change) for words, change in _of_no_cost(spec, work, card)}
    steps = list(least_of_each.values())
    if not (spec.batch or spec.accumulate):
        fewest = LEAST_BATCH[work.objective]
        steps.append((_rows_a_step(fewest), {"batch": fewest, "accumulate": 1}))
    if method != "full" and spec.lora.rank > 2 * LEAST_RANK:
        steps.append((f"rank {2 * LEAST_RANK}", {"lora.rank": 2 * LEAST_RANK}))
    said: list[str] = []
    changes: dict[str, Any] = {}

    def needs(length: int | None) -> int:
        more = {} if length is None else {"length": length}
        return _need(_with(spec, {**changes, **more}), shape, card, report, method)

    for words, change in steps:
        said.append(words)
        changes |= change
        if needs(None) <= have:
            break
    else:
        length = _longest(work.length, lambda one: needs(one) <= have)
        if length is None:
            return []
        said.append(_said(length, report))
        changes["length"] = length
    planned, estimate = choose(work_of(_with(spec, changes), shape, card, report, method), have)
    words = f"{', '.join(said[:-1])} and {said[-1]}" if len(said) > 1 else said[0]
    return [Way(words, changes, estimate.peak)] if planned.fits else []


def _rows_a_step(rows: int) -> str:
    return "1 row a step" if rows == 1 else f"{rows} rows a step"


def _need(spec: RunSpec, shape: ModelShape, card: Card, report: dict[str, Any] | None, method: Method) -> int:
    return least(work_of(spec, shape, card, report, method))


def _smallest_card(
    spec: RunSpec, shape: ModelShape, card: Card, report: dict[str, Any] | None, method: Method
) -> Card | None:
    """The first by memory on which the method fits."""
    cards = [one for one in _by_memory() if one.memory_total > card.memory_free]
    if not cards:
        return None
    need = _need(spec, shape, cards[0], report, method)
    return next((one for one in cards if room(one) >= need), None)


@cache
def _by_memory() -> tuple[Card, ...]:
    """The known cards with bf16, laptops aside."""
    cards = (of_list(one) for one in known_cards() if "Laptop" not in one.name)
    return tuple(sorted((one for one in cards if one.bf16), key=_memory))


def _memory(card: Card) -> tuple[int, float]:
    return card.memory_total, -(card.tflops or 0)


def _first_of_each_kind(
    changes: list[tuple[str, dict[str, Any]]], fits: Any
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of changes of the same keys the first that suffices."""
    done: set[frozenset[str]] = set()
    for words, change in changes:
        kind = frozenset(change)
        if kind not in done and fits(change):
            done.add(kind)
            yield words, change


def _longest(most: int, fits: Any) -> int | None:
    """The longest length under `most` that fits; more tokens never take less."""
    low, high = SHORTEST // STEP, (most - 1) // STEP
    if high < low or not fits(low * STEP):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle * STEP) else (low, middle - 1)
    return low * STEP


def _longest_row(report: dict[str, Any] | None) -> int | None:
    lengths = (report or {}).get("lengths")
    return -(-int(lengths["max"]) // STEP) * STEP if lengths else None


def _said(length: int, report: dict[str, Any] | None) -> str:
    longer, share = longer_than(report or {}, length)
    return f"length {length:,}" + (f" (cuts {percent(share)} of rows)" if longer else "")


def _with(spec: RunSpec, changes: dict[str, Any]) -> RunSpec:
    """The spec with dotted keys set."""
    lora = {key.partition(".")[2]: value for key, value in changes.items() if key.startswith("lora.")}
    flat = {key: value for key, value in changes.items() if "." not in key}
    if lora:
        flat["lora"] = spec.lora.model_copy(update=lora)
    return spec.model_copy(update=flat)
