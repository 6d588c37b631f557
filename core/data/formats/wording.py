"""Puts a user's own words into rows: an instruction around the prompt, and what stands for placeholders."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from core.data.conversation import Conversation, Message
from core.data.formats.turns import Note, read_text
from core.data.sources.source import Row
from core.errors import UserError, nearest

_FILLABLE = re.compile(r"\{\{\s*(\w[\w .-]{0,30}?)\s*\}\}")
_BRACED = re.compile(r"\{\{.*?\}\}|\{([^{}\n]+)\}", re.S)
_NAME = re.compile(r"[\w .-]+")

Parts = tuple[tuple[str, str | None], ...]
"""A template in pieces: literal text, then the column after it (None after the last)."""


def parts_of(instruction: str, columns: Iterable[str]) -> Parts:
    """The pieces of an instruction with {column} in it; () where it names none and only stands before.

    What is in double braces stays as it is, and so does what is no name. UserError: no such column.
    """
    there = list(columns)
    parts: list[tuple[str, str | None]] = []
    at = 0
    for match in _BRACED.finditer(instruction):
        name = match.group(1)
        if name is None or (name not in there and not _NAME.fullmatch(name)):
            continue
        if name not in there:
            near = nearest(name, there)
            todo = f"did you mean {{{near}}}?" if near else "name one of them, or write {{ and }} for braces"
            raise UserError(
                f"the instruction names {{{name}}}, which is no column",
                f"the columns are {', '.join(there[:8])}{', …' if len(there) > 8 else ''}",
                todo,
            )
        parts.append((instruction[at : match.start()], name))
        at = match.end()
    return (*parts, (instruction[at:], None)) if parts else ()


def made_prompt(parts: Parts, row: Row, note: Note) -> str:
    """The prompt that a template makes of a row; a column that is null or absent adds nothing."""
    return "".join(text + (read_text(row.get(column), note) if column else "") for text, column in parts)


def put_before(instruction: str, turns: list[Message]) -> list[Message]:
    """The instruction, a blank line, then the first question; before an answer where nothing is asked."""
    place = next((place for place, turn in enumerate(turns) if turn.role == "user"), None)
    if place is None:
        start = 1 if turns and turns[0].role == "system" else 0
        return [*turns[:start], Message("user", instruction), *turns[start:]]
    asked = turns[place].content
    words = f"{instruction}\n\n{asked}" if asked.strip() else instruction
    return [*turns[:place], replace(turns[place], content=words), *turns[place + 1 :]]


def fill(one: Conversation, words: Mapping[str, str], note: Note) -> Conversation:
    """`one` with {{name}} replaced wherever it stands; a row that changes is noted as `filled`."""
    changed: dict[str, Any] = {}
    if one.text is not None and "{{" in one.text:
        changed["text"] = _filled(one.text, words)
    for part in ("messages", "rejected"):
        turns: tuple[Message, ...] = getattr(one, part)
        if any("{{" in turn.content or (turn.thought and "{{" in turn.thought) for turn in turns):
            changed[part] = tuple(_turn(turn, words) for turn in turns)
    new = replace(one, **changed) if changed else one
    if new != one:
        note("filled", "")
    return new


def _turn(turn: Message, words: Mapping[str, str]) -> Message:
    thought = turn.thought if turn.thought is None else _filled(turn.thought, words)
    return replace(turn, content=_filled(turn.content, words), thought=thought)


def _filled(text: str, words: Mapping[str, str]) -> str:
    return _FILLABLE.sub(lambda match: words.get(match.group(1), match.group()), text)
