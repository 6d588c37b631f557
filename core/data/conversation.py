"""What every row becomes, whatever its format: a conversation, or plain text."""

import json
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True)
class ToolCall:
    name: str
    arguments: str
    """JSON text of an object."""
    id: str | None = None


@dataclass(frozen=True)
class Message:
    role: str
    """One of Role."""
    content: str
    learn: bool = True
    """False: an assistant's turn that is only context (a weight of 0 in the data)."""
    calls: tuple[ToolCall, ...] = ()
    """Tools that an assistant's turn calls."""
    name: str | None = None
    """Of the tool that a tool's turn answers for."""
    call_id: str | None = None
    thought: str | None = None
    """What the assistant thinks before it answers, where the data keep it apart from the answer."""


@dataclass(frozen=True)
class Conversation:
    """One row: `messages`, or `text` alone for plain text. `row` counts from 1 within its source.

    A preference has the chosen answer as the end of `messages` and the other one in `rejected`; the
    first `prompt` messages are what both answer. A KTO row has its verdict in `label`.
    """

    row: int
    messages: tuple[Message, ...] = ()
    text: str | None = None
    tools: tuple[str, ...] = ()
    """JSON text of each tool's schema."""
    weight: float = 1.0
    """How much the row's loss counts."""
    prompt: int = 0
    rejected: tuple[Message, ...] = ()
    label: bool | None = None
    source: int = 0
    """Which of the spec's sources it is from; 0 is the first."""

    def answers(self) -> list[str]:
        return [turn.content for turn in self.messages if turn.role == "assistant" and turn.learn]


def as_turns(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """Messages as chat templates take them: keys that are empty are left out, arguments are objects."""
    turns: list[dict[str, Any]] = []
    for one in messages:
        turn: dict[str, Any] = {"role": one.role, "content": one.content}
        if one.thought is not None:
            turn["reasoning_content"] = one.thought
        if one.calls:
            turn["tool_calls"] = [_call(call) for call in one.calls]
        if one.name is not None:
            turn["name"] = one.name
        if one.call_id is not None:
            turn["tool_call_id"] = one.call_id
        turns.append(turn)
    return turns


def _call(call: ToolCall) -> dict[str, Any]:
    inner = {"name": call.name, "arguments": json.loads(call.arguments)}
    return {"type": "function", "function": inner} | ({"id": call.id} if call.id else {})
