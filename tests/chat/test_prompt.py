"""What the model is asked in chat begins exactly as what it was trained on, for every template."""

from pathlib import Path
from typing import Any

import pytest

from core.chat.prompt import ends_of, prompt_ids
from core.data.chat_template import templates
from core.data.chat_template.mask import Rendered, render
from core.data.conversation import Conversation, Message
from core.data.tokenizer import load_tokenizer
from core.errors import UserError

TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is two and two?"},
    {"role": "assistant", "content": "Four."},
    {"role": "user", "content": "And three and three?"},
]
TOKENIZERS = ("tokenizers/qwen2.5", "tokenizers/smollm-135m", "models/base-28m", "models/stories260k")


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest, shared: Path) -> Any:
    return load_tokenizer(str(shared / request.param), None)


@pytest.mark.parametrize("name", ["auto", *templates.NAMES])
@pytest.mark.parametrize("first", [0, 1], ids=["system", "no system"])
def test_a_prompt_is_what_stood_before_the_learned_answer(tokenizer: Any, name: str, first: int) -> None:
    try:
        template = templates.choose(name, tokenizer)
    except UserError:
        pytest.skip("this tokenizer lacks the tokens of this template")
    asked = TURNS[first:]
    whole = (*(Message(one["role"], one["content"]) for one in asked), Message("assistant", "Six."))
    trained = render(Conversation(1, whole), tokenizer, template, "assistant")
    assert isinstance(trained, Rendered)
    last = max(
        n for n, (a, b) in enumerate(zip([0, *trained.learned], trained.learned, strict=False)) if b > a
    )
    assert prompt_ids(tokenizer, template, asked) == trained.ids[:last]


def test_a_template_that_ignores_the_generation_flag_still_opens_the_answer(shared: Path) -> None:
    tokenizer = load_tokenizer(str(shared / "models" / "base-28m"), None)
    deaf = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    chatml = templates.choose("chatml", tokenizer)
    without = templates.Template("deaf", "file", deaf, "<|im_end|>", chatml.end_ids, "")
    assert prompt_ids(tokenizer, without, TURNS) == prompt_ids(tokenizer, chatml, TURNS)


def test_without_a_template_the_text_is_gone_on_from(shared: Path) -> None:
    tokenizer = load_tokenizer(str(shared / "models" / "stories260k"), None)
    trained = render(Conversation(1, (), "Once upon a time"), tokenizer, None)
    assert isinstance(trained, Rendered)
    assert trained.ids[-1] == tokenizer.eos_token_id
    assert prompt_ids(tokenizer, None, [{"role": "user", "content": "Once upon a time"}]) == trained.ids[:-1]


def test_a_conversation_that_the_template_refuses_is_one_line(shared: Path) -> None:
    tokenizer = load_tokenizer(str(shared / "models" / "base-28m"), None)
    strict = templates.Template(
        "strict", "file", "{{ raise_exception('only questions') }}", "<|im_end|>", (), ""
    )
    with pytest.raises(UserError, match="does not take this conversation: only questions"):
        prompt_ids(tokenizer, strict, TURNS)


def test_an_answer_ends_at_the_end_of_the_template_the_tokenizer_and_the_model(shared: Path) -> None:
    from types import SimpleNamespace

    tokenizer = load_tokenizer(str(shared / "models" / "base-28m"), None)
    template = templates.choose("chatml", tokenizer)
    model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=[7, 0]))
    im_end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert ends_of(model, tokenizer, template) == {7, 0, im_end}
