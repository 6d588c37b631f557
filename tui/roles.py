"""What a column can be in each format, in a person's words, and what is wrong with a choice of columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

ROLES: dict[str, str] = {
    "prompt": "what is asked",
    "input": "more, put after what is asked",
    "completion": "the answer, which is learned",
    "messages": "a whole conversation, turn by turn",
    "chosen": "the answer that is preferred",
    "rejected": "the answer that is not",
    "label": "whether the answer is good: true or false",
    "system": "how to behave, said before all else",
    "history": "turns that came before",
    "tools": "what may be called",
    "text": "plain text, all of it learned",
    "weight": "how much the row counts",
}
"""Every role a column can play, and what it means."""

FORMATS: dict[str, tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]]] = {
    "completion": (
        "question and answer",
        ("prompt", "input", "completion", "system", "history", "weight"),
        (("prompt", "completion"),),
    ),
    "messages": ("a conversation", ("messages", "system", "tools", "weight"), (("messages",),)),
    "text": ("plain text", ("text", "weight"), (("text",),)),
    "preference": (
        "preferred answers",
        ("prompt", "messages", "chosen", "rejected", "system", "tools"),
        (("chosen", "rejected"),),
    ),
    "kto": (
        "good and bad answers",
        ("prompt", "completion", "messages", "label", "system", "tools"),
        (("messages", "label"), ("prompt", "completion", "label")),
    ),
}
"""Format -> what it is called, the roles that it has, and the sets of roles of which one must be there."""

SAME = {"alpaca": "completion", "sharegpt": "messages"}
"""Dialects whose columns play the roles of another format."""

PLACEHOLDER = re.compile(r"\{\{\s*(\w[\w .-]{0,30}?)\s*\}\}")


def family(format: str | None) -> str:
    """The format of FORMATS whose roles a recognised one has; "" where it has none."""
    known = SAME.get(str(format), str(format))
    return known if known in FORMATS else ""


def mistake(format: str, columns: Mapping[str, str], instruction: str = "") -> str:
    """What is wrong with a mapping of role to column, in one line; "" when it can be used."""
    name, roles, needed = FORMATS[format]
    have = set(columns) | ({"prompt"} if "{" in instruction and "prompt" in roles else set())
    missing = min(([role for role in one if role not in have] for one in needed), key=len)
    if missing:
        return f"{name}: choose the column for {' and '.join(missing)}"
    taken = list(columns.values())
    twice = next((column for column in taken if taken.count(column) > 1), "")
    return f'column "{twice}" plays two roles: one is enough' if twice else ""


def placeholders(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names in double braces that stand in the rows, in their order."""
    return list(dict.fromkeys(name for row in rows for name in PLACEHOLDER.findall(str(row))))
