"""Turns rows of any recognised format into one kind of thing: conversations (or plain text)."""

import hashlib
import json
import math
import re
from typing import Any

from core.data.conversation import Conversation, Message
from core.data.files import Row
from core.data.findings import Tally
from core.data.recognise import Recognised

ROLES = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "question": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "system": "system",
    "developer": "system",
}


class _Unreadable(Exception):
    """A row that is left out; args: the finding's code and the detail."""


PLACEHOLDER = re.compile(r"\{\{ ?\w+ ?\}\}")


def convert(rows: list[Row], found: Recognised, tally: Tally) -> list[Conversation]:
    """The rows that can be learned from, in order; every other row is noted in `tally`."""
    conversations, seen = [], set()
    for number, row in enumerate(rows, 1):
        try:
            conversation = _row(row, number, found, tally)
        except _Unreadable as problem:
            tally.note(problem.args[0], number, problem.args[1])
            continue
        if conversation.text is None and not any(answer.strip() for answer in conversation.answers()):
            tally.note("no_answer", number, "the answer is empty")
            continue
        key = hash((conversation.messages, conversation.text))
        if key in seen:
            tally.note("duplicate", number)
        seen.add(key)
        for answer in conversation.answers():
            if held := PLACEHOLDER.search(answer):
                tally.note("placeholder", number, held.group())
        conversations.append(conversation)
    return conversations


def fingerprint(conversations: list[Conversation]) -> str:
    """sha256 of what would be trained on; two files with the same content have the same one."""
    digest = hashlib.sha256()
    for one in conversations:
        turns = [[turn.role, turn.content, turn.learn] for turn in one.messages]
        digest.update(json.dumps([turns, one.text]).encode() + b"\n")
    return digest.hexdigest()


def _row(row: Row, number: int, found: Recognised, tally: Tally) -> Conversation:
    roles = found.roles
    needed = [roles[role] for role in ("messages", "prompt", "text") if role in roles]
    if any(column not in row for column in needed):
        raise _Unreadable("other_schema", f"they have {', '.join(row) or 'no columns'}")
    if "text" in roles:
        text = _text(row[roles["text"]], number, tally)
        if not text.strip():
            raise _Unreadable("no_answer", "the text is empty")
        return Conversation(number, text=text)
    turns: list[Message] = []
    if "system" in roles and (system := _text(row.get(roles["system"]), number, tally)).strip():
        turns.append(Message("system", system))
    if "messages" in roles:
        turns += _turns(row[roles["messages"]], number, tally)
    else:
        turns += _pair(row, number, roles, tally)
    return Conversation(number, tuple(turns))


def _pair(row: Row, number: int, roles: dict[str, str], tally: Tally) -> list[Message]:
    prompt, completion = row[roles["prompt"]], row.get(roles["completion"])
    before = _history(row.get("history"), number, tally)
    if (
        isinstance(prompt, list)
        and isinstance(completion, list)
        and _are_turns(prompt)
        and _are_turns(completion)
    ):
        return [*before, *_turns([*prompt, *completion], number, tally)]
    if completion is None or (isinstance(completion, float) and math.isnan(completion)):
        why = "the answer is null" if roles["completion"] in row else f"it has no {roles['completion']}"
        raise _Unreadable("no_answer", why)
    question = _text(prompt, number, tally)
    if "input" in roles and (given := _text(row.get(roles["input"]), number, tally)).strip():
        question = f"{question}\n\n{given}" if question.strip() else given
    answer = _text(completion, number, tally)
    return [*before, Message("user", question), Message("assistant", answer)]


def _history(value: Any, number: int, tally: Tally) -> list[Message]:
    """Alpaca's earlier turns: a list of [question, answer]."""
    if not isinstance(value, list):
        return []
    turns: list[Message] = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:
            raise _Unreadable("bad_turns", "its history is not a list of [question, answer]")
        turns += [
            Message("user", _text(pair[0], number, tally)),
            Message("assistant", _text(pair[1], number, tally)),
        ]
    return turns


def _are_turns(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(turn, dict) and {"role", "from"} & turn.keys() for turn in value)


def _turns(value: Any, number: int, tally: Tally) -> list[Message]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise _Unreadable("bad_turns", "the conversation is text, not a list of turns") from None
    if not isinstance(value, list) or not value:
        raise _Unreadable("no_answer", "it has no turns")
    turns: list[Message] = []
    for place, turn in enumerate(value, 1):
        if not isinstance(turn, dict):
            raise _Unreadable("bad_turns", f"turn {place} is not an object")
        if "role" not in turn and "from" not in turn and {"user", "assistant"} & turn.keys():
            said = {
                name: turn[name] for name in ("system", "user", "assistant") if turn.get(name) is not None
            }
            turns += [Message(name, _text(words, number, tally)) for name, words in said.items()]
            continue
        spoken = str(turn.get("role", turn.get("from", ""))).lower()
        role = ROLES.get(spoken)
        if role is None:
            raise _Unreadable(
                "bad_turns", f"turn {place} is by {spoken or 'nobody'!r}, which is no known role"
            )
        if turn.get("tool_calls"):
            raise _Unreadable("bad_turns", f"turn {place} calls a tool, which this version does not train")
        words = _text(turn.get("content", turn.get("value", turn.get("text"))), number, tally)
        weight = turn.get("weight", turn.get("loss_weight", 1))
        turns.append(Message(role, words, learn=weight != 0))
    return turns


def _text(value: Any, number: int, tally: Tally) -> str:
    """The words of a field: text, typed parts joined, a number written out, nothing for null."""
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, int | float):
        tally.note("number_as_text", number)
        return str(value)
    if isinstance(value, list) and value and all(isinstance(part, dict) and "type" in part for part in value):
        other = next((part["type"] for part in value if part["type"] != "text"), None)
        if other is None:
            return "".join(str(part.get("text", part.get("value", ""))) for part in value)
        raise _Unreadable("not_text", f"a part of the type {other}")
    raise _Unreadable("not_text", f"a {'list' if isinstance(value, list) else 'nested object'}")
