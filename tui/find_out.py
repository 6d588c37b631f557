"""What a step needs to know: the machine, the model's shape, the data report, the plan.

Each is found out once and kept on the journey until a choice makes it stale. Slow ones leave the event loop
free: a thread for what waits on disk or network, a child process for what is heavy.
"""

from __future__ import annotations

import asyncio
import copy
import operator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.errors import UserError
from core.job import Progress, run_job_async

if TYPE_CHECKING:
    from core.machine import Machine
    from core.models.shape import ModelShape
    from core.plan.advise import Plan
    from tui.journey import Journey

NO_DATA_YET = "data that is not chosen yet"


async def machine(journey: Journey) -> Machine:
    """What this box has; looked at once a session, since the Machine step looks again on demand."""
    if journey.machine is None:
        from core.machine import look

        journey.machine = await asyncio.to_thread(look)
    return journey.machine


async def shape(journey: Journey) -> ModelShape:
    """The chosen model's shape. UserError: no model, not a model, gated, misspelt, no network."""
    if journey.shape is None:
        from core.models.shape import read_shape

        model, revision = journey.get("model"), journey.get("revision")
        if not model:
            raise UserError("no model is chosen", "this step needs one", "go back to Model")
        found = await asyncio.to_thread(read_shape, model, revision)
        if (journey.get("model"), journey.get("revision")) != (model, revision):
            return found  # another one was chosen meanwhile; this answer is not about it
        journey.shape = found
    return journey.shape


class Check:
    """One reading of all the data. It belongs to the journey: the screen that began it may be left."""

    def __init__(self, request: dict[str, Any], journey: Journey) -> None:
        self.request = request
        self._told: tuple[str, int, int | None] = ("read", 0, None)
        self._listeners: list[Progress] = []
        self.task = asyncio.create_task(self._read(journey))
        # an error that no screen waits for is told by the next one that reads again
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _read(self, journey: Journey) -> dict[str, Any]:
        found = await run_job_async("core.data.inspect", self.request, self._tell)
        if same_rows(data_request(journey), self.request):
            journey.report, journey.asked = found, self.request
        return found

    def _tell(self, stage: str, done: int, total: int | None) -> None:
        self._told = (stage, done, total)
        for listener in self._listeners:
            listener(*self._told)

    async def answer(self, on_progress: Progress) -> dict[str, Any]:
        """What comes of it; whoever waits may be cancelled without ending it."""
        on_progress(*self._told)
        self._listeners.append(on_progress)
        try:
            return await asyncio.shield(self.task)
        finally:
            self._listeners.remove(on_progress)

    def stop(self) -> None:
        self.task.cancel()


async def report(journey: Journey, on_progress: Progress, *, exact: bool = False) -> dict[str, Any]:
    """What all of the data is, read with the chosen model's tokenizer and template.

    One that is known serves for any length, unless it is to be `exact`: then it was read with just these
    choices. Cancelling leaves the reading itself going; a reading for other choices ends for this one.
    """
    request = data_request(journey)
    if journey.report is not None and (not exact or journey.asked in (None, request)):
        return journey.report
    check, same = journey.check, operator.eq if exact else same_rows
    if check is None or check.task.done() or not same(check.request, request):
        if check is not None:
            check.stop()
        check = journey.check = Check(request, journey)
    return await check.answer(on_progress)


async def preview(journey: Journey, on_progress: Progress) -> dict[str, Any]:
    """What the head of the data is: within seconds, however large it is. It may be the whole already."""
    if journey.report is not None:
        return journey.report
    if journey.preview is None:
        request = data_request(journey)
        found = await run_job_async("core.data.inspect", {**request, "preview": True}, on_progress)
        if not same_rows(data_request(journey), request):
            return found
        journey.preview = found
        if found.get("complete", True):
            journey.report, journey.asked = found, request
    return journey.preview


async def row(journey: Journey, number: int, source: int = 0) -> dict[str, Any]:
    """One row, counted from 1, as the model sees it: what `core.data.view.View.row` tells, with its pack."""
    from tui.row_view import RowView

    if journey.rows is None:
        journey.rows = RowView()
    return await journey.rows.row(journey, number, source)


async def head(journey: Journey, which: int) -> dict[str, Any]:
    """The head of one source alone, without a model: its columns, format and first rows."""
    request = data_request(journey)
    here = request if not which else request["more"][which - 1]
    alone = {**request, **here, "more": [], "eval": 0, "model": None, "preview": True}
    return await run_job_async("core.data.inspect", alone, lambda *_: None)


def same_rows(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two requests differ at most in what happens to rows of a length, told without reading again."""
    return all(one.get(key) == other.get(key) for key in {*one, *other} - {"length", "long", "packing"})


def data_request(journey: Journey) -> dict[str, Any]:
    """What the inspect job is asked. UserError when the choices so far are no spec."""
    from core.prepare import anchored, inspect_request

    return inspect_request(anchored(journey.spec()))


async def plan(journey: Journey, on_progress: Progress, *, exact: bool = False) -> Plan:
    """Everything before the plan where it is missing, then the plan. `exact`: see `report`."""
    on_progress("looking at this machine", 0, None)
    await machine(journey)
    on_progress("reading the model's shape", 0, None)
    await shape(journey)
    await report(journey, on_progress, exact=exact)
    return advise(journey)


def advise(journey: Journey, data: dict[str, Any] | None = None) -> Plan:
    """The plan from what is known; quick enough for every key. `data` stands in for a stale report."""
    from core.plan.advise import advise as advised
    from core.plan.cards import card_here
    from core.plan.prices import priced
    from core.prepare import anchored

    assert journey.machine is not None and journey.shape is not None
    spec = anchored(journey.spec())
    card, wrong = priced(card_here(spec, journey.machine))
    known = journey.estimates
    found = advised(spec, journey.machine, journey.shape, data or journey.report, card=card, known=known)
    journey.plan = replace(found, findings=(*found.findings, *wrong))
    return journey.plan


def at_length(journey: Journey, data: dict[str, Any]) -> dict[str, Any] | None:
    """What the chosen length does to the rows, or the one that the plan would choose; None: not known yet."""
    from core.plan.length import at_length as told

    if journey.machine is None or journey.shape is None or not data.get("lengths"):
        return None
    try:
        return told(journey.spec(), journey.machine, journey.shape, data)
    except UserError:
        return None  # no plan can be made; the Method step says why


def choose(journey: Journey, key: str, value: Any) -> str:
    """Sets a choice that makes a valid spec with the others; else says why not and changes nothing."""
    from core.spec import parse_spec

    trial = copy.deepcopy(journey.choices)
    trial.setdefault("model", "any")
    if isinstance(trial.get("data"), str):
        trial["data"] = {"source": trial["data"]}
    if not trial.get("data", {}).get("source"):
        trial["data"] = {**trial.get("data", {}), "source": NO_DATA_YET}
    *path, last = key.split(".")
    group = trial
    for part in path:
        group = group.setdefault(part, {})
    if value is None:
        group.pop(last, None)
    else:
        group[last] = value
    try:
        parse_spec(trial)
    except UserError as error:
        return error.why
    journey.set(key, value)
    return ""
