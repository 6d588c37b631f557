"""Whether the turns of a conversation follow one another as templates and models expect, and its tools."""

import json
from collections.abc import Iterator
from functools import lru_cache

from core.data.conversation import Conversation

NAMES = {"user": "a question", "assistant": "an answer", "tool": "a tool's result"}

Found = tuple[str, str]
"""code and detail"""


def find_turns(one: Conversation) -> tuple[Found, ...]:
    """What is odd in the order of the turns."""
    # a turn that calls a tool is a kind of its own: a tool's result may only follow it
    return _order(tuple("call" if turn.calls else turn.role for turn in one.messages))


@lru_cache(maxsize=4_096)
def _order(kinds: tuple[str, ...]) -> tuple[Found, ...]:
    found = dict(reversed(list(_odd(kinds))))  # of each code the first
    return tuple(found.items())


def _odd(kinds: tuple[str, ...]) -> Iterator[Found]:
    before = ""
    for place, kind in enumerate(kinds, 1):
        if kind == "system" and place > 1:
            yield "wrong_order", f"a system message as turn {place}"
        elif kind in ("assistant", "call") and before in ("", "system"):
            yield "wrong_order", "it begins with an answer"
        elif kind == "tool" and before not in ("call", "tool"):
            yield "wrong_order", f"turn {place} is a tool's result, but no tool was called"
        elif kind == before and kind in ("user", "assistant"):
            yield "repeated_role", f"turns {place - 1} and {place} are both {NAMES[kind]}"
        before = kind
    if before in ("user", "tool"):
        yield "unanswered_end", NAMES[before]


def find_tools(one: Conversation) -> Iterator[Found]:
    """What is wrong with the row's tools and with the calls of them."""
    names: set[str] = set()
    for schema in one.tools:
        try:
            names.add(_name(schema))
        except ValueError:
            yield "tool_json", "a tool's description is not a JSON object with a name"
            return
    for turn in (*one.messages, *one.rejected):
        for call in turn.calls:
            try:
                arguments = json.loads(call.arguments)
            except (ValueError, RecursionError):
                arguments = None
            if not isinstance(arguments, dict):
                yield "tool_json", "the arguments of a call are not a JSON object"
                return
            if names and call.name not in names:
                yield "unknown_tool", f"“{call.name[:40]}”"
                return


@lru_cache(maxsize=4_096)
def _name(schema: str) -> str:
    """Of a tool, given alone or as {type: function, function: …}. ValueError: neither."""
    try:
        tool = json.loads(schema)
        inner = tool.get("function", tool)
        return str(inner["name"])
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise ValueError(schema) from None
