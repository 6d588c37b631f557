"""Turns one row of any recognised format into one kind of thing: a conversation, or plain text."""

import json
import math
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from core.data.conversation import Conversation, Message
from core.data.findings import Tally
from core.data.formats.columns import listed, verdict
from core.data.formats.preference import read_opening, read_pair, says_something
from core.data.formats.recognise import AUTO, TRAINED, Recognised, shape_of
from core.data.formats.tool_calls import Unreadable, read_schemas
from core.data.formats.turns import Note, from_json, read_text, read_turns
from core.data.formats.wording import fill, made_prompt, put_before
from core.data.sources.source import Row
from core.spec import SourceSpec

SURE = 0.5
"""A single row of another format is read by itself if that is surer than this."""
CORE = ("messages", "prompt", "completion", "text", "chosen", "rejected", "label")


def understand(
    row: Row,
    number: int,
    found: Recognised,
    tally: Tally,
    spec: SourceSpec = AUTO,
    drop: Collection[str] = (),
) -> Conversation | None:
    """One row, by its number from 1, as it is to be learned; None, and noted in `tally`, where it cannot be.

    `found` is what `recognise` said of the source. Nothing is remembered from row to row. `drop`: codes
    whose rows the user wants left out, so that what is lost to them is no finding.
    """

    def note(code: str, detail: str) -> None:
        if code not in drop:
            tally.note(code, number, detail)

    try:
        one = _read(row, number, found, spec, note)
    except Unreadable as problem:
        if problem.code in drop:
            tally.leave_out(problem.code, number)
        else:
            tally.note(problem.code, number, problem.detail)
        return None
    return fill(one, spec.fill, note) if spec.fill else one


def convert(
    rows: Iterable[Row], found: Recognised, tally: Tally, spec: SourceSpec = AUTO
) -> list[Conversation]:
    """The rows that can be learned from, in order; every other row is noted in `tally`."""
    read = (understand(row, number, found, tally, spec) for number, row in enumerate(rows, 1))
    return [one for one in read if one is not None]


def content_of(one: Conversation) -> bytes:
    """All that is learned from a row, and nothing of where it stood."""
    turns = [[turn.role, turn.content, turn.learn, *_rest(turn)] for turn in one.messages]
    parts: list[Any] = [turns, one.text]
    if one.tools or one.rejected or one.label is not None or one.weight != 1:
        other = [[turn.role, turn.content, turn.learn, *_rest(turn)] for turn in one.rejected]
        parts += [one.tools, one.prompt, other, one.label, one.weight]
    return json.dumps(parts).encode()


def _rest(turn: Message) -> list[Any]:
    if not (turn.calls or turn.thought or turn.name or turn.call_id):
        return []
    return [
        [[call.name, call.arguments, call.id] for call in turn.calls],
        turn.name,
        turn.call_id,
        turn.thought,
    ]


def _read(row: Row, number: int, found: Recognised, spec: SourceSpec, note: Note) -> Conversation:
    if found.format not in TRAINED:
        raise Unreadable("no_answer", found.refusal)
    found = _fitting(row, found, note)
    weight = _weight(row, found)
    if found.format == "text":
        text = read_text(row[found.roles["text"]], note)
        if not text.strip():
            raise Unreadable("no_answer", "the text is empty")
        return Conversation(number, text=text, weight=weight)
    if found.format == "preference":
        one = _preference(row, number, found, spec, note)
    else:
        one = _conversation(row, number, found, spec, note)
    if "tools" in found.roles and (offered := row.get(found.roles["tools"])):
        one = replace(one, tools=read_schemas(offered))
    if weight == 1:
        return one
    if found.format in ("preference", "kto"):
        note("weight_unused", str(weight))
    return replace(one, weight=weight)


def _fitting(row: Row, found: Recognised, note: Note) -> Recognised:
    """`found`, or what the row is by itself where it has not the columns of the rest."""
    roles = found.roles
    needed = [roles[role] for role in CORE if role in roles]
    needed += [column for _, column in found.template if column]
    label = roles.get("label")
    if all(row.get(column) is not None or (column == label and label in row) for column in needed):
        return found
    own = None if found.fixed else shape_of(row)
    other = own is not None and own.format in TRAINED and own.confidence > SURE
    if own and other and (own.objective, own.format == "text") != (found.objective, found.format == "text"):
        raise Unreadable("other_schema", f"{own.format}, by {own.why}")
    if own and other and any(roles.get(role) != own.roles.get(role) for role in CORE):
        note("mixed_formats", f"{own.format}, by {own.why}")
        return own
    missing = next((column for column in needed if column not in row), None)
    if missing is not None and missing != roles.get("completion"):
        raise Unreadable("other_schema", f"the columns {listed(row) or 'of an empty row'}")
    return found


def _weight(row: Row, found: Recognised) -> float:
    if "weight" not in found.roles or (value := row.get(found.roles["weight"])) is None:
        return 1.0
    try:
        weight = float(value)
    except (TypeError, ValueError):
        weight = math.nan
    if weight == 0:
        raise Unreadable("no_answer", "its weight is 0")
    if not 0 < weight <= 1_000:
        raise Unreadable("bad_weight", str(value)[:40])
    return weight


def _system(row: Row, found: Recognised, turns: list[Message], note: Note) -> list[Message]:
    """`turns` behind the system column's words, unless they begin with these already."""
    words = read_text(row.get(found.roles["system"]), note) if "system" in found.roles else ""
    system = Message("system", words)
    return [system, *turns] if words.strip() and turns[:1] != [system] else turns


def _conversation(row: Row, number: int, found: Recognised, spec: SourceSpec, note: Note) -> Conversation:
    if "messages" in found.roles:
        turns = read_turns(row[found.roles["messages"]], note, alternate=found.fixed)
    else:
        turns = _pair(row, found, note)
    turns = _system(row, found, turns, note)
    if spec.instruction and not found.template:
        turns = put_before(spec.instruction, turns)
    if not any(says_something(turn) for turn in turns):
        raise Unreadable("no_answer", "the answer is empty")
    if found.format != "kto":
        return Conversation(number, tuple(turns))
    label = verdict(row.get(found.roles["label"]))
    if label is None:
        raise Unreadable("bad_label", str(row.get(found.roles["label"]))[:40])
    last = max(place for place, turn in enumerate(turns) if says_something(turn))
    if any(turn.role == "user" for turn in turns[last:]):
        note("unanswered_end", "a question")
    turns = turns[: last + 1]  # the verdict is on the last answer
    prompt = max((place + 1 for place, turn in enumerate(turns) if turn.role == "user"), default=0)
    if not prompt:
        raise Unreadable("no_prompt", "its answer stands alone")
    return Conversation(number, tuple(turns), prompt=prompt, label=label)


def _pair(row: Row, found: Recognised, note: Note) -> list[Message]:
    roles = found.roles
    completion = row.get(roles["completion"])
    if completion is None or (isinstance(completion, float) and math.isnan(completion)):
        why = "the answer is null" if roles["completion"] in row else f"it has no {roles['completion']}"
        raise Unreadable("no_answer", why)
    answer = read_turns(completion, note) if _are_turns(completion) else None
    if found.template:
        question = [Message("user", made_prompt(found.template, row, note))]
    else:
        question = _question(row, found, note)
    return [
        *_history(row, found, note),
        *question,
        *(answer or [Message("assistant", read_text(completion, note))]),
    ]


def _question(row: Row, found: Recognised, note: Note) -> list[Message]:
    prompt = row.get(found.roles["prompt"])
    if _are_turns(prompt):
        return read_turns(prompt, note)
    words = read_text(prompt, note)
    if "input" in found.roles and (given := read_text(row.get(found.roles["input"]), note)).strip():
        words = f"{words}\n\n{given}" if words.strip() else given
    return [Message("user", words)]


def _are_turns(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(turn, dict) and ("role" in turn or "from" in turn) for turn in value)


def _history(row: Row, found: Recognised, note: Note) -> list[Message]:
    """Alpaca's earlier turns: a list of [question, answer]."""
    value = from_json(row.get(found.roles["history"])) if "history" in found.roles else None
    if not value:
        return []
    if not isinstance(value, list) or not all(
        isinstance(pair, dict) or (isinstance(pair, list) and len(pair) == 2) for pair in value
    ):
        raise Unreadable("bad_turns", "its history is not a list of [question, answer]")
    return read_turns(value, note)


def _preference(row: Row, number: int, found: Recognised, spec: SourceSpec, note: Note) -> Conversation:
    roles = found.roles
    opening: list[Message] = []
    if found.template:
        opening = [Message("user", made_prompt(found.template, row, note))]
    elif "messages" in roles:
        opening = read_turns(row[roles["messages"]], note)
    elif "prompt" in roles:
        prompt = row.get(roles["prompt"])
        beside = "input" in roles and isinstance(prompt, str)
        opening = _question(row, found, note) if beside else read_opening(prompt, note)
    opening = _system(row, found, opening, note)
    messages, shared, rejected = read_pair(
        row.get(roles["chosen"]), row.get(roles["rejected"]), opening, note
    )
    if spec.instruction and not found.template:
        before = len(messages)
        messages = put_before(spec.instruction, messages)
        shared += len(messages) - before
    return Conversation(number, tuple(messages), prompt=shared, rejected=tuple(rejected))
