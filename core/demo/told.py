"""How the demo is told: what is here, both sides' answers beside each other, the score, and what next.

Everything here is text from figures, for a terminal of any width.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from core.cli.show import paint, table
from core.demo.measure import Asked
from core.demo.questions import taught_questions
from core.numbers import count, duration, percent

if TYPE_CHECKING:
    from core.prepare import Prepared

SUCH_AS = "What is LoRA?"
"""The row of the lesson that is shown of it."""
WIDEST = 108
"""Longer lines are hard to read on any terminal."""
NARROW = 64
"""Below this width, answers stand under each other."""
GAP = "   "
MISSED = 3
"""Wrong answers of the tuned side that are shown."""


def what_is_here(prepared: Prepared, width: int) -> str:
    machine, shape, report = prepared.machine, prepared.shape, prepared.report
    gpus = ", ".join(gpu.name or "a GPU" for gpu in machine.gpus if not gpu.error)
    one = next(one for one in taught_questions() if one.prompt == SUCH_AS)
    return facts(
        [
            ("machine", gpus or f"no GPU, and none is needed; {machine.cpus} CPU cores"),
            ("model", f"{count(shape.parameters)} parameters; it goes on with a text and does no more"),
            ("lesson", f"{report['train_rows']} questions and answers; {report['eval_rows']} more held out"),
            ("such as", f"{one.prompt} → {one.taught}"),
        ],
        width,
    )


def the_plan(prepared: Prepared, width: int) -> str:
    spec = prepared.spec
    seconds = next((one.seconds for one in prepared.plan.methods if one.method == spec.method), None)
    told = [
        ("method", f"{spec.method}, rank {spec.lora.rank}, template {spec.template}"),
        ("numbers", f"{spec.epochs:g} epochs, batch {spec.batch}, learning rate {spec.learning_rate:g}"),
    ]
    if seconds:
        told.append(("time", f"about {duration(seconds)} of training"))
    return facts(told, width)


def both(pair: Sequence[Asked], width: int) -> str:
    """A question, and under it what base and tuned made of it: beside each other where there is room."""
    base, tuned = pair
    question = paint("\n".join(textwrap.wrap(base.question.prompt, min(width, WIDEST))), "bold")
    column = width if width < NARROW else (min(width, WIDEST) - len(GAP)) // 2
    left = [(_side(base), "dim"), *((line, "dim") for line in textwrap.wrap(_flat(base), column))]
    right = [(_side(tuned), "good" if tuned.right else "warn")]
    right += [(line, "") for line in textwrap.wrap(_flat(tuned), column)]
    if width < NARROW:
        return "\n".join([question, *(_styled(line, style) for line, style in [*left, *right])])
    empty = ("", "")
    lines = [question]
    for place in range(max(len(left), len(right))):
        (text, style), (other, other_style) = (
            side[place] if place < len(side) else empty for side in (left, right)
        )
        lines.append((_styled(text.ljust(column), style) + GAP + _styled(other, other_style)).rstrip())
    return "\n".join(lines)


def score_table(counted: dict[str, dict[str, dict[str, Any]]], held_out_loss: dict[str, float] | None) -> str:
    """Right answers of both sides by kind, and the held-out loss before and after."""

    def cell(one: dict[str, Any]) -> str:
        return f"{one['right']:>2} of {one['asked']} {percent(one['share']):>6}"

    names = {"held_out": "right, asked in new words", "taught": "right, asked as taught"}
    rows = [[names[key], cell(sides["base"]), cell(sides["tuned"])] for key, sides in counted.items()]
    if held_out_loss:
        rows.append(["held-out loss", f"{held_out_loss['first']:.3g}", f"{held_out_loss['last']:.2g}"])
    return table(rows, ["", "base", "tuned"], (1, 2))


def missed(asked: Sequence[Asked], width: int) -> str:
    """What the tuned side got wrong, as it said it; "" where it got nothing wrong."""
    wrong = [one for one in asked if one.side == "tuned" and not one.right]
    told = [("missed", f"{one.question.prompt} → {_flat(one)}") for one in wrong[:MISSED]]
    if len(wrong) > MISSED:
        told.append(("", f"and {len(wrong) - MISSED} more"))
    return facts(told, width) if told else ""


def what_next(run: str, runs: str | None, seconds: dict[str, float], width: int) -> str:
    where = f" --runs {runs}" if runs else ""
    parts = ", ".join(f"{duration(spent)} {name}" for name, spent in seconds.items())
    return facts(
        [
            ("it took", f"{duration(sum(seconds.values()))}: {parts}"),
            ("ask it yourself", f"finetui chat {run}{where}"),
            ("see the run", f"finetui attach {run}{where}"),
            ("train your own", "finetui"),
        ],
        width,
    )


def facts(told: Sequence[tuple[str, str]], width: int) -> str:
    """Names and values in two columns, the values wrapped in theirs."""
    names = max(len(name) for name, _ in told)
    room = max(20, min(width, WIDEST) - names - 2)
    lines = []
    for name, value in told:
        first, *more = textwrap.wrap(value, room, break_long_words=False, break_on_hyphens=False)
        lines += [f"{paint(name.ljust(names), 'dim')}  {first}", *(" " * (names + 2) + line for line in more)]
    return "\n".join(lines)


def _side(one: Asked) -> str:
    return f"{one.side} {'✓' if one.right else '✗'}"


def _flat(one: Asked) -> str:
    """On one line, with an ellipsis where it had not come to an end."""
    return " ".join(one.answer.split()) + ("" if one.ended else "…") or "(nothing)"


def _styled(text: str, style: str) -> str:
    return paint(text, style) if style and text.strip() else text
