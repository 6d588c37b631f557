"""Reads the tools that a row offers and the calls that its turns make, in any of the usual shapes."""

import json
from typing import Any

from core.data.conversation import ToolCall


class Unreadable(Exception):
    """A row that is left out."""

    def __init__(self, code: str, detail: str):
        super().__init__(code, detail)
        self.code, self.detail = code, detail


def read_calls(value: Any) -> tuple[ToolCall, ...]:
    """The calls of a turn: one or a list, as objects or JSON text. Unreadable `tool_json`: broken."""
    if isinstance(value, str):
        value = _parsed(value, "a tool call")
    calls = value if isinstance(value, list) else [value]
    if not calls:
        raise Unreadable("tool_json", "a tool call is empty")
    return tuple(_call(call) for call in calls)


def _call(call: Any) -> ToolCall:
    if isinstance(call, str):
        call = _parsed(call, "a tool call")
    if not isinstance(call, dict):
        raise Unreadable("tool_json", "a tool call is not an object with a name and arguments")
    inner = call["function"] if isinstance(call.get("function"), dict) else call
    name = next((inner[key] for key in ("name", "function", "tool_name") if inner.get(key)), None)
    if not isinstance(name, str):
        raise Unreadable("tool_json", "a tool call has no name")
    given = next((inner[key] for key in ("arguments", "parameters", "input", "args") if key in inner), None)
    number = call.get("id", call.get("call_id"))
    return ToolCall(name, _arguments(given, name), str(number) if number else None)


def _arguments(given: Any, name: str) -> str:
    """JSON text of an object; text that is one is kept as it was written."""
    if given is None or (isinstance(given, str) and not given.strip()):
        return "{}"
    if not isinstance(given, str):
        found, text = given, json.dumps(given, ensure_ascii=False, default=str)
    else:
        found, text = _parsed(given, f"the arguments of {name}"), given
        if isinstance(found, str):  # written as JSON twice over
            found, text = _parsed(found, f"the arguments of {name}"), found
    if not isinstance(found, dict):
        raise Unreadable("tool_json", f"the arguments of {name} are no object")
    return text


def read_schemas(value: Any) -> tuple[str, ...]:
    """JSON text of each tool on offer, as {"type": "function", "function": {...}}, the usual way.

    `value` is a list or a single tool, as objects or JSON text. Unreadable `tool_json`: broken.
    """
    if isinstance(value, str):
        value = _parsed(value, "the list of tools") if value.strip() else None
    if value is None or value == [] or value == {}:
        return ()
    tools = value if isinstance(value, list) else [value]
    return tuple(json.dumps(_schema(tool), ensure_ascii=False, default=str) for tool in tools)


def _schema(tool: Any) -> dict[str, Any]:
    if isinstance(tool, str):
        tool = _parsed(tool, "a tool")
    if isinstance(tool, dict) and isinstance(tool.get("function"), dict):
        if tool["function"].get("name"):
            return {"type": "function", **tool}
    elif isinstance(tool, dict) and tool.get("name"):
        bare = {key: part for key, part in tool.items() if (key, part) != ("type", "function")}
        return {"type": "function", "function": bare}
    raise Unreadable("tool_json", "a tool on offer has no name")


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        why = f"{what} cannot be read as JSON ({error.msg} at character {error.pos + 1})"
        raise Unreadable("tool_json", why) from None
    except (ValueError, RecursionError):
        raise Unreadable("tool_json", f"{what} cannot be read as JSON") from None
