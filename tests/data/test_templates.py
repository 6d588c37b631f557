"""Which template is taken, and why one is refused."""

from pathlib import Path
from typing import Any

import pytest

from core.data.chat_template import templates
from core.data.chat_template.skeleton import skeleton_of
from core.data.tokenizer import load_tokenizer
from core.errors import UserError
from tests.data.conftest import REPO

DEMO = str(REPO / "core" / "demo" / "model")


def refused(name: str, tokenizer: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        templates.choose(name, tokenizer)
    assert "\n" not in caught.value.line() and caught.value.todo
    return caught.value


def test_every_named_template_is_there_and_ends(tokenizer: Any) -> None:
    folder = Path(templates.__file__).parent / "jinja"
    assert {path.stem for path in folder.glob("*.jinja")} == set(templates.NAMES)
    ends = {**dict.fromkeys(("chatml", "qwen", "phi-4"), "<|im_end|>"), "llama-3": "<|eot_id|>"}
    ends |= {"phi": "<|end|>", "gemma": "<end_of_turn>", "command-r": "<|END_OF_TURN_TOKEN|>"}
    for name in templates.NAMES:
        found = templates.choose(name, tokenizer)
        assert found.end_token == ends.get(name, tokenizer.eos_token) and found.takes_system
        assert found.end_ids[0] == tokenizer.convert_tokens_to_ids(found.end_token)
        assert tokenizer.eos_token_id in templates.generation_eos_ids(found, tokenizer)


def test_other_names_for_the_same(tokenizer: Any) -> None:
    assert templates.choose("phi-3", tokenizer).name == "phi"
    assert templates.choose("llama-3.2", tokenizer).source == templates.choose("llama-3", tokenizer).source


def test_which_named_templates_take_tools(tokenizer: Any) -> None:
    taking = {name for name in templates.NAMES if templates.choose(name, tokenizer).takes_tools}
    assert taking == {"qwen", "llama-3", "deepseek", "command-r"}


def test_a_template_that_writes_the_date_says_so(tokenizer: Any) -> None:
    body = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    tokenizer.chat_template = (
        "{% set never = false %}{% if never %}{{ strftime_now('%d') }}{% endif %}" + body
    )
    assert not templates.choose("auto", tokenizer).dated
    tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }}" + body
    assert "date of the day" in templates.choose("auto", tokenizer).dated


def test_auto_takes_the_models_own(tokenizer: Any) -> None:
    tokenizer.chat_template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    found = templates.choose("auto", tokenizer)
    assert (found.name, found.origin, found.end_token) == ("own", "model", "<|end|>")


def test_auto_takes_what_the_tokens_are_made_for() -> None:
    tokenizer = load_tokenizer(DEMO)
    assert (found := templates.choose("auto", tokenizer)).name == "chatml" and "chatml" in found.why
    error = refused("llama-3", tokenizer)
    assert (
        "no single token for <|start_header_id|>" in error.line() and "choose chatml" in error.line().lower()
    )


def test_rows_that_call_tools_get_a_template_that_writes_them() -> None:
    tokenizer = load_tokenizer(DEMO)
    found = templates.choose("auto", tokenizer, tools=True)
    assert found.name == "qwen" and found.takes_tools and "tools" in found.why
    assert not templates.choose("chatml", tokenizer, tools=True).takes_tools  # a name is taken at its word


def test_auto_falls_back_to_words_only(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1}, unk_token="<unk>"))
    letters.pre_tokenizer = pre_tokenizers.Whitespace()
    plain = PreTrainedTokenizerFast(tokenizer_object=letters, eos_token="</s>", unk_token="<unk>")
    found = templates.choose("auto", plain)
    assert (found.name, found.end_token) == ("instruct", "</s>")


def test_an_unknown_name_is_answered_with_the_nearest(tokenizer: Any) -> None:
    assert "Did you mean chatml?" in refused("chatlm", tokenizer).line()
    assert "nope.jinja" in refused("nope.jinja", tokenizer).line()


BAD = {
    "syntax": ("{% for m in messages %}\n{{ m.content }}\n{% endfor\n", "line "),
    "undefined": ("{{ 'a' }}\n{{ 'b' }}\n{{ nothing.at.all }}", "line 3: 'nothing' is undefined"),
    "raises": ("{{ 'a' }}\n{{ raise_exception('only on Mondays') }}", "line 2: only on Mondays"),
    "no end": (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
        "nothing follows the words",
    ),
    "unknown end": (
        "{% for m in messages %}{{ m.content }}<|fin|>{% endfor %}",
        "'<|fin|>' is no single token",
    ),
    "drops": (
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}",
        "0 times",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_cannot_work_says_where(kind: str, tokenizer: Any, tmp_path: Path) -> None:
    source, said = BAD[kind]
    (tmp_path / "mine.jinja").write_text(source)
    error = refused(str(tmp_path / "mine.jinja"), tokenizer)
    assert "mine.jinja" in error.what and said in error.line()


def test_a_file_gets_the_beginning_that_the_model_expects_once(tokenizer: Any, tmp_path: Path) -> None:
    body = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
    for start in ("", "{{ bos_token }}" if tokenizer.bos_token else ""):
        (tmp_path / "mine.jinja").write_text(start + body)
        found = templates.choose(str(tmp_path / "mine.jinja"), tokenizer)
        first = skeleton_of(("user", "assistant"), found.source, tokenizer).pieces[0]
        assert first == (tokenizer.bos_token or "") + "user: "
    if tokenizer.bos_token:
        (tmp_path / "mine.jinja").write_text("{{ bos_token }}{{ bos_token }}" + body)
        assert "begins a text twice" in refused(str(tmp_path / "mine.jinja"), tokenizer).line()


def test_a_template_without_system_is_known(tokenizer: Any) -> None:
    tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    )
    assert not templates.choose("auto", tokenizer).takes_system


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    for path, said in ((tmp_path, "has no tokenizer"), (tmp_path / "none", "is not there")):
        with pytest.raises(UserError, match=said):
            load_tokenizer(str(path))
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(UserError, match="cannot be loaded"):
        load_tokenizer(str(tmp_path))


def test_padding_is_not_the_end(shared: Path) -> None:
    for name in ("pythia-410m", "phi-3-mini", "qwen3", "smollm-135m"):
        tokenizer = load_tokenizer(str(shared / "tokenizers" / name))
        assert tokenizer.pad_token_id is not None and tokenizer.pad_token != tokenizer.eos_token
    # these two have nothing else: the batch is masked by length
    for name in ("gpt2", "phi-2"):
        tokenizer = load_tokenizer(str(shared / "tokenizers" / name))
        assert tokenizer.pad_token == tokenizer.eos_token
