"""The whole run on one page: a line a thing, each with what it costs where it costs something."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textual.content import Content

from core.numbers import count, duration, gib, money, number, percent, rate
from core.plan.objective import ABOUT, NAMES
from tui.model_list import SHOWN
from tui.source_choice import short
from tui.widgets.finding_list import called
from tui.widgets.method_table import how_sure, place
from tui.widgets.report_view import FORMATS

if TYPE_CHECKING:
    from core.plan.advise import MethodPlan
    from core.prepare import Prepared

LEARNED = {
    "assistant": "the answers are learned",
    "last": "the last answer is learned",
    "completion": "all from the first answer on is learned",
    "all": "every token is learned",
}
NAME = 10
"""Width of the names' column, in cells."""


def summary(prepared: Prepared, runs_dir: Path, width: int) -> Content:
    """Names at the left, values wrapped beside them."""
    lines: list[Content] = []
    for name, value in facts(prepared, runs_dir):
        wrapped = Content(value).wrap(max(width - NAME, 20))
        for index, piece in enumerate(wrapped):
            head = (f"{name if not index else '':<{NAME}}", "$foreground 60%")
            lines.append(Content.assemble(head, piece.rstrip()))
    return Content("\n").join(lines)


def facts(prepared: Prepared, runs_dir: Path) -> list[tuple[str, str]]:
    """(name, value) of everything that the run is and takes."""
    spec, shape, report = prepared.spec, prepared.shape, prepared.report
    plan = next((one for one in prepared.plan.methods if one.method == spec.method), None)
    found = [
        ("model", f"{spec.model} · {count(shape.parameters)} parameters · {spec.precision}"),
        ("data", _data(prepared)),
        ("template", _template(prepared)),
        *([("objective", _objective(prepared))] if spec.objective not in ("auto", "sft") else []),
        ("method", _method(prepared)),
        ("batch", _batch(prepared)),
        ("run", _run(prepared)),
    ]
    if plan is not None:
        found.append(("layers", _layers(plan)))
        found.append(("memory", _memory(prepared, plan)))
        if plan.tokens_per_second is not None:
            at = f"≈ {duration(plan.seconds)} at ≈ {count(plan.tokens_per_second)} tokens/s"
            found.append(("time", at + (f", {plan.sure_of_speed}" if plan.pace else "")))
        else:
            found.append(("time", "known after the first steps: how fast this card is, is not on our list"))
        if plan.cost is not None:
            found.append(("cost", f"≈ {money(plan.cost)} at {money(spec.price_per_hour)} an hour"))
    found.append(("disk", _disk(prepared, runs_dir)))
    longer = report.get("longer_than_length") or 0
    if longer:
        done = {"cut": "lose their end", "drop": "are left out", "split": "are trained in pieces"}
        said = f"{count(longer)} rows are longer than {count(spec.length)} tokens and {done[spec.data.long]}"
        found.append(("long rows", said))
    for name, codes in (("left out", spec.data.drop), ("mended", spec.data.mend)):
        if codes:
            found.append((name, ", ".join(called(code) for code in codes)))
    return found


def _memory(prepared: Prepared, plan: MethodPlan) -> str:
    sure = how_sure(plan.estimate)
    return f"≈ {gib(plan.peak)}{f' ({sure})' if sure else ''} · {place(prepared.plan)}"


def _data(prepared: Prepared) -> str:
    report = prepared.report
    kind = FORMATS.get(str(report.get("format")), str(report.get("format")))
    held = f"{count(report['eval_rows'])} held out" if report.get("eval_rows") else "none held out"
    data = prepared.spec.data
    more = "".join(f" + {short(one.source)} × {number(one.weight)}" for one in data.more)
    return f"{data.source}{more} · {kind} · {count(report['train_rows'])} rows, {held}"


def _template(prepared: Prepared) -> str:
    template = prepared.report.get("template")
    learned = LEARNED[prepared.spec.learn]
    if prepared.spec.objective not in ("auto", "sft"):
        learned = "the answers are compared"
    if not template:
        return "none: plain text, every token is learned"
    name = "the model's own" if template["origin"] == "model" else template["name"]
    return f"{name}, ends with {template['end']} · {learned}"


def _objective(prepared: Prepared) -> str:
    objective = prepared.plan.objective
    return f"{NAMES[objective]}, beta {number(prepared.spec.beta)} · {ABOUT[objective]}"


def _method(prepared: Prepared) -> str:
    spec = prepared.spec
    adapter = "" if spec.method == "full" else f" of rank {spec.lora.rank}, alpha {number(spec.alpha)}"
    warm = f", warm-up {percent(spec.warmup)}" if spec.warmup else ""
    pace = f"rate {rate(spec.learning_rate)}, {spec.schedule}{warm}"
    return f"{SHOWN[spec.method]}{adapter} · {pace} · {spec.optimizer}"


def _batch(prepared: Prepared) -> str:
    spec = prepared.spec
    return f"{spec.batch} x {spec.accumulate} rows a step, up to {count(spec.length)} tokens each"


def _layers(plan: MethodPlan) -> str:
    """What the layers keep, and whether they are compiled."""
    return f"{plan.kept} · {'compiled' if plan.compiled else 'not compiled'}: {plan.compile_why}"


def _run(prepared: Prepared) -> str:
    spec = prepared.spec
    plan = next((one for one in prepared.plan.methods if one.method == spec.method), None)
    steps = spec.steps or (plan.steps if plan else None)
    times = f"{number(spec.epochs)} epoch{'' if spec.epochs == 1 else 's'}, " if spec.epochs else ""
    looks = f" · held-out loss every {spec.evaluate.every}" if prepared.report.get("eval_rows") else ""
    return f"{times}{count(steps)} steps · checkpoint every {spec.save.every}, {spec.save.keep} kept{looks}"


def _disk(prepared: Prepared, runs_dir: Path) -> str:
    from core.runs.space import free_at, space

    need = space(prepared.spec, prepared.shape)
    words = f"≈ {gib(need.run)} in {runs_dir}, where {gib(free_at(runs_dir))} are free"
    return f"{words} · {gib(need.download)} to download" if need.download else words
