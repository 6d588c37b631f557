"""What a step needs to know: the machine, the model's shape, the data report, the plan.

Each is found out once and kept on the journey until a choice makes it stale. Slow ones leave the event loop
free: a thread for what waits on disk or network, a child process for what is heavy.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from core.errors import UserError
from core.job import run_job_async

if TYPE_CHECKING:
    from core.machine import Machine
    from core.models.shape import ModelShape
    from core.plan.advise import Plan
    from tui.journey import Journey

Progress = Callable[[str, int, "int | None"], None]

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


async def report(journey: Journey, on_progress: Progress, *, row: int = 0) -> dict[str, Any]:
    """What the data is, read with the chosen model's tokenizer and template; `row` is the example shown."""
    known = journey.report
    if known is not None and (row == 0 or shown_row(known) == row):
        return known
    request = data_request(journey, row=row)
    found = await run_job_async("core.data.inspect", request, on_progress)
    if data_request(journey, row=row) == request:
        journey.report = found
    return found


def shown_row(found: dict[str, Any]) -> int:
    """The row that the report's example shows, counted from 0 as it is asked for."""
    return int((found.get("example") or {}).get("row") or 1) - 1


def data_request(journey: Journey, *, row: int = 0) -> dict[str, Any]:
    """What the inspect job is asked. UserError when the choices so far are no spec."""
    from core.prepare import anchored, inspect_request

    return inspect_request(anchored(journey.spec()), row=row)


async def plan(journey: Journey, on_progress: Progress) -> Plan:
    """Everything before the plan where it is missing, then the plan."""
    on_progress("looking at this machine", 0, None)
    await machine(journey)
    on_progress("reading the model's shape", 0, None)
    await shape(journey)
    await report(journey, on_progress)
    return advise(journey)


def advise(journey: Journey, data: dict[str, Any] | None = None) -> Plan:
    """The plan from what is known; quick enough for every key. `data` stands in for a stale report."""
    from core.plan.advise import advise as closed_form

    assert journey.machine is not None and journey.shape is not None
    found = closed_form(journey.spec(), journey.machine, journey.shape, data or journey.report)
    journey.plan = found
    return found


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
