"""The demo: the whole way of a real run on what ships with finetui, and a measure of what it taught.

Nothing here is a shortcut: the spec is prepared, started, followed and chatted with as any other is.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.cli import show
from core.demo import told
from core.demo.measure import Asked, ask, scores
from core.demo.questions import HELD_OUT, TAUGHT, some_questions
from core.errors import UserError
from core.spec import RunSpec, parse_spec

if TYPE_CHECKING:
    from core.prepare import Prepared
    from core.runs.folder import RunFolder
    from core.runs.history import History

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
            "epochs": 8,
            # weights in thousands a layer want far larger steps than weights in millions
            "learning_rate": 5e-3,
            "evaluate": {"every": 70},
        },
        "the demo's spec",
    )


def run_demo(runs: Path | None = None, *, as_json: bool = False, each: int = ASKED) -> dict[str, Any]:
    """Train the demo and measure it; says what happens, or with `as_json` prints one object at the end.

    `each`: questions of each kind to ask both sides.
    UserError (code 1) when the run does not finish, or when Ctrl-C leaves it, which does not end it.
    """
    from core.runs.folder import runs_dir
    from core.runs.start import start

    say: Say = (lambda text: None) if as_json else show.say
    width = shutil.get_terminal_size().columns - 1
    clock = _Clock()
    say(_head("1  What is here"))
    prepared = _prepare(as_json)
    say(told.what_is_here(prepared, width))
    say(_head("\n2  The plan"))
    say(told.the_plan(prepared, width))
    prepared.refuse_if_stopped()
    clock.lap("preparing")

    run = start(prepared.spec, runs_dir(runs))
    say(_head("\n3  Training"))
    say(f"{run.name} runs by itself; Ctrl-C leaves it alone. Its folder:\n{run.path}")
    history = _follow(run, as_json)
    clock.lap("training")

    say(_head("\n4  Base beside tuned") + ", asked in words that no training row has")
    asked = _ask(run, each, say, width, as_json)
    clock.lap("asking")

    result = _result(run, prepared, history, asked, clock.laps)
    say(_head("\n5  What was learned"))
    say(told.score_table(result["scores"], result["held_out_loss"]))
    if wrong := told.missed(asked, width):
        say(wrong)
    say(_head("\n6  What next"))
    say(told.what_next(run.name, str(runs) if runs else None, clock.laps, width))
    if as_json:
        show.answer(result)
    return result


class _Clock:
    """Seconds of each part, by name."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name], self._last = now - self._last, now


def _head(text: str) -> str:
    return show.paint(text, "bold")


def _prepare(as_json: bool) -> Prepared:
    from core.prepare import prepare

    tell, wipe = show.progress(not as_json)
    try:
        return prepare(demo_spec(), tell)
    finally:
        wipe()


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


def _ask(run: RunFolder, each: int, say: Say, width: int, as_json: bool) -> list[Asked]:
    """Shows the first answers in full and only counts the others."""
    questions, asked = some_questions(each), list[Asked]()
    tell, wipe = show.progress(not as_json)
    tell("loading both", 0, None)
    try:
        for number, pair in enumerate(ask(run, questions), 1):
            asked += pair
            if number <= SHOWN:
                wipe()
                say("\n" + told.both(pair, width))
            tell("asking", number, len(questions))
    finally:
        wipe()
    return asked


def _result(
    run: RunFolder, prepared: Prepared, history: History, asked: list[Asked], laps: dict[str, float]
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
        "seconds": sum(laps.values()),
        "seconds_of": laps,
    }
