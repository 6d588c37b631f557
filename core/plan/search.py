"""The fastest setting of a method that fits: rows at a time, place of the dial, what waits in the host."""

from __future__ import annotations

import functools
from bisect import bisect_left
from dataclasses import dataclass, replace

from core.plan import compiling, memory
from core.plan.dial import holds, may_record
from core.plan.memory import Bytes, host_holds
from core.plan.objective import LEAST_BATCH
from core.plan.work import (
    PAGED_ADAM,
    Setting,
    Work,
    bytes_of,
    expected_of,
    may_page,
    paged_moments,
    training_of,
)

UNEVEN = 1 / 8
"""Share by which a step's rows may differ from what was wanted, where passes of an odd size fill the card."""
WORTH = 1.02
"""Times as fast as rows that divide a step evenly those that do not must be to be taken."""

QUICKER = 1.05
"""Times as fast a pass must be to be recorded."""
RECORDING = 1.2
"""Times what comes and goes in a pass that must be free beside it, to make the recording with."""


@dataclass(frozen=True)
class Found:
    setting: Setting
    bytes: Bytes
    fits: bool
    why: str
    """Why the layers are compiled, or why not."""


def fastest(work: Work, room: int) -> Found:
    """The fastest setting that fits into so many bytes of the card; where none does, the smallest.

    Compiled layers are planned for where that pays for the setting itself, or nothing fits without them.
    """
    kind, spec = work.card.kind, work.spec
    able, why = may_compile(work)
    if not able:
        return replace(_best(work, room, compiled=False), why=why)
    found = _best(work, room, compiled=True)
    seconds = training_of(work, replace(found.setting, compiled=False, recorded=False))
    with_it = training_of(work, found.setting)
    gives_up = compiling.gives_up_on(work.shape, spec, work.method)
    able, why = compiling.pays(seconds, kind, compiled=with_it, asked=spec.compile, gives_up=gives_up)
    if able:
        return replace(found, why=why)
    plain = replace(_best(work, room, compiled=False), why=why)
    if plain.fits or not found.fits:
        return plain
    return replace(found, why=f"{why}, but without it nothing fits")


def may_compile(work: Work) -> tuple[bool, str]:
    """Whether layers can be compiled at all, whatever that costs, and why."""
    return compiling.pays(
        None,
        work.card.kind,
        asked=work.spec.compile,
        objective=work.objective,
        capable=work.card.bf16,
        gives_up=compiling.gives_up_on(work.shape, work.spec, work.method),
    )


def _best(work: Work, room: int, *, compiled: bool) -> Found:
    """Where exact moments fit, smaller ones are not looked at; of each batch the first place that fits."""
    for optimizer in _optimizers(work):
        fitting = _fitting(work, room, optimizer, _batches(work), compiled)
        if not fitting:
            continue
        setting, held = max(fitting, key=lambda one: _pace(work, one[0]))
        uneven = _fitting(work, room, optimizer, _uneven(work, setting.batch), compiled)
        if uneven:
            other, taken = max(uneven, key=lambda one: _pace(work, one[0]))
            if _pace(work, other) > WORTH * _pace(work, setting):
                setting, held = other, taken
        return Found(setting, held, True, "")
    setting, held = smallest(work, compiled=compiled)
    return Found(setting, held, False, "")


def smallest(work: Work, *, compiled: bool) -> tuple[Setting, Bytes]:
    """The setting that takes least, and what it takes."""
    # one pass a step needs no gradients from the pass before; many passes are small
    batches = _batches(work)
    tried = [
        _at(work, _optimizers(work)[-1], batch, _places(work)[-1], compiled)
        for batch in dict.fromkeys((batches[0], batches[-1]))
    ]
    return min(tried, key=lambda one: (one[1].total, one[0].batch))


def _fitting(
    work: Work, room: int, optimizer: str, batches: list[int], compiled: bool
) -> list[tuple[Setting, Bytes]]:
    """Of each batch the first place of the dial that fits; two where layers wait up to a place and, since the
    host has no more room, are computed again from there on."""
    found = []
    places = _places(work)
    last = len(places) - 1
    for batch in batches:
        at = functools.cache(functools.partial(_place_at, work, optimizer, batch, places, compiled))
        if at(0)[1].total <= room:
            found.append(_recorded(work, room, *at(0)))
            continue
        waits = 0
        if last and at(1)[0].host:
            waits = (
                last
                if at(last)[0].host
                else bisect_left(range(last), True, key=lambda n: not at(n + 1)[0].host)
            )
        for first, end in ((1, waits), (waits + 1, last)):
            if first > end or at(end)[1].total > room:
                continue
            least = bisect_left(range(first, end), True, key=lambda n: at(n)[1].total <= room)
            found.append(_recorded(work, room, *at(first + least)))
    return found


def _recorded(work: Work, room: int, setting: Setting, held: Bytes) -> tuple[Setting, Bytes]:
    """The same with its passes recorded, where they can be, that is quicker and there is ample room."""
    spec, kinds = work.spec, holds(setting.recompute, work.shape.layers, setting.host)
    if not setting.compiled or work.widths_differ:
        return setting, held
    if not may_record(
        kinds,
        experts=bool(work.shape.experts),
        drawn=spec.lora.dropout > 0 and work.method != "full",
        full=work.method == "full",
        accumulate=work.accumulate(setting.batch),
        precision=work.precision,
    ):
        return setting, held
    other = replace(setting, recorded=True)
    if _pace(work, other) < QUICKER * _pace(work, setting):
        return setting, held
    taken = bytes_of(work, other)
    comes = taken.kept + taken.live + taken.loss
    return (other, taken) if taken.total + RECORDING * comes <= room else (setting, held)


def _place_at(
    work: Work, optimizer: str, batch: int, places: tuple[float, ...], compiled: bool, n: int
) -> tuple[Setting, Bytes]:
    return _at(work, optimizer, batch, places[n], compiled)


def _at(work: Work, optimizer: str, batch: int, place: float, compiled: bool) -> tuple[Setting, Bytes]:
    """The setting at a place of the dial: layers wait in the host's memory where it has room."""
    setting = Setting(optimizer, batch, place, place > 0 and _may_wait(work, compiled), compiled)
    held = bytes_of(work, setting)
    away = held.host + paged_moments(work, setting)
    if held.host and not host_holds(away, work.card.ram):  # as the worker decides too
        setting = replace(setting, host=False)
        held = bytes_of(work, setting)
    return setting, held


def _places(work: Work) -> tuple[float, ...]:
    """Of the dial, from most speed to least memory: one for each layer more that holds less."""
    if work.spec.recompute != "auto":
        return (float(work.spec.recompute),)
    return _dial(work.shape.layers)


@functools.cache
def _dial(layers: int) -> tuple[float, ...]:
    return tuple(round(place / (2 * layers), 3) for place in range(2 * layers + 1))


def _batches(work: Work) -> list[int]:
    """Rows at a time: the step's, its half, and so on."""
    least = LEAST_BATCH[work.objective]
    if work.spec.batch:
        return [work.spec.batch]
    if work.spec.accumulate:
        return [max(least, work.together // work.spec.accumulate)]
    halves = (work.together // 2**n for n in range(work.together.bit_length()))
    most = max(least, work.most or work.together)
    return [one for one in halves if least <= one <= most]


def _uneven(work: Work, batch: int) -> list[int]:
    """Batches between this and twice this whose steps have about the rows that were wanted."""
    if work.spec.batch or work.spec.accumulate or batch >= work.together:
        return []
    return [
        one
        for one in range(batch + 1, min(2 * batch, (work.most or work.together) + 1))
        if abs(one * work.accumulate(one) - work.together) <= UNEVEN * work.together
    ]


def _optimizers(work: Work) -> list[str]:
    """Exact first; smaller moments only where a whole model learns and exact ones do not fit, and such as lie
    in the host's memory unless that is known to have no room for them."""
    if work.spec.optimizer != "auto":
        return [work.spec.optimizer]
    if work.method != "full" or work.card.kind != "gpu":
        return ["adamw"]
    return ["adamw", "adamw_8bit", *([PAGED_ADAM.optimizer] if may_page(work) else [])]


def _may_wait(work: Work, compiled: bool) -> bool:
    return work.card.ram > 0 and memory.may_wait(work.card.kind == "gpu", compiled)


def _pace(work: Work, setting: Setting) -> float:
    """What settings are compared by; on a card that is not known as on a middling one."""
    return expected_of(work, setting) or 0.0
