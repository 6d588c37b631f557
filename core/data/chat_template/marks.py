"""Stand-in words: a conversation of the same form as a real one, with a mark in place of every text.

Rendered, it shows what a template writes by itself and in which order it puts what it is given.
"""

import json
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from core.data.conversation import Message, ToolCall

MARK = re.compile(r"qz(\d{5})zq")

Kind = Literal["words", "thought", "call", "call_id", "key", "argument", "name", "id"]
"""`call` is the name that is called; `name` and `id` are those that a tool's turn answers for."""


class Form(NamedTuple):
    """What of a message a template may ask about before it looks at the words."""

    role: str
    words: bool = True
    thought: bool = False
    calls: tuple[bool, ...] = ()
    """One for each call: whether it has an id."""
    name: bool = False
    call_id: bool = False


class Field(NamedTuple):
    """Whose text a mark stands for."""

    turn: int
    kind: Kind
    call: int = 0


def form_of(message: Message) -> Form:
    # an answer without words still has to be found, so it is marked as if it had some
    words = message.content != "" or (message.role == "assistant" and not message.calls)
    return Form(
        message.role,
        words,
        message.thought is not None,
        tuple(call.id is not None for call in message.calls),
        message.name is not None,
        message.call_id is not None,
    )


def text_of(field: Field, messages: Sequence[Message]) -> str:
    """What a mark stands for, of all but a call's arguments."""
    turn = messages[field.turn]
    if field.kind in ("call", "call_id"):
        call = turn.calls[field.call]
        return call.name if field.kind == "call" else call.id or ""
    of = {"words": turn.content, "thought": turn.thought, "name": turn.name, "id": turn.call_id}
    return of[field.kind] or ""


def mark_all(
    forms: Sequence[Form], real: Sequence[Message] | None = None
) -> tuple[list[Message], list[Field]]:
    """Messages of these forms, and for the number in each mark whose text it stands for.

    `real`: only the assistant's turns are marked, the others are these messages' own.
    """
    fields: list[Field] = []

    def mark(turn: int, kind: Kind, call: int = 0) -> str:
        # nine letters and digits, because some templates take only such a text as a call's id
        fields.append(Field(turn, kind, call))
        return f"qz{len(fields) - 1:05}zq"

    messages: list[Message] = []
    waiting: list[ToolCall] = []
    for turn, form in enumerate(forms):
        if real is not None and form.role != "assistant":
            messages.append(real[turn])
            continue
        calls = []
        for place, has_id in enumerate(form.calls):
            called = mark(turn, "call", place)
            identity = mark(turn, "call_id", place) if has_id else None
            arguments = {mark(turn, "key", place): mark(turn, "argument", place)}
            calls.append(ToolCall(called, json.dumps(arguments), identity))
        # templates look up the call that a tool answers, so its marks stand in the answer too
        asked = waiting.pop(0) if form.role == "tool" and waiting else None
        name = (asked.name if asked else mark(turn, "name")) if form.name else None
        call_id = ((asked and asked.id) or mark(turn, "id")) if form.call_id else None
        words = mark(turn, "words") if form.words else ""
        thought = mark(turn, "thought") if form.thought else None
        messages.append(
            Message(form.role, words, calls=tuple(calls), name=name, call_id=call_id, thought=thought)
        )
        waiting = calls or waiting
    return messages, fields
