"""What is learned is exactly the assistant's words and the end token, for every template and tokenizer."""

from typing import Any

import pytest

from core.chat.prompt import prompt_ids
from core.data.chat_template import templates
from core.data.chat_template.mask import Refused, Rendered, render, render_all
from core.data.conversation import Conversation, Message
from core.data.tokenizer import load_tokenizer
from core.errors import UserError

TURNS = (
    Message("user", "What is 2 + 2?"),
    Message("assistant", "It is 4.\n\nSure?"),
    Message("user", "Thanks"),
    Message("assistant", "wörld 你好 🙂"),
)
SYSTEM = (Message("system", "Be terse."), *TURNS)
BLANK_LEAD = ("llama-2", "mistral", "vicuna")
"""Templates in which the model itself writes the blank before its words."""


def bare(text: str) -> str:
    return "".join(text.split())


def learned_text(row: Rendered, tokenizer: Any) -> str:
    return tokenizer.decode([i for i, keep in zip(row.ids, row.learned, strict=True) if keep])


def rendered(messages: tuple[Message, ...], tokenizer: Any, template: Any) -> Rendered:
    row = render(Conversation(1, messages), tokenizer, template)
    assert isinstance(row, Rendered), row
    return row


@pytest.mark.parametrize("name", templates.NAMES)
@pytest.mark.parametrize("messages", [TURNS[:2], TURNS, SYSTEM], ids=["one turn", "two turns", "system"])
def test_answers_and_ends_are_learned_and_nothing_else(name: str, messages: Any, tokenizer: Any) -> None:
    template = templates.choose(name, tokenizer)
    row = rendered(messages, tokenizer, template)
    lead = " " if name in BLANK_LEAD else ""
    end = template.closing + template.end_token
    meant = "".join(lead + turn.content + end for turn in messages if turn.role == "assistant")
    assert bare(learned_text(row, tokenizer)) == bare(meant)
    if tokenizer.bos_token is None:  # this one spells exactly
        assert learned_text(row, tokenizer) == meant
    else:
        assert row.ids.count(tokenizer.bos_token_id) == 1 and row.ids[0] == tokenizer.bos_token_id
    assert row.ends and row.ids[len(row.ids) - row.learned[::-1].index(1) - 1] == template.end_ids[0]
    for turn in messages:
        assert turn.content in row.text


@pytest.mark.parametrize("name", templates.NAMES)
def test_chat_asks_with_the_ids_that_training_used(name: str, tokenizer: Any) -> None:
    template = templates.choose(name, tokenizer)
    row = rendered(SYSTEM, tokenizer, template)
    templates.apply(template, tokenizer)
    asked = [{"role": turn.role, "content": turn.content} for turn in SYSTEM[:-1]]
    prompt = prompt_ids(tokenizer, template, asked)  # type: ignore[arg-type]
    assert row.ids[: len(prompt)] == prompt
    assert row.learned[len(prompt)] == 1 and row.learned[len(prompt) - 1] == 0


@pytest.mark.parametrize("name", templates.NAMES)
def test_transformers_renders_the_same_ids_after_saving(name: str, tokenizer: Any, tmp_path: Any) -> None:
    template = templates.choose(name, tokenizer)
    row = rendered(SYSTEM, tokenizer, template)
    templates.apply(template, tokenizer)
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(str(tmp_path))
    turns = [{"role": turn.role, "content": turn.content} for turn in SYSTEM]
    ids = again.apply_chat_template(turns, return_dict=False)
    if name == "plain":  # nothing stands between question and answer, which may not share a token
        assert again.decode(ids) == again.decode(row.ids)
    else:
        assert ids == row.ids
    assert again.eos_token == template.end_token
    assert again.eos_token_id in templates.generation_eos_ids(template, again)


OWN = {
    "thinking": """{%- for m in messages %}<|im_start|>{{ m.role }}
{% if m.role == 'assistant' and loop.last %}<think>

</think>

{% endif %}{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>

{% endif %}{% endif %}""",
    "strips": "{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}<|end|>{% endfor %}",
    "generation marks": "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'user' %}"
    "{{ m.content }}<|end|>{% else %}{% generation %}{{ m.content }}<|end|>{% endgeneration %}{% endif %}"
    "{% endfor %}",
    "different ends": "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{{ '<|im_end|>' if loop.last else '<|end|>' }}{% endfor %}",
}


@pytest.mark.parametrize("kind", OWN)
def test_a_models_own_template_needs_no_marks(kind: str, tokenizer: Any) -> None:
    tokenizer.chat_template = OWN[kind]
    template = templates.choose("auto", tokenizer)
    assert template.origin == "model"
    row = rendered(TURNS, tokenizer, template)
    said = learned_text(row, tokenizer)
    first, last = ("<|end|>",) * 2 if kind != "different ends" else ("<|end|>", "<|im_end|>")
    if kind == "thinking":
        first = last = "<|im_end|>"
    assert bare(said) == bare(TURNS[1].content + first + TURNS[3].content + last)


def test_thinking_is_switched_off_where_the_data_holds_none(tokenizer: Any) -> None:
    tokenizer.chat_template = OWN["thinking"]
    template = templates.choose("auto", tokenizer, thoughtless=True)
    templates.apply(template, tokenizer)
    saved = templates.choose("auto", tokenizer)
    prompt = prompt_ids(tokenizer, saved, [{"role": "user", "content": "What is 2 + 2?"}])
    row = rendered(TURNS[:2], tokenizer, template)
    assert row.ids[: len(prompt)] == prompt and "</think>" in tokenizer.decode(prompt)
    assert "enable_thinking" in template.why


def test_a_template_that_hides_the_words_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = (
        "{% for m in messages %}<|{{ m.role }}|>"
        "{{ (m.content | upper) if '4' in m.content else m.content }}<|end|>{% endfor %}"
    )
    template = templates.choose("auto", tokenizer)
    row = render(Conversation(7, TURNS[:2]), tokenizer, template)
    assert (
        isinstance(row, Refused) and row.code == "no_mask" and row.row == 7 and "changes the words" in row.why
    )


def test_a_weight_of_zero_is_only_context(tokenizer: Any) -> None:
    template = templates.choose("chatml", tokenizer)
    muted = (TURNS[0], Message("assistant", TURNS[1].content, learn=False), *TURNS[2:])
    assert bare(learned_text(rendered(muted, tokenizer, template), tokenizer)) == bare(
        "wörld 你好 🙂<|im_end|>"
    )


def test_prompt_and_answer_never_share_a_token(tokenizer: Any) -> None:
    # a space on both sides of the border, or one that only the prompt has, invites tokens across it
    source = "{% for m in messages %}{{ m.role + ': ' + m.content + eos_token }}{% endfor %}"
    source += "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    tokenizer.chat_template = source
    template = templates.choose("auto", tokenizer)
    for answer in ("token", " token", "\ttoken", "\n token"):
        row = rendered((TURNS[0], Message("assistant", answer)), tokenizer, template)
        border = row.text.rindex("assistant: ") + len("assistant: ")
        assert all(not start < border < end for start, end in row.offsets)
        assert row.learned == [int(start >= border) for start, _ in row.offsets]
        assert "".join(row.text[start:end] for start, end in row.offsets).endswith(
            answer + tokenizer.eos_token
        )


def test_everything_is_learned_when_asked(tokenizer: Any) -> None:
    template = templates.choose("chatml", tokenizer)
    row = render(Conversation(1, TURNS), tokenizer, template, "all")
    assert isinstance(row, Rendered) and set(row.learned) == {1}
    assert row.ids == rendered(TURNS, tokenizer, template).ids


def test_plain_text_ends_and_begins_once(tokenizer: Any) -> None:
    row = render(Conversation(1, text=" the cat sat"), tokenizer, None)
    assert isinstance(row, Rendered) and set(row.learned) == {1} and row.ends
    own = tokenizer(" the cat sat")["input_ids"]
    assert row.ids == [*own, tokenizer.eos_token_id]
    assert row.text.endswith(" the cat sat" + tokenizer.eos_token)
    assert row.offsets[-1] == (len(row.text) - len(tokenizer.eos_token), len(row.text))


def test_a_batch_is_the_same_as_one_by_one(tokenizer: Any) -> None:
    template = templates.choose("instruct", tokenizer)
    rows = [Conversation(1, TURNS[:2]), Conversation(2, TURNS), Conversation(3, SYSTEM)]
    together = render_all(rows, tokenizer, template)
    assert together == [render(row, tokenizer, template) for row in rows]


REAL = ["gpt2", "minimind", "minueza-32m-ultrachat", "phi-2", "phi-3-mini", "pythia-410m"]
REAL += ["qwen2.5", "qwen3", "smollm-135m"]
MODELS = ["base-28m", "tinystories-656k", "stories260k", "babyllama-361"]


@pytest.mark.parametrize(
    "folder", [f"tokenizers/{one}" for one in REAL] + [f"models/{one}" for one in MODELS]
)
def test_real_tokenizers(folder: str, shared: Any) -> None:
    tokenizer = load_tokenizer(str(shared / folder))
    for name in ("auto", *templates.NAMES):
        try:
            template = templates.choose(name, tokenizer, thoughtless=True)
        except UserError as error:
            assert templates.NEEDS[name] and "no single token" in error.line()
            continue
        for messages in (TURNS[:2], SYSTEM, (TURNS[0], Message("assistant", " leading and trailing \n"))):
            row = rendered(messages, tokenizer, template)
            answers = [turn.content + template.closing for turn in messages if turn.role == "assistant"]
            if folder == "models/tinystories-656k":  # it drops what it has no piece for
                said = [tokenizer(one, add_special_tokens=False)["input_ids"] for one in answers]
                answers = [tokenizer.decode(ids) for ids in said]
            meant = "".join(one + template.end_token for one in answers)
            assert bare(learned_text(row, tokenizer)) == bare(meant), (name, folder)
            bos = tokenizer.bos_token_id
            if templates.begins_with_bos(tokenizer):
                assert row.ids.count(bos) == 1 and row.ids[0] == bos
            else:
                assert row.ids[:2] != [bos, bos]
            if folder == "models/tinystories-656k":  # and miscounts where its tokens stand
                continue
            asked = [{"role": turn.role, "content": turn.content} for turn in messages[:-1]]
            prompt = prompt_ids(tokenizer, template, asked)  # type: ignore[arg-type]
            assert row.ids[: len(prompt)] == prompt, (name, folder)
            assert 0 < row.learned.index(1) <= len(prompt) and row.learned[len(prompt)] == 1
