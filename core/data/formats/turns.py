"""Reads conversations in any dialect: role and content, from and value, pairs, tools, typed parts."""

import json
import math
from collections.abc import Callable
from typing import Any

from core.data.conversation import Message, ToolCall
from core.data.formats.tool_calls import Unreadable, read_calls

Note = Callable[[str, str], None]
"""Takes a finding's code and its detail, for the row that is being read."""

CALLS = "call"  # a turn that is a tool call as a whole
ROLES = {
    **dict.fromkeys(("user", "human", "prompter", "question"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "chatgpt", "chatbot", "model", "ai"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "tools", "observation", "function", "ipython"), "tool"),
    **dict.fromkeys(
        ("function_response", "function_result", "tool_response", "tool_result", "tool_output"), "tool"
    ),
    **dict.fromkeys(("function_call", "tool_call", "tool_calls"), CALLS),
}
SPEAKER = ("role", "from", "speaker", "author")
WORDS = ("content", "value", "text", "message")
THOUGHT = ("reasoning_content", "thinking", "reasoning", "thought")
# a turn that is a question with its answer: {"user": …, "assistant": …} and its like
ASKING = ("user", "human", "input", "question", "prompt")
ANSWERING = ("assistant", "gpt", "output", "answer", "response")
PLAIN_PARTS = ("text", "input_text", "output_text")


def dialect(value: Any) -> str | None:
    """messages, sharegpt or strings, if `value` is a conversation (or JSON text of one)."""
    value = from_json(value)
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(turn, dict) for turn in value):
        if "role" in value[0]:
            return "messages"
        if any(key in value[0] for key in SPEAKER) and any(key in value[0] for key in WORDS):
            return "sharegpt"
        return "sharegpt" if _is_pair(value[0]) else None
    if all(isinstance(turn, list) and len(turn) == 2 for turn in value):
        return "sharegpt" if all(isinstance(part, str) for turn in value for part in turn) else None
    return "strings" if all(isinstance(turn, str) for turn in value) else None


def has_answer(value: Any) -> bool:
    """Whether anyone but the user speaks in a conversation that `dialect` knows."""
    for turn in from_json(value):
        if not isinstance(turn, dict) or _is_pair(turn):
            return not isinstance(turn, str)
        if ROLES.get(_speaker(turn)) in ("assistant", CALLS):
            return True
    return False


def from_json(value: Any) -> Any:
    """The list that a text spells, as tables hold it; anything else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _is_pair(turn: dict[str, Any]) -> bool:
    if any(key in turn for key in SPEAKER):
        return False
    return any(key in turn for key in ASKING) and any(key in turn for key in ANSWERING)


def read_turns(value: Any, note: Note, *, alternate: bool = False) -> list[Message]:
    """The messages of a conversation. Unreadable: with the code and the reason why the row is left out.

    `alternate`: a list of texts is what user and assistant say in turn, which nothing in it tells.
    """
    value = from_json(value)
    if isinstance(value, str) and value.strip():
        raise Unreadable("bad_turns", "the conversation is text, not a list of turns")
    if not isinstance(value, list) or not value:
        raise Unreadable("no_answer", "it has no turns")
    if alternate and all(isinstance(turn, str) for turn in value):
        return [Message("assistant" if place % 2 else "user", turn) for place, turn in enumerate(value)]
    turns: list[Message] = []
    for place, turn in enumerate(value, 1):
        if isinstance(turn, list) and len(turn) == 2:
            turns.append(Message("user", read_text(turn[0], note)))
            turns.append(Message("assistant", read_text(turn[1], note)))
        elif not isinstance(turn, dict):
            raise Unreadable("bad_turns", f"turn {place} is not an object")
        elif _is_pair(turn):
            turns += _pair(turn, note)
        else:
            _read_turn(turn, place, note, turns)
    return turns


def _pair(turn: dict[str, Any], note: Note) -> list[Message]:
    found = []
    for role, names in (("system", ("system",)), ("user", ASKING), ("assistant", ANSWERING)):
        said = next((turn[name] for name in names if turn.get(name) is not None), None)
        if said is not None and (role != "system" or said != ""):
            found.append(Message(role, read_text(said, note)))
    return found


def _speaker(turn: dict[str, Any]) -> str:
    spoken = next((turn[key] for key in SPEAKER if turn.get(key) is not None), "")
    return spoken.strip().lower().replace("-", "_") if isinstance(spoken, str) else str(spoken)[:40]


def _read_turn(turn: dict[str, Any], place: int, note: Note, turns: list[Message]) -> None:
    spoken = _speaker(turn)
    role = ROLES.get(spoken)
    if role is None:
        raise Unreadable(
            "bad_turns", f"turn {place} is by {spoken[:40] or 'nobody'!r}, which is no known role"
        )
    said = next((turn[key] for key in WORDS if turn.get(key) is not None), None)
    if role == CALLS:
        turns.append(Message("assistant", "", learned(turn, note), read_calls(said)))
    elif role == "tool":
        name, number = turn.get("name"), turn.get("tool_call_id")
        words = _result(said, note)
        turns.append(Message("tool", words, name=_or_none(name), call_id=_or_none(number)))
    else:
        thought: Any = None
        calls: tuple[ToolCall, ...] = ()
        if isinstance(said, list):
            words, thought, calls = _parts(said, note, turns)
        else:
            words = read_text(said, note)
        if role != "assistant":
            if words or said is None or not isinstance(said, list) or not _only_results(said):
                turns.append(Message(role, words))
            return
        if len(turn) > 2 or said is None:  # more than who says what
            for key in ("tool_calls", "function_call"):
                calls += read_calls(turn[key]) if turn.get(key) else ()
            thought = thought or next((turn[key] for key in THOUGHT if turn.get(key)), None)
            thought = None if thought is None else read_text(thought, note)
        turns.append(Message(role, words, learned(turn, note), calls, thought=thought))


def _or_none(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _result(said: Any, note: Note) -> str:
    """What a tool gave back: text, or an object as the JSON that it is."""
    if isinstance(said, dict) or (isinstance(said, list) and not _are_parts(said)):
        return json.dumps(said, ensure_ascii=False, default=str)
    return read_text(said, note)


def learned(turn: dict[str, Any], note: Note) -> bool:
    """Whether a turn's weight leaves it to be learned; only 0 and 1 are told apart."""
    for key in ("weight", "loss_weight", "train"):
        weight = turn.get(key)
        if weight is None:
            continue
        if weight in (0, "0", "0.0", "false", "False"):
            return False
        if weight not in (1, "1", "1.0", "true", "True"):
            note("turn_weight", str(weight)[:40])
    return True


def _are_parts(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(part, dict) and "type" in part for part in value)


def _only_results(parts: list[Any]) -> bool:
    return bool(parts) and all(isinstance(part, dict) and part.get("type") == "tool_result" for part in parts)


def _parts(
    parts: list[Any], note: Note, turns: list[Message]
) -> tuple[str, str | None, tuple[ToolCall, ...]]:
    """Words, thought and calls of a turn in typed parts; results of tools in it become turns before it."""
    if not parts:
        return "", None, ()
    if not _are_parts(parts):
        raise Unreadable("not_text", "a list")
    words, thoughts = [], []
    calls: tuple[ToolCall, ...] = ()
    for part in parts:
        kind = part["type"]
        if kind in PLAIN_PARTS:
            words.append(read_text(part.get("text", part.get("value")), note))
        elif kind in ("reasoning", "thinking"):
            thoughts.append(read_text(part.get(kind, part.get("value", part.get("text"))), note))
        elif kind in ("tool_call", "tool_use"):
            calls += read_calls(part.get("value", part))
        elif kind == "tool_result":
            number = _or_none(part.get("tool_use_id"))
            turns.append(Message("tool", _result(part.get("content"), note), call_id=number))
        else:
            raise Unreadable("not_text", f"a part of the type {str(kind)[:40]}")
    return "".join(words), "".join(thoughts) or None, calls


def read_text(value: Any, note: Note) -> str:
    """The words of a field: text, typed parts joined, a number written out, nothing for null."""
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, int | float):
        note("number_as_text", "")
        return str(value)
    if isinstance(value, list) and _are_parts(value):
        other = next((part["type"] for part in value if part["type"] not in PLAIN_PARTS), None)
        if other is None:
            return "".join(str(part.get("text", part.get("value", ""))) for part in value)
        raise Unreadable("not_text", f"a part of the type {str(other)[:40]}")
    raise Unreadable("not_text", f"a {'list' if isinstance(value, list) else 'nested object'}")
