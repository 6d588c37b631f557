"""Any conversation, any named template, several tokenizers: what is learned, one beginning, one prompt."""

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.chat.prompt import prompt_ids
from core.data.chat_template import templates
from core.data.chat_template.mask import Rendered, render
from core.data.conversation import Conversation, Message
from core.data.tokenizer import load_tokenizer
from tests.conftest import SHARED
from tests.data.conftest import MADE

REAL = ("qwen2.5", "phi-3-mini", "smollm-135m", "pythia-410m")
LEADING = ("llama-2", "mistral", "vicuna")
"""Templates in which the model itself writes the blank before its words."""


@cache
def tokenizer_of(kind: str) -> Any:
    return MADE[kind]() if kind in MADE else load_tokenizer(str(SHARED / "tokenizers" / kind))


@cache
def template_of(name: str, kind: str) -> templates.Template:
    return templates.choose(name, tokenizer_of(kind))


CHARACTERS = st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00")
LOOKS = (
    "<|im_end|>",
    "<|im_start|>user\n",
    "[INST]",
    "### Response:\n",
    "<think>",
    "</think>\n\n",
    "{{ x }}",
    "  ",
)
LOOKS += ("ASSISTANT:", "<|", "|>", "### End", "qz00001zq", "\r\n", "\u00a0", "é")
WORDS = st.lists(st.text(CHARACTERS, max_size=12) | st.sampled_from(LOOKS), max_size=4).map("".join)
ANSWER = WORDS.filter(lambda text: bool(text.strip()))
TALKS = st.lists(st.tuples(WORDS, ANSWER), min_size=1, max_size=3)


def check(talk: list[tuple[str, str]], system: str | None, name: str, kind: str) -> None:
    tokenizer, template = tokenizer_of(kind), template_of(name, kind)
    turns = [] if system is None else [Message("system", system)]
    for question, answer in talk:
        turns += [Message("user", question), Message("assistant", answer)]
    row = render(Conversation(1, tuple(turns)), tokenizer, template)
    assert isinstance(row, Rendered), row
    assert len(row.ids) == len(row.learned) == len(row.offsets)

    lead = " " if name in LEADING else ""
    closing = "\n\n### End" if name == "output" else ""
    meant = "".join(lead + answer + closing + template.end_token for _, answer in talk)
    said = tokenizer.decode([one for one, keep in zip(row.ids, row.learned, strict=True) if keep])
    if kind == "byte-level":
        assert said == meant
    assert "".join(said.split()) == "".join(meant.split()) or (
        kind != "byte-level" and same(said, meant, tokenizer)
    )

    bos = tokenizer.bos_token_id
    if templates.begins_with_bos(tokenizer):
        assert row.ids.count(bos) == 1 and row.ids[0] == bos

    asked = [{"role": turn.role, "content": turn.content} for turn in turns[:-1]]
    prompt = prompt_ids(tokenizer, template, asked)  # type: ignore[arg-type]
    assert row.ids[: len(prompt)] == prompt
    assert row.learned[len(prompt)] == 1


def same(said: str, meant: str, tokenizer: Any) -> bool:
    """But for what this tokenizer makes of a text: it may normalise letters."""
    again = tokenizer.decode(tokenizer(meant, add_special_tokens=False)["input_ids"])
    return "".join(said.split()) == "".join(again.split())


@settings(max_examples=250, deadline=None)
@given(
    talk=TALKS,
    system=st.none() | WORDS,
    name=st.sampled_from(templates.NAMES),
    kind=st.sampled_from(list(MADE)),
)
def test_any_conversation_any_template(talk: Any, system: str | None, name: str, kind: str) -> None:
    check(talk, system, name, kind)


@settings(max_examples=150, deadline=None)
@given(talk=TALKS, system=st.none() | WORDS, data=st.data())
def test_any_conversation_real_tokenizers(talk: Any, system: str | None, data: Any) -> None:
    if not (SHARED / "tokenizers").is_dir():
        pytest.skip("needs the real tokenizers that lie beside the checkout in ../shared")
    kind = data.draw(st.sampled_from(REAL))
    fits = [name for name in templates.NAMES if not templates.lacking(name, tokenizer_of(kind))]
    check(talk, system, data.draw(st.sampled_from(fits)), kind)
