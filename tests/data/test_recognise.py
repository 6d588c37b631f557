"""What a dataset is, and what becomes of each of its rows."""

from pathlib import Path
from typing import Any

import pytest

from core.data.conversation import Conversation, Message
from core.data.convert import convert, fingerprint
from core.data.files import Row
from core.data.findings import Tally
from core.data.load import load
from core.data.recognise import TRAINED, recognise
from core.errors import UserError

Q, A = "What?", "That."
ASKED = (Message("user", Q), Message("assistant", A))
SAME: list[tuple[str, Row]] = [
    ("messages", {"messages": [{"role": "user", "content": Q}, {"role": "assistant", "content": A}]}),
    ("messages", {"conversation": [{"role": "human", "content": Q}, {"role": "bot", "content": A}]}),
    (
        "messages",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "Wh"}, {"type": "text", "text": "at?"}],
                },
                {"role": "assistant", "content": [{"type": "text", "value": A}]},
            ]
        },
    ),
    (
        "messages",
        {"messages": '[{"role": "user", "content": "What?"}, {"role": "assistant", "content": "That."}]'},
    ),
    ("sharegpt", {"id": "1", "conversations": [{"from": "human", "value": Q}, {"from": "gpt", "value": A}]}),
    ("sharegpt", {"conversations": [{"from": "user", "value": Q}, {"from": "assistant", "value": A}]}),
    ("sharegpt", {"conversations": [{"user": Q, "assistant": A}]}),
    ("completion", {"prompt": Q, "completion": A}),
    ("completion", {"question": Q, "answer": A}),
    ("completion", {"Question": Q, "Answer": A}),
    ("completion", {"input": Q, "output": A, "source": "x"}),
    ("completion", {"instruction": Q, "response": A}),
    (
        "completion",
        {"prompt": [{"role": "user", "content": Q}], "completion": [{"role": "assistant", "content": A}]},
    ),
    ("alpaca", {"instruction": Q, "input": "", "output": A}),
    ("alpaca", {"instruction": Q, "input": None, "output": A, "text": "all of it"}),
    ("alpaca", {"instruction": Q, "context": "", "response": A, "category": "qa"}),
]


@pytest.mark.parametrize(("format", "row"), SAME)
def test_one_conversation_in_every_format(format: str, row: Row) -> None:
    found = recognise([row] * 3)
    assert (found.format, found.confidence) == (format, 1.0)
    assert convert([row], found, Tally()) == [Conversation(1, ASKED)]


def test_alpaca_with_input_system_and_history() -> None:
    row = {
        "instruction": "Add.",
        "input": "1, 2",
        "output": "3",
        "system": "Count.",
        "history": [["Hi", "Yes?"]],
    }
    turns = convert([row], recognise([row]), Tally())[0].messages
    assert [(turn.role, turn.content) for turn in turns] == [
        ("system", "Count."),
        ("user", "Hi"),
        ("assistant", "Yes?"),
        ("user", "Add.\n\n1, 2"),
        ("assistant", "3"),
    ]


def test_a_weight_of_zero_is_not_learned() -> None:
    row = {"messages": [{"role": "user", "content": Q}, {"role": "assistant", "content": A, "weight": 0}] * 2}
    row["messages"][3] = {"role": "assistant", "content": A, "loss_weight": 1.0}
    assert [turn.learn for turn in convert([row], recognise([row]), Tally())[0].messages][1::2] == [
        False,
        True,
    ]


REFUSED: list[tuple[str, Row]] = [
    ("preference", {"prompt": Q, "chosen": A, "rejected": "No."}),
    ("preference", {"conversations": [{"from": "human", "value": Q}], "chosen": {}, "rejected": {}}),
    ("preference", {"chosen_messages": [{"role": "user", "content": Q}], "rejected_messages": []}),
    ("kto", {"messages": [{"role": "user", "content": Q}], "label": True}),
    ("tools", {"messages": [{"role": "user", "content": Q}], "tools": "[{}]"}),
    ("tools", {"conversations": [{"from": "human", "value": Q}, {"from": "function_call", "value": "{}"}]}),
    ("questions", {"turns": ["One?", "Two?"]}),
    ("questions", {"question": Q, "id": 4}),
    ("unknown", {"title": "a", "body": "b"}),
]


@pytest.mark.parametrize(("format", "row"), REFUSED)
def test_what_is_not_trained_is_named(format: str, row: Row) -> None:
    found = recognise([row])
    assert found.format == format and found.format not in TRAINED and found.refusal


def test_mapping_by_hand() -> None:
    rows = [{"dialogue": "A: hi", "summary": "A greets.", "topic": "x"}]
    assert recognise(rows).format == "unknown"
    found = recognise(rows, "auto", {"prompt": "dialogue", "completion": "summary"})
    assert (
        found.format == "completion" and convert(rows, found, Tally())[0].messages[1].content == "A greets."
    )
    assert recognise(rows, "auto", {"text": "dialogue"}).format == "text"
    for columns, said in (
        ({"prompt": "dialog", "completion": "summary"}, "did you mean dialogue"),
        ({"prompt": "dialogue"}, "is not enough"),
        ({"messages": "dialogue"}, "holds no conversations"),
    ):
        with pytest.raises(UserError, match="(?i)" + said):
            recognise(rows, "auto", columns)


def test_a_format_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="look like completion"):
        recognise([{"prompt": Q, "completion": A}], "messages")
    assert recognise([{"prompt": Q, "completion": A, "text": "t"}], "text").roles == {"text": "text"}


def test_rows_that_differ_are_named() -> None:
    rows: list[Row] = [{"instruction": Q, "input": "", "output": f"{n}"} for n in range(6)]
    rows += [{"messages": []}, {"text": "x"}, {"Instruction": Q, "Output": A}]
    tally = Tally()
    kept = convert(rows, recognise(rows), tally)
    assert [one.row for one in kept] == [1, 2, 3, 4, 5, 6]
    finding = tally.findings(len(rows))[0]
    assert (finding.severity, finding.code, finding.rows) == ("stop", "other_schema", (7, 8, 9))
    assert "rows 7 to 9" in finding.message and "messages" in finding.message


def test_rows_that_teach_nothing_are_left_out_and_counted() -> None:
    answers: list[Any] = ["yes", "", "  ", None, float("nan"), 12, ["a"], {"b": 1}]
    rows: list[Row] = [{"question": f"{n}?", "answer": answer} for n, answer in enumerate(answers)]
    rows.append({"question": "9?"})
    tally = Tally()
    kept = convert(rows, recognise(rows), tally)
    assert [(one.row, one.answers()) for one in kept] == [(1, ["yes"]), (6, ["12"])]
    found = {finding.code: finding.rows for finding in tally.findings(len(rows))}
    assert found == {"no_answer": (2, 3, 4, 5, 9), "not_text": (7, 8), "number_as_text": (6,)}


def test_turns_that_cannot_be_read() -> None:
    rows: list[Row] = [{"messages": [{"role": "user", "content": Q}, {"role": "assistant", "content": A}]}]
    rows += [{"messages": [{"role": "wizard", "content": Q}]}, {"messages": ["hi"]}, {"messages": "hi"}]
    rows += [{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}]
    tally = Tally()
    assert [one.row for one in convert(rows, recognise(rows), tally)] == [1]
    found = {finding.code: finding.rows for finding in tally.findings(len(rows))}
    assert found == {"bad_turns": (2, 3, 4), "not_text": (5,)}
    assert "wizard" in tally.findings(5)[0].message


def test_repeats_and_placeholders_are_told() -> None:
    rows: list[Row] = [{"prompt": Q, "completion": A}, {"prompt": Q, "completion": "I am {{name}}."}] * 2
    tally = Tally()
    assert len(convert(rows, recognise(rows), tally)) == 4
    found = {finding.code: finding.rows for finding in tally.findings(4)}
    assert found == {"duplicate": (3, 4), "placeholder": (2, 4)}


def test_the_fingerprint_is_of_the_content() -> None:
    one = convert(rows := [{"prompt": Q, "completion": A}], recognise(rows), Tally())
    other = convert(rows := [{"question": Q, "answer": A}], recognise(rows), Tally())
    more = convert(rows := [{"prompt": Q, "completion": A + " "}], recognise(rows), Tally())
    assert fingerprint(one) == fingerprint(other) != fingerprint(more)


# file, rows, format as the shared material's README tells them
LISTED = [
    ("fastchat/dummy_conversation.json", 500, "sharegpt"),
    ("fastchat/mt_bench_question.jsonl", 80, "questions"),
    ("gsm8k/train.jsonl", 7473, "completion"),
    ("gsm8k/test.jsonl", 1319, "completion"),
    ("hh-rlhf/harmless-base-test.jsonl.gz", 2312, "preference"),
    ("litgpt/alpaca.json", 23, "alpaca"),
    ("litgpt/dolly.json", 12, "alpaca"),
    ("litgpt/longform_train.json", 17, "completion"),
    ("llamafactory/alpaca_en_demo.json", 999, "alpaca"),
    ("llamafactory/alpaca_zh_demo.json", 1000, "alpaca"),
    ("llamafactory/identity.json", 91, "alpaca"),
    ("llamafactory/c4_demo.jsonl", 300, "text"),
    ("llamafactory/wiki_demo.txt", 1, "text"),
    ("llamafactory/dpo_en_demo.json", 300, "preference"),
    ("llamafactory/dpo_zh_demo.json", 300, "preference"),
    ("llamafactory/kto_en_demo.json", 300, "kto"),
    ("llamafactory/glaive_toolcall_en_demo.json", 300, "tools"),
    ("llamafactory/glaive_toolcall_zh_demo.json", 300, "tools"),
    ("llamafactory/reason_tool_use_demo_50.jsonl", 50, "tools"),
    ("llamafactory/v1_sft_demo.jsonl", 500, "messages"),
    ("llamafactory/v1_dpo_demo.jsonl", 10, "preference"),
    ("minicpm/AdvertiseGenChatML_train.json", 9, "messages"),
    ("minicpm/alpaca_data_cleaned.json", 500, "alpaca"),
    ("mlx-wikisql/train.jsonl", 1000, "text"),
    ("mlx-wikisql/valid.jsonl", 100, "text"),
    ("mlx-wikisql/test.jsonl", 100, "text"),
    ("mlx-wwdc25/train.jsonl", 1800, "completion"),
    ("mlx-wwdc25/valid.jsonl", 144, "completion"),
    ("rasbt/instruction-data.json", 1100, "alpaca"),
    ("rasbt/instruction-data-with-preference.json", 1100, "alpaca"),
    ("rasbt/the-verdict.txt", 1, "text"),
    ("tinyshakespeare/input.txt", 1, "text"),
    ("tinystories/tinystories_1000.json", 1000, "text"),
    ("torchtune/alpaca_tiny.json", 100, "alpaca"),
    ("torchtune/chat_tiny.json", 1, "sharegpt"),
    ("torchtune/hh_rlhf_tiny.json", 1, "preference"),
    ("torchtune/instruct_tiny.json", 2, "completion"),
    ("torchtune/stack_exchange_paired_tiny.json", 25, "preference"),
]


@pytest.mark.parametrize(("name", "count", "format"), LISTED)
def test_real_datasets(name: str, count: int, format: str, shared: Path) -> None:
    rows = load(str(shared / "data" / name)).rows
    found = recognise(rows)
    assert (len(rows), found.format) == (count, format)
    if format in TRAINED:
        assert found.confidence == 1.0
        tally = Tally()
        assert len(convert(rows, found, tally)) == count
        assert not any(finding.severity == "stop" for finding in tally.findings(count))
