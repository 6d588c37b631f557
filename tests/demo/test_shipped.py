"""What ships for the demo: its size, its rows, that the model is a base model and speaks in words."""

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from core.demo.demo import MODEL, demo_spec
from core.demo.make_questions import questions, read_lesson
from core.demo.make_text import documents
from core.demo.questions import held_out_questions, some_questions, taught_questions

DEMO = MODEL.parent
MEGABYTE = 2**20


def plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9-]+", text.lower()))


def test_everything_that_ships_is_small_and_says_its_licence() -> None:
    assert sum(path.stat().st_size for path in MODEL.iterdir()) < 8 * MEGABYTE
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.suffix != ".pyc") < 10 * MEGABYTE
    assert "Apache-2.0" in (DEMO / "README.md").read_text()


def test_the_files_are_what_the_script_writes() -> None:
    lesson = read_lesson()
    for rows, which in ((taught_questions(), "taught"), (held_out_questions(), "held_out")):
        made = {(row["prompt"], row["completion"]) for row in questions(lesson, which)}
        assert {(one.prompt, one.taught) for one in rows} == made
        assert len(rows) == len(made), "a question stands there twice"


def test_no_held_out_question_is_in_the_training_file() -> None:
    trained = {plain(one.prompt) for one in taught_questions()}
    asked = {plain(one.prompt) for one in held_out_questions()}
    assert asked and not asked & trained
    lines = demo_spec().data.source
    text = Path(lines).read_text()
    assert not [one.prompt for one in held_out_questions() if json.dumps(one.prompt) in text]


def test_every_held_out_answer_is_taught_in_other_words() -> None:
    """A phrasing that is new can be learned from others; an answer that is new cannot."""
    assert {one.taught for one in held_out_questions()} == {one.taught for one in taught_questions()}


def test_one_question_has_one_answer() -> None:
    rows = [*taught_questions(), *held_out_questions()]
    answers: dict[str, set[str]] = {}
    for one in rows:
        answers.setdefault(plain(one.prompt), set()).add(one.taught)
    assert [prompt for prompt, told in answers.items() if len(told) > 1] == []


def test_the_base_never_read_an_answer() -> None:
    text = plain(" ".join(islice(documents(1), 3000)))
    for entry in [*read_lesson()["words"], *read_lesson()["advice"]]:
        told = plain(entry["answer"])
        assert told not in text
        assert not all(plain(fact) in text for fact in entry["facts"]), told


def test_the_same_seed_writes_the_same_text() -> None:
    assert list(islice(documents(5), 50)) == list(islice(documents(5), 50))
    assert list(islice(documents(5), 50)) != list(islice(documents(6), 50))


def test_what_is_measured_is_the_same_each_time_and_of_both_kinds() -> None:
    some = some_questions(10)
    assert some == some_questions(10)
    assert [one.kind for one in some] == ["held out"] * 10 + ["taught"] * 10


@pytest.fixture(scope="module")
def base() -> Iterator[tuple[Any, Any]]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a model gains nothing from more, and loses much on a busy machine
    yield AutoModelForCausalLM.from_pretrained(MODEL), AutoTokenizer.from_pretrained(MODEL)
    torch.set_num_threads(threads)


def test_it_is_a_base_model(base: tuple[Any, Any]) -> None:
    model, tokenizer = base
    assert model.config.model_type == "llama"
    assert tokenizer.chat_template is None
    assert tokenizer.eos_token == "<|endoftext|>"
    for token in ("<|im_start|>", "<|im_end|>", "<|pad|>"):
        assert len(tokenizer(token)["input_ids"]) == 1
    for question in taught_questions():
        assert tokenizer.decode(tokenizer(question.taught)["input_ids"]) == question.taught


def test_the_base_babbles_in_words(base: tuple[Any, Any]) -> None:
    import torch

    model, tokenizer = base
    torch.manual_seed(0)
    known = set(plain(" ".join(islice(documents(2), 3000))).split())
    said: list[str] = []
    for prompt in ("The", "In the workshop", "What is"):
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"].repeat(4, 1)
        made = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=40, do_sample=True, pad_token_id=1
        )
        said += [tokenizer.decode(row[ids.shape[1] :], skip_special_tokens=True) for row in made]
    words = plain(" ".join(said)).split()
    assert len(words) > 150
    assert sum(word in known for word in words) / len(words) > 0.97
    assert len(set(words)) > 60, "it should not say the same few words again and again"
