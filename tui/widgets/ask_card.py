"""The line that shows a measurement or a trace being made, and the words for what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual import work
from textual.message import Message
from textual.worker import Worker

from core.errors import UserError
from core.numbers import count, gib, number, percent
from tui import ask_card
from tui.model_list import SHOWN
from tui.widgets.progress_line import ProgressLine

if TYPE_CHECKING:
    from core.plan.advise import Plan
    from tui.ask_card import Answer
    from tui.journey import Journey

WORDS = {
    "load": "loading",
    "download": "downloading the model",
    "tokenise": "counting tokens",
    "reference": "what it says before it learns",
    "compile": "compiling the layers",
    "first step": "the first step",
    "train": "steps",
    "evaluate": "held-out rows",
    "save": "saving",
}
"""What the worker's words for its stages mean here."""
KINDS = {"trace": "traced", "measured": "measured"}


class AskCard(ProgressLine):
    """One thing is asked at a time; leaving the screen ends it, and with it the process that answers."""

    class Answered(Message):
        def __init__(self, answer: Answer) -> None:
            super().__init__()
            self.answer = answer

    class Failed(Message):
        """`line`: why, in one."""

        def __init__(self, line: str) -> None:
            super().__init__()
            self.line = line

    _worker: Worker[None] | None = None
    asking = ""
    """measure, trace, or nothing."""

    def ask(self, journey: Journey, method: str, *, trace: bool) -> None:
        self.stop()
        self.asking = "trace" if trace else "measure"
        self._worker = self._ask(journey, method, trace)

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            self._over()

    def _over(self) -> None:
        self._worker, self.asking = None, ""
        self.quiet()

    @work(group="ask-card", exclusive=True)
    async def _ask(self, journey: Journey, method: str, trace: bool) -> None:
        doing = f"{'tracing' if trace else 'measuring'} {SHOWN[method]}"

        def tell(stage: str, done: int, total: int | None) -> None:
            if self.asking:
                self.progress(f"{doing}: {WORDS.get(stage, stage)}", done, total)

        tell("starting", 0, None)
        made = ask_card.traced if trace else ask_card.measured
        try:
            answer = await made(journey, method, tell)
        except UserError as error:
            self._over()
            # its advice is for the command where a trace is refused
            self.post_message(self.Failed(f"✗ {error.what}: {error.why}" if trace else f"✗ {error.line()}"))
            return
        except OSError as error:
            self._over()
            self.post_message(self.Failed(f"✗ nothing could be asked: {error.strerror or error}"))
            return
        self._over()
        self.post_message(self.Answered(answer))


def told(answer: Answer, plan: Plan | None) -> str:
    """What came of it, on one line."""
    name = SHOWN[answer.method]
    others = f" · others held {answer.others}" if answer.others else ""
    if answer.estimate is None:
        nor = ", ".join(f"{key} {_plain(after)}" for key, (_, after) in answer.changed.items())
        return f"✗ {name} does not fit{f', nor with {nor}' if nor else ''}: {answer.why}{others}"
    found, plain = answer.estimate, answer.plain
    off = plain.peak / found.peak - 1
    beside = f"{percent(abs(off))} {'over' if off >= 0 else 'under'}"
    other = " with other settings" if answer.changed else ""
    said = f"{KINDS[found.kind]}{other}: {name} {gib(found.peak)}"
    said += f", {count(answer.speed)} tokens/s" if answer.speed else ""
    said += f" · closed form {gib(plain.peak)}, {beside}"
    if not answer.changed and plan is not None and plan.of(answer.method).estimate != found:
        said += " · the plan chose anew since"
    if answer.unkept:
        said += f" · not kept: {answer.unkept}"
    return said + others


def offer(answer: Answer) -> str:
    """What had to be changed, as a question needs it."""
    assert answer.estimate is not None
    changes = "\n".join(
        f"  {key:<11}{_plain(before)} → {_plain(after)}" for key, (before, after) in answer.changed.items()
    )
    return (
        f"{SHOWN[answer.method]} does not fit as it is. It fits with\n\n{changes}\n\n"
        f"and takes {gib(answer.estimate.peak)} at its fullest moment. A step learns from the same rows."
    )


def _plain(value: Any) -> str:
    return number(value) if isinstance(value, int | float) else str(value)
