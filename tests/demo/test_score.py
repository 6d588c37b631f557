"""The scorer: neither silence, nor rambling, nor another answer passes for the right one."""

import pytest

from core.demo.make_questions import read_lesson
from core.demo.score import right

LESSON = read_lesson()
ENTRIES = [*LESSON["words"], *LESSON["advice"]]
ANSWERS = [entry["answer"] for entry in ENTRIES]
LORA = "LoRA keeps the model frozen and trains two thin matrices beside each layer."


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_taught_answer_is_right_and_right_for_its_own_question_only(answer: str) -> None:
    assert right(answer, answer)
    assert [other for other in ANSWERS if right(answer, other)] == [answer]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["answer"][:20])
def test_a_fact_left_out_is_wrong(entry: dict[str, object]) -> None:
    answer, facts = str(entry["answer"]), entry["facts"]
    assert isinstance(facts, list) and facts
    for fact in facts:
        place = answer.lower().find(fact)
        assert place >= 0, f"{fact!r} is not in the answer it should mark"
        assert not right(answer[:place] + "something" + answer[place + len(fact) :], answer)


def test_other_writing_of_the_same_is_right() -> None:
    assert right("  lora keeps the model FROZEN,\nand trains two thin matrices  beside each layer", LORA)
    assert right("It leaves the model frozen and trains two thin matrices.", LORA)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "   \n",
        "I do not know.",
        "LoRA",
        "The postman measured LoRA while it snowed.",
        "LoRA keeps the model frozen.",
        "LoRA never keeps the model frozen and trains two thin matrices beside each layer.",
        " ".join(ANSWERS),
        f"{LORA} {LORA}",
        f"{LORA} The miller was glad and wrote a letter about the adapter to the captain.",
    ],
)
def test_silence_part_denial_and_rambling_are_wrong(answer: str) -> None:
    assert not right(answer, LORA)


def test_an_answer_that_did_not_end_is_wrong() -> None:
    assert not right(LORA, LORA, ended=False)
