"""What a dataset is, and what becomes of each of its rows."""

from pathlib import Path
from typing import Any

import pytest

from core.data.conversation import Conversation, Message
from core.data.findings import Tally
from core.data.formats.convert import content_of, convert, understand
from core.data.formats.recognise import TRAINED, Recognised, recognise
from core.data.sources import Row, open_source
from core.errors import UserError
from core.spec import SourceSpec

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


NOT_TRAINED: list[tuple[str, Row]] = [
    ("questions", {"turns": ["One?", "Two?"]}),
    ("questions", {"messages": [{"role": "user", "content": Q}]}),
    ("questions", {"question": Q, "id": 4}),
    ("unknown", {"one": "a", "two": "b", "three": "c"}),
    ("unknown", {"a": 1, "b": [2]}),
    ("unknown", {"chosen": A, "rejected": "No."}),
    ("unknown", {}),
]


@pytest.mark.parametrize(("format", "row"), NOT_TRAINED)
def test_what_is_not_trained_is_named(format: str, row: Row) -> None:
    found = recognise([row])
    assert found.format == format and found.format not in TRAINED and found.refusal and not found.roles


def read(row: Row, **spec: Any) -> tuple[Recognised, list[Conversation]]:
    said = SourceSpec(source="x", **spec)
    found = recognise([row], said)
    return found, convert([row], found, Tally(), said)


def pairs(one: Conversation) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in one.messages]


def test_two_columns_of_any_names_are_a_guess_that_is_told() -> None:
    for row, sure, prompt, answer in (
        ({"id": "1", "dialogue": Q, "summary": A, "topic": "x"}, 0.5, "dialogue", "summary"),
        ({"text": Q, "summary": A}, 0.5, "text", "summary"),
        ({"tgt": A, "src": Q}, 0.5, "src", "tgt"),
        ({"german": Q, "english": A}, 0.3, "german", "english"),
        ({"question": Q, "explanation": A, "id": 4}, 0.5, "question", "explanation"),
        ({"article": Q, "output": A, "url": "u"}, 1.0 / 2, "article", "output"),
    ):
        found, (one,) = read(row)
        assert (found.format, found.confidence) == ("completion", sure), row
        assert found.roles == {"prompt": prompt, "completion": answer} and one.messages == ASKED
        (guess,) = found.findings
        assert (guess.severity, guess.code) == ("warn", "guessed_columns")
        assert prompt in guess.message and answer in guess.message and "--column" in guess.todo
    found, _ = read({"body": "words"})
    assert (found.format, found.findings[0].code) == ("text", "guessed_columns")
    assert recognise([{"text": "t", "title": "x"}]).format == "text"


def test_mapping_by_hand() -> None:
    row = {"dialogue": Q, "summary": A, "topic": "x", "turns": ["a", "b"], "good": "yes", "bad": A}

    def mapped(**columns: str) -> Recognised:
        return recognise([row], SourceSpec(source="x", columns=columns))

    assert mapped(prompt="dialogue", completion="summary").format == "completion"
    assert mapped(prompt="dialogue", completion="summary", input="topic").format == "alpaca"
    assert mapped(text="dialogue").format == "text"
    assert mapped(prompt="dialogue", chosen="summary", rejected="bad").format == "preference"
    assert mapped(prompt="dialogue", completion="summary", label="good").format == "kto"
    found, (one,) = read(row, columns={"messages": "turns", "system": "topic"})
    assert pairs(one) == [("system", "x"), ("user", "a"), ("assistant", "b")] and found.fixed
    for columns, said in (
        ({"prompt": "dialog", "completion": "summary"}, "did you mean dialogue"),
        ({"prompt": "dialogue"}, "is not enough"),
        ({"messages": "dialogue"}, "holds no conversations"),
        ({"text": "dialogue", "completion": "summary"}, "do not go together"),
        ({"chosen": "summary", "rejected": "bad", "label": "good"}, "do not go together"),
    ):
        with pytest.raises(UserError, match="(?i)" + said):
            mapped(**columns)
    with pytest.raises(UserError, match="is not kto"):
        read(row, format="kto", columns={"prompt": "dialogue", "completion": "summary"})


def test_columns_beside_can_be_mapped_alone() -> None:
    found, (one,) = read({"prompt": Q, "completion": A, "persona": "Be kind."}, columns={"system": "persona"})
    assert found.roles == {"prompt": "prompt", "completion": "completion", "system": "persona"}
    assert pairs(one)[0] == ("system", "Be kind.")


def test_a_format_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="look like completion"):
        read({"prompt": Q, "completion": A}, format="messages")
    assert read({"prompt": Q, "completion": A, "text": "t"}, format="text")[0].roles == {"text": "text"}
    assert read({"prompt": Q, "completion": A}, format="alpaca")[0].format == "alpaca"


def test_columns_that_only_some_rows_have_are_of_all() -> None:
    rows: list[Row] = [{"instruction": Q, "output": A}] * 3 + [{"instruction": Q, "output": A, "input": "x"}]
    found = recognise(rows)
    assert (found.format, found.confidence, found.roles["input"]) == ("alpaca", 1.0, "input")
    assert "input" in found.why
    tally = Tally()
    assert [one.messages[0].content for one in convert(rows, found, tally)] == [Q, Q, Q, f"{Q}\n\nx"]
    assert not tally.findings(4)


def test_what_could_be_prompt_or_answer_as_well_is_told() -> None:
    row = {"problem": Q, "solution": "Long.", "answer": A, "instruction": "Think."}
    found, _ = read(row)
    prompt, answer = found.findings
    assert "problem could be" in prompt.message and "solution could be" in answer.message
    assert answer.remedies[0].change["data.columns"]["completion"] == "solution"
    _, (one,) = read(row, instruction=prompt.remedies[0].change["data.instruction"])
    assert one.messages[0].content == f"Think.\n\n{Q}"


def test_labels_that_are_classes_are_no_verdicts() -> None:
    rows: list[Row] = [{"prompt": Q, "completion": A, "label": n % 3} for n in range(9)]
    assert recognise(rows).format == "completion"
    assert recognise(rows[:2]).format == "kto"


def test_rows_of_another_format_are_taken_along_and_told() -> None:
    rows: list[Row] = [{"instruction": Q, "input": "", "output": A} for n in range(6)]
    rows += [{"messages": []}, {"text": "x"}, {"Instruction": Q, "Output": A}]
    rows += [{"messages": [{"role": "user", "content": Q}, {"role": "assistant", "content": A}]}]
    rows += [{"prompt": Q, "chosen": A, "rejected": "No."}, {"dialogue": Q, "summary": A}, {}]
    found, tally = recognise(rows), Tally()
    kept = convert(rows, found, tally)
    assert [one.row for one in kept] == [1, 2, 3, 4, 5, 6, 9, 10]
    assert all(one.messages == ASKED for one in kept)
    findings = {finding.code: finding for finding in tally.findings(len(rows))}
    assert {code: one.rows for code, one in findings.items()} == {
        "other_schema": (7, 8, 11, 12, 13),
        "mixed_formats": (9, 10),
    }
    assert (findings["other_schema"].severity, findings["mixed_formats"].severity) == ("stop", "warn")
    assert findings["other_schema"].remedies[0].change == {"data.drop": ["other_schema"]}
    assert "columns Instruction, Output" in findings["mixed_formats"].message


def test_a_format_that_was_set_is_the_only_one() -> None:
    rows: list[Row] = [{"prompt": Q, "completion": A}] * 3 + [{"question": Q, "answer": A}]
    said, tally = SourceSpec(source="x", format="completion"), Tally()
    assert len(convert(rows, recognise(rows, said), tally, said)) == 3
    assert [(one.code, one.rows) for one in tally.findings(4)] == [("other_schema", (4,))]


def test_rows_of_another_kind_are_left_out_when_asked() -> None:
    rows: list[Row] = [{"prompt": Q, "completion": A}] * 3 + [{"text": "t"}]
    found, tally = recognise(rows), Tally()
    kept = [understand(row, n, found, tally, drop=["other_schema"]) for n, row in enumerate(rows, 1)]
    assert kept[3] is None and all(kept[:3])
    assert [(one.severity, one.code, one.rows) for one in tally.findings(4)] == [("info", "left_out", (4,))]


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


def test_the_fingerprint_is_of_the_content() -> None:
    one = convert(rows := [{"prompt": Q, "completion": A}], recognise(rows), Tally())
    other = convert(rows := [{"question": Q, "answer": A}], recognise(rows), Tally())
    more = convert(rows := [{"prompt": Q, "completion": A + " "}], recognise(rows), Tally())
    assert content_of(one[0]) == content_of(other[0]) != content_of(more[0])


# file, rows (None: a text, which is read in pieces), format as the shared material's README tells them
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
    ("llamafactory/wiki_demo.txt", None, "text"),
    ("llamafactory/dpo_en_demo.json", 300, "preference"),
    ("llamafactory/dpo_zh_demo.json", 300, "preference"),
    ("llamafactory/kto_en_demo.json", 300, "kto"),
    ("llamafactory/glaive_toolcall_en_demo.json", 300, "sharegpt"),
    ("llamafactory/glaive_toolcall_zh_demo.json", 300, "sharegpt"),
    ("llamafactory/reason_tool_use_demo_50.jsonl", 50, "messages"),
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
    ("rasbt/the-verdict.txt", None, "text"),
    ("tinyshakespeare/input.txt", None, "text"),
    ("tinystories/tinystories_1000.json", 1000, "text"),
    ("torchtune/alpaca_tiny.json", 100, "alpaca"),
    ("torchtune/chat_tiny.json", 1, "sharegpt"),
    ("torchtune/hh_rlhf_tiny.json", 1, "preference"),
    ("torchtune/instruct_tiny.json", 2, "completion"),
    ("torchtune/stack_exchange_paired_tiny.json", 25, "preference"),
]


@pytest.mark.parametrize(("name", "count", "format"), LISTED)
def test_real_datasets(name: str, count: int | None, format: str, shared: Path) -> None:
    rows = list(open_source(SourceSpec(source=str(shared / "data" / name))).rows())
    found, tally = recognise(rows), Tally()
    assert found.format == format and count in (None, len(rows))
    if format not in TRAINED:
        return
    assert found.confidence == 1.0
    kept = convert(rows, found, tally)
    lost = {finding.code: len(finding.rows) for finding in tally.findings(len(rows))}
    # four transcripts end with "Assistant:" and nothing after it
    assert len(kept) == len(rows) - (4 if name.startswith("hh-rlhf") else 0)
    assert set(lost) <= {"no_answer"} and lost.get("no_answer", 0) == len(rows) - len(kept)
    assert all((found.objective == "dpo") == bool(one.rejected) for one in kept)
    assert all((found.objective == "kto") == (one.label is not None) for one in kept)


def test_a_registry_of_datasets_is_none(shared: Path) -> None:
    with pytest.raises(UserError, match="no rows"):
        list(open_source(SourceSpec(source=str(shared / "data/llamafactory/dataset_info.json"))).rows())
