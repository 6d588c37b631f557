"""What is learned, by choice: every answer, the last, all from the first on; and of preferences."""

from typing import Any

import pytest

from core.chat.prompt import prompt_ids
from core.data.chat_template import templates
from core.data.chat_template.mask import Refused, Rendered, render, render_all
from core.data.conversation import Conversation, Message

TALK = (
    Message("system", "Be brief."),
    Message("user", "one?"),
    Message("assistant", "first"),
    Message("user", "two?"),
    Message("assistant", "second"),
)


def said(row: Any, tokenizer: Any) -> str:
    assert isinstance(row, Rendered), row
    return str(tokenizer.decode([one for one, keep in zip(row.ids, row.learned, strict=True) if keep]))


def test_each_choice(tokenizer: Any) -> None:
    template = templates.choose("chatml", tokenizer)
    row, end = Conversation(1, TALK), "<|im_end|>"
    assert said(render(row, tokenizer, template, "assistant"), tokenizer) == f"first{end}second{end}"
    assert said(render(row, tokenizer, template, "last"), tokenizer) == f"second{end}"
    whole = said(render(row, tokenizer, template, "completion"), tokenizer)
    assert whole.startswith(f"first{end}") and "two?" in whole and whole.endswith(f"second{end}")
    assert "one?" not in whole and "brief" not in whole
    everything = render(row, tokenizer, template, "all")
    assert isinstance(everything, Rendered) and set(everything.learned) == {1} and everything.ends


def test_context_stays_context_in_every_choice(tokenizer: Any) -> None:
    template = templates.choose("chatml", tokenizer)
    muted = Conversation(1, (*TALK[:4], Message("assistant", "second", learn=False)))
    first = Conversation(1, (*TALK[:2], Message("assistant", "first", learn=False), *TALK[3:]))
    end = "<|im_end|>"
    assert said(render(muted, tokenizer, template, "last"), tokenizer) == f"first{end}"
    for learn in ("assistant", "last", "completion"):
        assert said(render(first, tokenizer, template, learn), tokenizer) == f"second{end}"  # type: ignore[arg-type]
    whole = said(render(muted, tokenizer, template, "completion"), tokenizer)
    assert "first" in whole and "two?" in whole and "second" not in whole


def test_a_conversation_that_ends_with_a_question_is_learned_to_its_answer(tokenizer: Any) -> None:
    template = templates.choose("chatml", tokenizer)
    open_ended = Conversation(1, TALK[:4])
    assert said(render(open_ended, tokenizer, template), tokenizer) == "first<|im_end|>"
    assert "two?" in said(render(open_ended, tokenizer, template, "completion"), tokenizer)


PREFERENCE = Conversation(
    3, (*TALK[:4], Message("assistant", "the better")), prompt=4, rejected=(Message("assistant", "worse"),)
)


@pytest.mark.parametrize("name", templates.NAMES)
def test_both_answers_follow_one_prompt(name: str, tokenizer: Any) -> None:
    template = templates.choose(name, tokenizer)
    row = render(PREFERENCE, tokenizer, template)
    assert isinstance(row, Rendered) and row.other
    n = row.prompt_tokens
    assert 0 < n == row.other.prompt_tokens and row.ids[:n] == row.other.ids[:n]
    asked = [{"role": turn.role, "content": turn.content} for turn in PREFERENCE.messages[:4]]
    assert row.ids[:n] == prompt_ids(tokenizer, template, asked)  # type: ignore[arg-type]
    assert 1 not in row.learned[:n] and row.learned[n] == row.other.learned[n] == 1
    end = template.closing + template.end_token
    assert "".join(said(row, tokenizer).split()) == "".join(f"the better{end}".split())
    assert "".join(said(row.other, tokenizer).split()) == "".join(f"worse{end}".split())
    # each is the same as the row would be alone
    for one, ending in ((row, PREFERENCE.messages[4:]), (row.other, PREFERENCE.rejected)):
        alone = render(Conversation(3, (*TALK[:4], *ending)), tokenizer, template, "last")
        assert isinstance(alone, Rendered) and alone.ids == one.ids and alone.learned == one.learned


def test_a_system_message_without_a_place_is_folded_on_both_sides(tokenizer: Any) -> None:
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('none') }}{% endif %}"
        "<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    )
    template = templates.choose("auto", tokenizer)
    row = render(PREFERENCE, tokenizer, template)
    assert isinstance(row, Rendered) and row.other and row.folded and row.other.folded
    assert tokenizer.decode(row.ids[: row.prompt_tokens]).count("Be brief.") == 1


def test_a_verdict_has_a_prompt_too(tokenizer: Any) -> None:
    template = templates.choose("chatml", tokenizer)
    row = render(Conversation(1, TALK, prompt=4, label=False), tokenizer, template)
    assert isinstance(row, Rendered) and row.label is False and row.other is None
    assert row.ids[row.prompt_tokens :] and row.learned[row.prompt_tokens] == 1
    assert said(row, tokenizer) == "second<|im_end|>"


def test_a_prompt_that_is_not_shared_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = (
        "{{ messages | length }}{{ messages[-1].content[:1] }}"
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    )
    template = templates.choose("auto", tokenizer)
    row = render(PREFERENCE, tokenizer, template)
    assert isinstance(row, Refused) and row.code == "no_mask"


def test_texts_and_talks_in_one_batch_keep_their_order(tokenizer: Any) -> None:
    template = templates.choose("chatml", tokenizer)
    rows = [
        Conversation(1, text="some words"),
        Conversation(2, TALK),
        PREFERENCE,
        Conversation(4, text="more"),
    ]
    together = render_all(rows, tokenizer, template)
    assert [row.row for row in together] == [1, 2, 3, 4]
    assert together == [render(row, tokenizer, template) for row in rows]


MARKED = """{%- for m in messages -%}
<|{{ m.role }}|>
{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|end|>{% endgeneration %}
{%- else %}{{ m.content }}<|end|>{% endif %}
{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% endif %}"""


def test_generation_marks_say_the_same(tokenizer: Any) -> None:
    tokenizer.chat_template = MARKED
    template = templates.choose("auto", tokenizer)
    row = render(Conversation(1, TALK), tokenizer, template)
    turns = [{"role": turn.role, "content": turn.content} for turn in TALK]
    theirs = tokenizer.apply_chat_template(turns, return_assistant_tokens_mask=True, return_dict=True)
    assert isinstance(row, Rendered)
    assert (row.ids, row.learned) == (theirs["input_ids"], theirs["assistant_masks"])
