"""Two answers to one prompt, and verdicts on one answer, in every shape that people store them in."""

from typing import Any

import pytest

from core.data.conversation import Message
from core.data.findings import Tally
from core.data.formats.convert import convert
from core.data.formats.recognise import recognise
from core.data.sources import Row
from core.spec import SourceSpec

Q, A, N = "What?", "That.", "Nothing."
U, GOOD, BAD = Message("user", Q), Message("assistant", A), Message("assistant", N)


def turns(*said: str) -> list[Any]:
    roles = {Q: "user", A: "assistant", N: "assistant"}
    return [{"role": roles.get(words, "user"), "content": words} for words in said]


def read(*rows: Row, **spec: Any) -> tuple[list[Any], dict[str, tuple[int, ...]], Any]:
    said, tally = SourceSpec(source="x", **spec), Tally()
    found = recognise(rows, said)
    return convert(rows, found, tally, said), {one.code: one.rows for one in tally.findings(len(rows))}, found


SHAPES: list[Row] = [
    {"prompt": Q, "chosen": A, "rejected": N},
    {"question": Q, "chosen": A, "rejected": N, "id": 3},
    {"instruction": Q, "chosen_response": A, "rejected_response": N},
    {"input": Q, "chosen": A, "rejected": N},
    {"question": Q, "response_j": A, "response_k": N},
    {"prompt": Q, "chosen": turns(A), "rejected": turns(N)},
    {"prompt": turns(Q), "chosen": turns(A), "rejected": turns(N)},
    {"prompt": Q, "chosen": turns(Q, A), "rejected": turns(Q, N)},
    {"prompt": Q, "chosen": turns(Q, A), "rejected": N},
    {"chosen": turns(Q, A), "rejected": turns(Q, N)},
    {"chosen_messages": turns(Q, A), "rejected_messages": turns(Q, N)},
    {"messages": turns(Q), "chosen": turns(A)[0], "rejected": turns(N)[0]},
    {"messages": turns(Q, A), "chosen": A, "rejected": N},
    {
        "conversations": [{"from": "human", "value": Q}],
        "chosen": {"from": "gpt", "value": A},
        "rejected": {"from": "gpt", "value": N},
    },
    {"chosen": f"\n\nHuman: {Q}\n\nAssistant: {A}", "rejected": f"\n\nHuman: {Q}\n\nAssistant: {N}"},
    {"prompt": f"\n\nHuman: {Q}\n\nAssistant:", "chosen": A, "rejected": N},
    {
        "prompt": f"\n\nHuman: {Q}\n\nAssistant:",
        "chosen": f"\n\nHuman: {Q}\n\nAssistant: {A}",
        "rejected": f"\n\nHuman: {Q}\n\nAssistant: {N}",
    },
]


@pytest.mark.parametrize("row", SHAPES)
def test_one_pair_in_every_shape(row: Row) -> None:
    (one,), noted, found = read(row)
    assert (found.format, found.confidence, found.objective) == ("preference", 1.0, "dpo") and found.why
    assert (one.messages, one.prompt, one.rejected) == ((U, GOOD), 1, (BAD,)) and not noted


def test_what_both_begin_with_is_the_prompt() -> None:
    start = f"\n\nHuman: {Q}\n\nAssistant: Well.\n\nHuman: Go on."
    (one,), _, _ = read({"chosen": f"{start}\n\nAssistant: {A}", "rejected": f"{start}\n\nAssistant: {N}"})
    assert [turn.content for turn in one.messages] == [Q, "Well.", "Go on.", A]
    assert one.prompt == 3 and one.rejected == (BAD,)


def test_system_and_input_come_before() -> None:
    (one,), _, _ = read({"system": "Be kind.", "instruction": Q, "input": "x", "chosen": A, "rejected": N})
    assert [turn.content for turn in one.messages] == ["Be kind.", f"{Q}\n\nx", A] and one.prompt == 2
    (one,), _, _ = read({"system": "Be kind.", "chosen": turns(Q, A), "rejected": turns(Q, N)})
    assert [turn.content for turn in one.messages] == ["Be kind.", Q, A] and one.prompt == 2


def test_an_answer_that_looks_like_a_transcript_stays_an_answer() -> None:
    play = "Human: Hi.\n\nAssistant: Hello."
    (one,), _, _ = read({"prompt": "Write a play.", "chosen": play, "rejected": N})
    assert one.messages[-1].content == play and one.prompt == 1


def test_pairs_that_teach_nothing_are_left_out() -> None:
    rows: list[Row] = [{"prompt": Q, "chosen": A, "rejected": N}, {"prompt": Q, "chosen": A, "rejected": A}]
    rows += [{"prompt": Q, "chosen": " ", "rejected": N}, {"prompt": Q, "chosen": A, "rejected": None}]
    rows += [{"prompt": Q, "chosen": A}, {"prompt": Q, "completion": A}]
    kept, noted, _ = read(*rows)
    assert [one.row for one in kept] == [1]
    assert noted == {"same_answers": (2,), "no_answer": (3, 4), "other_schema": (5, 6)}


def test_answers_without_a_prompt() -> None:
    rows: list[Row] = [{"chosen": turns(Q, A), "rejected": turns(Q, N)}] * 2 + [{"chosen": A, "rejected": N}]
    _, noted, _ = read(*rows)
    assert noted == {"no_prompt": (3,)}


def test_ranked_answers_beside_a_plain_one() -> None:
    row = {"instruction": Q, "input": "", "output": "Plain.", "chosen": A, "rejected": N}
    (one,), _, found = read(row)
    assert found.format == "alpaca" and one.messages[1].content == "Plain."
    (finding,) = found.findings
    assert finding.code == "ignored_columns" and finding.remedies[0].change == {"data.format": "preference"}
    (one,), _, found = read(row, format="preference")
    assert (found.format, one.messages, one.rejected) == ("preference", (U, GOOD), (BAD,))


VERDICTS: list[tuple[Row, bool]] = [
    ({"prompt": Q, "completion": A, "label": True}, True),
    ({"prompt": Q, "completion": A, "label": 0}, False),
    ({"prompt": Q, "completion": A, "label": "False"}, False),
    ({"messages": turns(Q, A), "label": False}, False),
    ({"messages": turns(Q, A), "kto_tag": True}, True),
    ({"instruction": Q, "input": "", "output": A, "kto_tag": True}, True),
    ({"prompt": turns(Q), "completion": turns(A), "label": True}, True),
]


@pytest.mark.parametrize(("row", "good"), VERDICTS)
def test_verdicts(row: Row, good: bool) -> None:
    (one,), noted, found = read(row)
    assert (found.format, found.objective) == ("kto", "kto") and found.confidence >= 0.9
    assert (one.messages, one.prompt, one.label) == ((U, GOOD), 1, good) and not noted


def test_a_verdict_is_on_the_last_answer() -> None:
    rows: list[Row] = [{"messages": turns(Q, N, Q, A, Q), "label": True}]
    rows += [{"messages": turns(Q, A), "label": label} for label in ("maybe", None)]
    rows += [{"messages": turns(A), "label": True}]
    found = recognise(rows[:1])
    tally = Tally()
    (one,) = convert(rows, found, tally)
    assert (len(one.messages), one.prompt) == (4, 3)
    noted = {finding.code: finding.rows for finding in tally.findings(4)}
    assert noted == {"unanswered_end": (1,), "bad_label": (2, 3), "no_prompt": (4,)}


def test_a_weight_that_preferences_do_not_use_is_told() -> None:
    pair = {"prompt": Q, "chosen": A, "rejected": N}
    verdict = {"prompt": Q, "completion": A, "label": True}
    for row in (pair, verdict):
        rows, told, _ = read({**row, "weight": 2.0}, {**row, "weight": 1})
        assert len(rows) == 2 and told["weight_unused"] == (1,)
    assert "weight_unused" not in read({"prompt": Q, "completion": A, "weight": 2.0})[1]
