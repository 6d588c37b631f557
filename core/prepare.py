"""From a spec to a resolved one: the way that the command, the wizard's Review and the demo all take."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.data.lengths import longer_than
from core.errors import UserError
from core.job import Progress, run_job, run_job_async
from core.machine import Machine, look
from core.machine.host import hub_cache
from core.models.shape import ModelShape, read_shape
from core.plan.advise import MethodPlan, Plan, advise
from core.plan.cards import Card, card_here, card_named, card_of_size
from core.plan.estimate import Estimate
from core.plan.prices import Prices, priced, read_prices
from core.plan.rent import Offer, offers
from core.plan.resolve import filled_in, resolve
from core.plan.trace import trace
from core.plan.work import Setting, work_of
from core.runs.space import findings, space
from core.spec import RunSpec

NO_DATA = "none"
"""The source of a spec that only asks what a model takes."""


@dataclass(frozen=True)
class Prepared:
    """A run that could be started, with everything that was learned on the way to it."""

    spec: RunSpec
    """Resolved: nothing in it is left to be chosen."""
    machine: Machine
    shape: ModelShape
    report: dict[str, Any]
    """What `core.data.inspect` says of the data, read with this model's tokenizer and template."""
    plan: Plan

    def findings(self, runs: Path | None = None) -> list[dict[str, Any]]:
        """What was found wrong or noteworthy, worst first: {severity, code, message, todo}.

        `runs`: the folder that the run would be written to; with it the disks are looked at too.
        """
        rank = {"stop": 0, "warn": 1, "info": 2}
        found = [dict(one) for one in self.report["findings"]]
        disks = findings(space(self.spec, self.shape), runs, hub_cache()) if runs else ()
        for one in [*disks, *self.plan.findings]:
            found.append(
                {"severity": one.severity, "code": one.code, "message": one.message, "todo": one.todo}
            )
        found += _of_length(self.spec, self.report)
        return sorted(found, key=lambda one: rank.get(one["severity"], 3))

    def refuse_if_stopped(self, runs: Path | None = None) -> None:
        """Raise UserError (code 1) when a finding says that this run must not start."""
        stops = [one for one in self.findings(runs) if one["severity"] == "stop"]
        if stops:
            raise UserError(
                "this run would not work",
                "; ".join(str(one["message"]).rstrip(".") for one in stops),
                str(stops[0].get("todo") or ""),
                code=1,
            )


FATE = {
    "cut": ("warn", "lose their end"),
    "drop": ("warn", "are left out"),
    "split": ("info", "are trained in pieces"),
}
OF_LENGTH = frozenset({"cut", "cut_to_nothing", "dropped_long", "split_long", "split_text"})


def _of_length(spec: RunSpec, report: dict[str, Any]) -> list[dict[str, Any]]:
    """Where the length was chosen after the data were read: what becomes of longer rows is said here."""
    lengths, length = report.get("lengths"), spec.length or 0
    known = {one["code"] for one in report["findings"]}
    if not lengths or lengths["max"] <= length or spec.data.format == "text" or known & OF_LENGTH:
        return []
    severity, what = FATE[spec.data.long]
    rows, share = longer_than(report, length)
    many = f"{rows:,} of {lengths['count']:,} rows ({share:.1%})" if rows else "some rows"
    message = f"{many} are longer than {length:,} tokens and {what} (the longest has {lengths['max']:,})"
    todo = "raise the length to keep them whole"
    return [{"severity": severity, "code": "cut", "message": message, "todo": todo}]


def prepare(spec: RunSpec, on_progress: Progress | None = None, *, card: Card | None = None) -> Prepared:
    """Look at the machine, the model and the data, plan, and fill in what the spec leaves open.

    Blocks for as long as reading the data takes; torch and its kin stay in a child process.
    `card`: one that this machine's is to stand for; the plan is for that.
    Raises UserError for what cannot be read or planned; findings that stop are left to the caller
    (`Prepared.refuse_if_stopped`), so that a screen can show them beside the rest.
    """
    tell, spec = on_progress or _silent, anchored(spec)
    tell("machine", 0, None)
    machine = look()
    tell("model", 0, None)
    shape = read_shape(spec.model, spec.revision)
    report = run_job("core.data.inspect", inspect_request(spec), tell)
    return finish(spec, machine, shape, report, card=card)


def plan_for(
    spec: RunSpec,
    *,
    vram: float | None = None,
    card: str | None = None,
    ram: float | None = None,
    on_progress: Progress | None = None,
) -> tuple[Plan, RunSpec | None]:
    """The plan for this machine, or for a card that need not be here: named, or of `vram` GiB, in a box of
    which `ram` GiB are free; and the spec with all that it leaves open filled in by the plan, None where
    there is no data or nothing fits.

    Without data (source NO_DATA) the plan has no steps and no time; without the model's tokenizer the
    lengths of the rows are assumed. UserError as `prepare`.
    """
    spec, _, report, _, plan = _planned(spec, vram, card, ram, on_progress)
    whole = report is not None and (spec.method != "auto" or plan.recommended is not None)
    return plan, filled_in(spec, plan, report) if whole else None


def trace_for(
    spec: RunSpec,
    *,
    vram: float | None = None,
    card: str | None = None,
    ram: float | None = None,
    on_progress: Progress | None = None,
) -> tuple[MethodPlan, Estimate, Card]:
    """The method that the plan recommends (or the spec names), what a trace of the run's own modules says it
    takes, and the card. UserError as `plan_for`, and where the model cannot be traced."""
    spec, shape, report, chosen, plan = _planned(spec, vram, card, ram, on_progress)
    one = plan.of(spec.method if spec.method != "auto" else plan.recommended or "qlora")
    work = work_of(spec, shape, chosen, report, one.method)
    setting = Setting(one.optimizer, one.batch, one.recompute, one.host, one.compiled)
    return one, trace(work, setting, on_progress), chosen


def _planned(
    spec: RunSpec, vram: float | None, card: str | None, ram: float | None, on_progress: Progress | None
) -> tuple[RunSpec, ModelShape, dict[str, Any] | None, Card, Plan]:
    if ram is not None and vram is None and card is None:
        raise UserError("--ram is for a card that is not here", "", "give --card NAME or --vram GIB too")
    spec, host, prices = anchored(spec), _ram(ram), read_prices()
    other = elsewhere(vram, card, host)
    shape, report = _shape_and_report(spec, on_progress)
    machine = look()
    chosen = prices.on(other or card_here(spec, machine))
    return spec, shape, report, chosen, advise(spec, machine, shape, report, card=chosen)


def elsewhere(vram: float | None, card: str | None, ram: int) -> Card | None:
    """A card that need not be here: of so many GiB or of a name, in a box of which `ram` bytes are free."""
    if vram is not None and card is not None:
        raise UserError("--vram and --card both name a card", "a plan is for one", "keep one of them")
    if card is not None:
        return card_named(card, ram=ram)
    return card_of_size(vram, ram=ram) if vram is not None else None


def offers_for(
    spec: RunSpec, *, ram: float | None = None, on_progress: Progress | None = None
) -> tuple[tuple[Offer, ...], Prices]:
    """What each known card could do, the best first, with the user's prices. UserError as `prepare`."""
    spec, host, prices = anchored(spec), _ram(ram), read_prices()
    shape, report = _shape_and_report(spec, on_progress)
    return offers(spec, look(), shape, report, ram=host, prices=prices), prices


def _ram(gib: float | None) -> int:
    if gib is None:
        return 0
    if not 0 < gib <= 100_000:
        raise UserError(f"--ram {gib:g} is no box", "its free memory is given in GiB", "give such as 64")
    return int(gib * 2**30)


def _shape_and_report(
    spec: RunSpec, on_progress: Progress | None
) -> tuple[ModelShape, dict[str, Any] | None]:
    """What a plan needs of the model and of the data, None where there are none."""
    shape = read_shape(spec.model, spec.revision)
    if spec.data.source == NO_DATA:
        return shape, None
    request = inspect_request(spec)
    model = spec.model if shape.has_tokenizer else None
    try:
        return shape, run_job("core.data.inspect", {**request, "model": model}, on_progress)
    except UserError:
        if model is None or Path(spec.model).is_dir():
            raise
        # a model that is not here and a Hub that does not answer: the rows can still be counted
        return shape, run_job("core.data.inspect", {**request, "model": None}, on_progress)


async def prepare_async(spec: RunSpec, on_progress: Progress | None = None) -> Prepared:
    """As `prepare`, leaving the event loop free; cancelling ends the child that reads the data."""
    tell, spec = on_progress or _silent, anchored(spec)
    tell("machine", 0, None)
    machine = await asyncio.to_thread(look)
    tell("model", 0, None)
    shape = await asyncio.to_thread(read_shape, spec.model, spec.revision)
    report = await run_job_async("core.data.inspect", inspect_request(spec), tell)
    return finish(spec, machine, shape, report)


def anchored(spec: RunSpec) -> RunSpec:
    """The spec with the paths of files here made absolute: the worker runs in another folder."""

    def whole(path: str) -> str:
        here = Path(path).expanduser()
        return str(here.absolute()) if here.exists() else path

    data: dict[str, Any] = {"source": whole(spec.data.source)}
    if isinstance(spec.data.eval, str):
        data["eval"] = whole(spec.data.eval)
    data["more"] = [one.model_copy(update={"source": whole(one.source)}) for one in spec.data.more]
    return spec.model_copy(
        update={
            "model": whole(spec.model),
            "template": whole(spec.template) if re.search(r"[./~]", spec.template) else spec.template,
            "data": spec.data.model_copy(update=data),
        }
    )


def inspect_request(spec: RunSpec, *, row: int = 0, preview: bool = False) -> dict[str, Any]:
    """What to ask of `core.data.inspect` so that it reads the data as this run would.

    `preview`: the head alone, which takes a second or two whatever the size.
    """
    run = ("model", "revision", "template", "learn", "length", "packing", "objective", "seed")
    data = spec.data.model_dump(mode="json")
    return {**data, **{name: getattr(spec, name) for name in run}, "row": row, "preview": preview}


def finish(
    spec: RunSpec,
    machine: Machine,
    shape: ModelShape,
    report: dict[str, Any],
    known: Mapping[str, Estimate] | None = None,
    *,
    card: Card | None = None,
) -> Prepared:
    """Plan and resolve from what was already read (the wizard has it; nothing is read again).

    `known`: see `core.plan.advise.advise`; `card`: see `prepare`. The user's own price of the card is the
    spec's, where that has none, so that the run tells its cost too.
    """
    card, found = priced(card or card_here(spec, machine))
    if spec.price_per_hour is None and card.price is not None:
        spec = spec.model_copy(update={"price_per_hour": card.price})
    plan = advise(spec, machine, shape, report, card=card, known=known)
    plan = replace(plan, findings=(*plan.findings, *found))
    return Prepared(resolve(spec, plan, shape, report), machine, shape, report, plan)


def _silent(stage: str, done: int, total: int | None) -> None:
    """Nobody is watching."""
