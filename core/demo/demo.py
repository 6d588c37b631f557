"""The demo: the whole way of a real run on what ships with finetui, and a measure of what it taught.

Nothing here is a shortcut: the spec is prepared, started, followed and chatted with as any other is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.cli import show
from core.demo.measure import Asked, ask, scores
from core.demo.questions import HELD_OUT, TAUGHT, held_out_questions, some_questions, taught_questions
from core.errors import UserError
from core.numbers import count, duration, percent
from core.spec import RunSpec, parse_spec

if TYPE_CHECKING:
    from core.prepare import Prepared
    from core.runs.folder import RunFolder
    from core.runs.history import History

__all__ = ["MODEL", "demo_spec", "held_out_questions", "run_demo", "taught_questions"]

MODEL = Path(__file__).parent / "model"
ASKED = 30
"""Questions of each kind that both sides are asked."""
SHOWN = 4
"""Held-out questions whose answers are shown in full."""

Say = Callable[[str], None]


def demo_spec() -> RunSpec:
    """The run of the demo, as `finetui train` would read it from a file."""
    return parse_spec(
        {
            "name": "demo",
            "model": str(MODEL),
            "data": {"source": str(TAUGHT), "eval": str(HELD_OUT)},
            "aim": "chat",
            "method": "lora",
            "template": "chatml",
            "batch": 16,
            "accumulate": 1,
            "epochs": 10,
            # weights in thousands a layer want far larger steps than weights in millions
            "learning_rate": 5e-3,
            "evaluate": {"every": 62},
        },
        "the demo's spec",
    )


def run_demo(runs: Path | None = None, *, as_json: bool = False) -> dict[str, Any]:
    """Train the demo and measure it; says what happens, or with `as_json` prints one object at the end.

    UserError (code 1) when the run does not finish, or when Ctrl-C leaves it, which does not end it.
    """
    from core.runs.folder import runs_dir
    from core.runs.start import start

    began = time.monotonic()
    say: Say = (lambda text: None) if as_json else show.say
    say(_head("1  What is here"))
    prepared = _prepare(as_json)
    say(_what_is_here(prepared))
    say(_head("\n2  The plan"))
    say(_the_plan(prepared))
    prepared.refuse_if_stopped()

    run = start(prepared.spec, runs_dir(runs))
    say(_head("\n3  Training"))
    say(f"{run.name} runs by itself in {run.path}; Ctrl-C leaves it alone.")
    history = _follow(run, as_json)

    say(_head("\n4  Base beside tuned") + ", asked in words that no training row has")
    asked = _ask(run, say, as_json)
    say(_head("\n5  What was learned"))
    say(_score_table(scores(asked)))
    result = _result(run, prepared, history, asked, time.monotonic() - began)
    say("\n" + _what_next(run, runs, result["seconds"]))
    if as_json:
        show.answer(result)
    return result


def _head(text: str) -> str:
    return show.paint(text, "bold")


def _prepare(as_json: bool) -> Prepared:
    from core.prepare import prepare

    tell, wipe = show.progress(not as_json)
    try:
        return prepare(demo_spec(), tell)
    finally:
        wipe()


def _what_is_here(prepared: Prepared) -> str:
    machine, shape, report = prepared.machine, prepared.shape, prepared.report
    gpus = ", ".join(gpu.name or "a GPU" for gpu in machine.gpus if not gpu.error)
    first = taught_questions()[0]
    return show.pairs(
        [
            ("machine", gpus or f"no GPU, and none is needed; {machine.cpus} CPU cores"),
            ("model", f"{count(shape.parameters)} parameters; it goes on with a text and does no more"),
            ("lesson", f"{report['train_rows']} questions with answers, {report['eval_rows']} held out"),
            ("such as", f"{first.prompt} {show.paint('→', 'dim')} {first.taught}"),
        ]
    )


def _the_plan(prepared: Prepared) -> str:
    spec = prepared.spec
    chosen = [one for one in prepared.plan.methods if one.method == spec.method]
    facts = [
        ("method", f"{spec.method}, rank {spec.lora.rank}, template {spec.template}"),
        ("numbers", f"{spec.epochs:g} epochs, batch {spec.batch}, learning rate {spec.learning_rate:g}"),
    ]
    if chosen and chosen[0].seconds:
        facts.append(("time", f"about {duration(chosen[0].seconds)} of training"))
    return show.pairs(facts)


def _follow(run: RunFolder, as_json: bool) -> History:
    from core.cli.follow import follow

    try:
        now, history = follow(run, quiet=as_json)
    except KeyboardInterrupt:
        raise UserError(
            f"you left {run.name}", "it goes on without you", f"come back: finetui attach {run.name}", code=1
        ) from None
    if now.state != "finished":
        raise UserError(f"the demo's run {run.name} {now.state}", now.why, f"see {run.log}", code=1)
    return history


def _ask(run: RunFolder, say: Say, as_json: bool) -> list[Asked]:
    """Shows the first answers in full and only counts the others."""
    questions, asked = some_questions(ASKED), list[Asked]()
    tell, wipe = show.progress(not as_json)
    tell("loading both", 0, None)
    for number, pair in enumerate(ask(run, questions), 1):
        asked += pair
        if number > SHOWN:
            tell("asking", number, len(questions))
            continue
        wipe()
        say(f"\n  {show.paint(pair[0].question.prompt, 'bold')}")
        for one in pair:
            style = "good" if one.right else "dim"
            say(f"  {show.paint(one.side.ljust(5), style)}  {' '.join(one.answer.split())}")
    wipe()
    return asked


def _score_table(counted: dict[str, dict[str, dict[str, Any]]]) -> str:
    def cell(one: dict[str, Any]) -> str:
        return f"{one['right']} of {one['asked']}  {percent(one['share']):>5}"

    names = {"held_out": "asked in new words", "taught": "asked as taught"}
    rows = [[names[key], cell(sides["base"]), cell(sides["tuned"])] for key, sides in counted.items()]
    return show.table(rows, ["answered right", "base", "tuned"], (1, 2))


def _result(
    run: RunFolder, prepared: Prepared, history: History, asked: list[Asked], seconds: float
) -> dict[str, Any]:
    losses = [loss for loss in history.losses if loss is not None]
    held_out = [one.loss for one in history.evals if one.loss is not None]
    return {
        "run": run.name,
        "folder": str(run.path),
        "model": {"path": str(MODEL), "parameters": prepared.shape.parameters},
        "rows": {"taught": prepared.report["train_rows"], "held_out": prepared.report["eval_rows"]},
        "method": prepared.spec.method,
        "steps": history.step,
        "loss": {"first": losses[0], "last": losses[-1]} if losses else None,
        "held_out_loss": {"first": held_out[0], "last": held_out[-1]} if held_out else None,
        "scores": scores(asked),
        "answers": [
            {
                "question": one.question.prompt,
                "kind": one.question.kind,
                "side": one.side,
                "answer": one.answer,
                "right": one.right,
            }
            for one in asked
        ],
        "training_seconds": history.last.seconds if history.last else None,
        "seconds": seconds,
    }


def _what_next(run: RunFolder, runs: Path | None, seconds: float) -> str:
    where = f" --runs {runs}" if runs else ""
    return show.pairs(
        [
            ("all of it", f"{duration(seconds)}"),
            ("ask it yourself", f"finetui chat {run.name}{where}"),
            ("see the run", f"finetui attach {run.name}{where}"),
            ("train your own", "finetui"),
        ]
    )
