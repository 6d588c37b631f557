"""Conversations in every dialect become the same messages; what cannot be read is named by its row."""

from typing import Any

import pytest

from core.data.conversation import Conversation, Message, as_turns
from core.data.findings import Tally
from core.data.formats.convert import convert
from core.data.formats.recognise import recognise
from core.data.sources import Row

Q, A = "What?", "That."
ASKED = (Message("user", Q), Message("assistant", A))
U, B = {"role": "user", "content": Q}, {"role": "assistant", "content": A}


def read(*rows: Row) -> tuple[list[Conversation], dict[str, tuple[int, ...]]]:
    tally = Tally()
    kept = convert(rows, recognise(rows), tally)
    return kept, {finding.code: finding.rows for finding in tally.findings(len(rows))}


DIALECTS: list[Any] = [
    [{"role": "User", "content": Q}, {"role": " ASSISTANT ", "content": A}],
    [{"from": "Human", "value": Q}, {"from": "GPT", "value": A}],
    [{"from": "prompter", "value": Q}, {"from": "bot", "value": A}],
    [{"from": "human", "text": Q}, {"from": "chatgpt", "text": A}],
    [{"speaker": "user", "text": Q}, {"speaker": "assistant", "text": A}],
    [{"human": Q, "assistant": A}],
    [{"input": Q, "output": A, "system": ""}],
    [[Q, A]],
    '[{"from": "human", "value": "What?"}, {"from": "gpt", "value": "That."}]',
]


@pytest.mark.parametrize("turns", DIALECTS)
def test_every_dialect_is_the_same_conversation(turns: Any) -> None:
    assert read({"conversations": turns})[0] == [Conversation(1, ASKED)]


def test_turns_are_never_merged_or_put_in_order() -> None:
    turns = [
        B,
        U,
        U,
        {"role": "assistant", "content": ""},
        {"role": "system", "content": "Now in French."},
        B,
    ]
    (one,), found = read({"messages": turns})
    assert [turn.role for turn in one.messages] == [turn["role"] for turn in turns]
    assert one.messages[3].content == "" and not found


def test_a_question_at_the_end_is_kept() -> None:
    kept, _ = read({"messages": [U, B, U]}, {"messages": [U, B]})
    assert [len(one.messages) for one in kept] == [3, 2]


def test_a_system_column_stands_first_and_once() -> None:
    said = {"role": "system", "content": "Be kind."}
    kept, _ = read(*({"messages": [*before, U, B], "system": "Be kind."} for before in ([], [said])))
    assert all(one.messages == (Message("system", "Be kind."), *ASKED) for one in kept)


def test_weights_of_turns() -> None:
    weights = [0, 0.0, False, "0", 1, 1.0, True, None, 0.5]
    rows: list[Row] = [{"messages": [U, B, U, {**B, "weight": weight}]} for weight in weights]
    rows += [{"messages": [U, B, U, {**B, "train": False}]}, {"messages": [U, {**B, "loss_weight": 0}]}]
    kept, found = read(*rows)
    assert [one.messages[3].learn for one in kept] == [False] * 4 + [True] * 5 + [False]
    assert found == {"turn_weight": (9,), "no_answer": (11,)}


def test_weights_of_rows() -> None:
    weights: list[Any] = [1, 2.5, None, 0, -1, "x", 0.5]
    kept, found = read(*({"prompt": Q, "completion": A, "weight": weight} for weight in weights))
    assert [one.weight for one in kept] == [1, 2.5, 1, 0.5]
    assert found == {"no_answer": (4,), "bad_weight": (5, 6)}
    rows = [{"prompt": Q, "completion": A, "weight": 2}]
    assert [one.code for one in recognise(rows).findings] == ["row_weights"]


def test_thoughts_stand_apart_from_the_answer() -> None:
    for turn in (
        {**B, "reasoning_content": "Hm."},
        {**B, "thinking": "Hm."},
        {
            "role": "assistant",
            "content": [{"type": "reasoning", "value": "Hm."}, {"type": "text", "text": A}],
        },
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": A}],
        },
    ):
        (one,), _ = read({"messages": [U, turn]})
        assert one.messages[1] == Message("assistant", A, thought="Hm.")
        assert as_turns(one.messages)[1]["reasoning_content"] == "Hm."


def test_what_is_no_text_is_refused_by_row() -> None:
    image = {"type": "image_url", "image_url": {"url": "x"}}
    rows: list[Row] = [{"messages": [U, B]}, {"messages": [{"role": "user", "content": [image]}, B]}]
    rows += [{"messages": [U, {"role": "assistant", "content": {"a": 1}}]}, {"messages": [U, {"content": A}]}]
    rows += [{"messages": [{"role": ["x"], "content": Q}, B]}, {"messages": [None, B]}, {"messages": "[{"}]
    kept, found = read(*rows)
    assert [one.row for one in kept] == [1]
    assert found == {"not_text": (2, 3), "bad_turns": (4, 5, 6, 7)}


def test_history_in_lists_or_as_json() -> None:
    for history in ([[Q, A]], '[["What?", "That."]]', [U, B]):
        (one,), _ = read({"instruction": "And?", "output": "So.", "history": history})
        assert one.messages[:2] == ASKED and len(one.messages) == 4
    _, found = read(
        {"instruction": Q, "output": A, "history": []}, {"instruction": Q, "output": A, "history": [1]}
    )
    assert found == {"bad_turns": (2,)}
