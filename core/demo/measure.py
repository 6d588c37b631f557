"""Asks base and tuned the same questions and counts what is right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from core.demo.questions import Question
from core.demo.score import right

if TYPE_CHECKING:
    from core.runs.folder import RunFolder

LONGEST_ANSWER = 36
"""Tokens; the longest answer of the lesson has 30."""

SIDES: tuple[Literal["base", "tuned"], ...] = ("base", "tuned")


@dataclass(frozen=True)
class Asked:
    """A question, and what one side made of it."""

    question: Question
    side: Literal["base", "tuned"]
    answer: str
    ended: bool
    """By itself, not at the most tokens."""
    right: bool


def ask(run: RunFolder, questions: list[Question]) -> Iterator[list[Asked]]:
    """Both sides' answers, a question at a time, asked as `finetui chat` asks, each with a seed of its own.

    The likeliest token each time would be no better for the tuned side (measured), and the base would
    babble the same sentence again and again.
    """
    from core.chat.blocking import BlockingChat
    from core.chat.talk import Settings

    with BlockingChat() as chat:
        chat.start(run=run.path)
        for seed, question in enumerate(questions):
            settings = Settings(max_tokens=LONGEST_ANSWER, seed=seed)
            turn = {"role": "user", "content": question.prompt}
            pair = []
            for side in SIDES:
                for _ in chat.generate([turn], side=side, settings=settings):
                    pass  # the whole answer is scored, so its pieces are of no interest
                assert chat.done
                ended = chat.done.stopped == "end"
                good = right(chat.done.answer, question.taught, ended=ended)
                pair.append(Asked(question, side, chat.done.answer, ended, good))
            yield pair


def scores(asked: list[Asked]) -> dict[str, dict[str, dict[str, Any]]]:
    """{"held_out" | "taught": {"base" | "tuned": {"asked", "right", "share"}}}"""
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for kind, key in (("held out", "held_out"), ("taught", "taught")):
        table[key] = {}
        for side in SIDES:
            of_it = [one for one in asked if one.side == side and one.question.kind == kind]
            good = sum(one.right for one in of_it)
            table[key][side] = {"asked": len(of_it), "right": good, "share": good / max(1, len(of_it))}
    return table
