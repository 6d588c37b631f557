"""Tools on offer, calls and results, however a dataset writes them."""

import json
from typing import Any

import pytest

from core.data.conversation import Message, ToolCall, as_turns
from core.data.findings import Tally
from core.data.formats.convert import convert
from core.data.formats.recognise import recognise
from core.data.sources import Row

Q, A, GOT = "Rain?", "No.", '{"rain": 0}'
SCHEMA = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
WRAPPED = {"type": "function", "function": SCHEMA}
U, B = {"role": "user", "content": Q}, {"role": "assistant", "content": A}
CALL = {"name": "weather", "arguments": {"city": "Köln"}}
TEXT = json.dumps(CALL["arguments"], ensure_ascii=False)


def said(turns: list[Any], **row: Any) -> tuple[list[Any], dict[str, tuple[int, ...]], Any]:
    rows: list[Row] = [{"messages": turns, **row}]
    tally = Tally()
    found = recognise(rows)
    return convert(rows, found, tally), {one.code: one.rows for one in tally.findings(1)}, found


def openai(arguments: Any, **call: Any) -> list[Any]:
    made = {"type": "function", "function": {"name": "weather", "arguments": arguments}, **call}
    return [{"role": "assistant", "content": None, "tool_calls": [made]}]


SHAPES: list[list[Any]] = [
    [{"from": "function_call", "value": json.dumps(CALL)}, {"from": "observation", "value": GOT}],
    [{"role": "tool_call", "content": json.dumps([CALL])}, {"role": "tool", "content": GOT}],
    [*openai(TEXT), {"role": "tool", "content": GOT}],
    [*openai({"city": "Köln"}), {"role": "function", "content": json.loads(GOT)}],
    [*openai(json.dumps(TEXT)), {"role": "tool", "content": [{"type": "text", "text": GOT}]}],
    [
        {"role": "assistant", "content": "", "tool_calls": json.dumps([CALL])},
        {"role": "ipython", "content": GOT},
    ],
    [{"role": "assistant", "function_call": {**CALL, "arguments": TEXT}}, {"role": "tool", "content": GOT}],
    [
        {"role": "assistant", "content": [{"type": "tool_call", "value": json.dumps(CALL)}]},
        {"role": "tool", "content": [{"type": "text", "value": GOT}]},
    ],
    [
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "name": "weather", "input": {"city": "Köln"}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "content": GOT}]},
    ],
]


@pytest.mark.parametrize("turns", SHAPES)
def test_a_call_and_its_result_in_every_shape(turns: list[Any]) -> None:
    first = {"from": "human", "value": Q} if "from" in turns[0] else U
    (one,), noted, _ = said([first, *turns, {"from": "gpt", "value": A} if "from" in first else B])
    call = one.messages[1]
    assert call.calls[0].name == "weather" and json.loads(call.calls[0].arguments) == {"city": "Köln"}
    assert (call.role, call.content) == ("assistant", "")
    assert one.messages[2] == Message("tool", GOT) and one.messages[3:] == (Message("assistant", A),)
    assert not noted
    assert as_turns(one.messages)[1]["tool_calls"][0]["function"]["arguments"] == {"city": "Köln"}


def test_ids_and_names_are_kept() -> None:
    turns = [
        U,
        *openai("", id="c1"),
        {"role": "tool", "content": "1", "tool_call_id": "c1", "name": "weather"},
        B,
    ]
    (one,), _, _ = said(turns)
    assert one.messages[1].calls == (ToolCall("weather", "{}", "c1"),)
    assert (one.messages[2].call_id, one.messages[2].name) == ("c1", "weather")


def test_a_call_alone_is_an_answer() -> None:
    (one,), noted, _ = said([U, *openai(TEXT)])
    assert len(one.messages) == 2 and not noted


@pytest.mark.parametrize("tools", [[SCHEMA], [WRAPPED], json.dumps([SCHEMA]), [json.dumps(WRAPPED)], SCHEMA])
def test_tools_on_offer(tools: Any) -> None:
    (one,), _, found = said([U, B], tools=tools)
    assert [json.loads(tool) for tool in one.tools] == [WRAPPED]
    assert found.roles["tools"] == "tools" and "tools" in found.why


@pytest.mark.parametrize("tools", ["[]", [], None, "", {}])
def test_no_tools_on_offer(tools: Any) -> None:
    (one,), noted, _ = said([U, B], tools=tools)
    assert one.tools == () and not noted


def test_broken_tools_are_named_by_row() -> None:
    rows: list[Row] = [{"messages": [U, B], "tools": [SCHEMA]}]
    rows += [
        {"messages": [U, B], "tools": tools} for tools in ('[{"name"', "search", [1], [{"type": "function"}])
    ]
    rows += [{"messages": [U, *openai(arguments)], "tools": []} for arguments in ('{"a"', "[1]", 3)]
    rows += [
        {"messages": [U, {"role": "function_call", "content": text}]} for text in ("{", "[]", '{"a": 1}')
    ]
    tally = Tally()
    assert [one.row for one in convert(rows, recognise(rows), tally)] == [1]
    (finding,) = tally.findings(len(rows))
    assert (finding.code, finding.rows) == ("tool_json", tuple(range(2, 12)))
    assert "the list of tools cannot be read as JSON" in finding.message
