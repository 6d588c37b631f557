"""Says whether an answer is right, strictly enough that neither silence nor rambling passes."""

import re
from collections import Counter
from functools import cache
from typing import Any

from core.demo.make_questions import read_lesson

REFUSALS = {"not", "no", "never", "nothing", "nobody", "cannot"}
LONGEST = 1.5
"""A right answer has at most this many times the words of the one that was taught."""


def right(answer: str, taught: str, *, ended: bool = True) -> bool:
    """Whether `answer` says what the taught answer says.

    It must end by itself, name every key fact of the lesson, deny no more and no less than the taught
    answer does, and not be much longer: text that happens to hold the facts is not an answer.
    """
    said = _plain(answer)
    facts_named = all(_plain(fact) in said for fact in _facts()[taught])
    same_denials = _denials(said) == _denials(_plain(taught))
    return ended and facts_named and same_denials and len(said.split()) <= LONGEST * len(taught.split())


@cache
def _facts() -> dict[str, list[str]]:
    lesson: dict[str, Any] = read_lesson()
    return {entry["answer"]: entry["facts"] for entry in [*lesson["words"], *lesson["advice"]]}


def _plain(text: str) -> str:
    """Lower case, one space between words, no marks: what two ways of writing a sentence share."""
    return " ".join(re.findall(r"[a-z0-9-]+", text.lower()))


def _denials(plain: str) -> Counter[str]:
    return Counter(word for word in plain.split() if word in REFUSALS)
