"""Tools, their calls and results, and thoughts: learned where the template writes them, refused where not."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from core.data.chat_template import templates
from core.data.chat_template.mask import Refused, Rendered, render
from core.data.chat_template.rendering import schemas
from core.data.conversation import Conversation, Message, ToolCall, as_turns
from core.data.tokenizer import load_tokenizer
from tests.data.conftest import byte_level

TAKING = ("qwen", "llama-3", "deepseek", "command-r")


def tool(name: str) -> str:
    fields = {"where": {"type": "string", "description": "A town."}, "days": {"type": "integer"}}
    return json.dumps(
        {
            "type": "function",
            "function": {
                "name": name,
                "description": f"The {name} of a town.",
                "parameters": {"type": "object", "properties": fields, "required": ["where"]},
            },
        }
    )


TALK = (
    Message("system", "Be kind."),
    Message("user", "How warm is Rome?"),
    Message("assistant", "I look.", calls=(ToolCall("warmth", '{"where": "Rome", "days": 3}', "abcdefgh1"),)),
    Message("tool", '{"degrees": 21}', name="warmth", call_id="abcdefgh1"),
    Message("assistant", "It is 21."),
    Message("user", 'And is it raining in Zoë\'s "town"?'),
    Message(
        "assistant",
        "",
        calls=(
            ToolCall("rain", json.dumps({"where": 'Zoë\'s "town"'}), "abcdefgh2"),
            ToolCall("warmth", '{"where": "Oslo", "nested": {"a": [1, true, null, 0.5]}}', "abcdefgh3"),
        ),
    ),
    Message("tool", "no", name="rain", call_id="abcdefgh2"),
    Message("tool", "cold", name="warmth", call_id="abcdefgh3"),
    Message("assistant", "Dry, and cold in Oslo."),
)
ROW = Conversation(1, TALK, tools=(tool("warmth"), tool("rain")))


def parts(row: Any, tokenizer: Any) -> list[str]:
    """The learned tokens that stand together, as text."""
    assert isinstance(row, Rendered), row
    found: list[list[int]] = [[]]
    for one, keep in zip(row.ids, row.learned, strict=True):
        if keep:
            found[-1].append(one)
        elif found[-1]:
            found.append([])
    return [tokenizer.decode(ids) for ids in found if ids]


@pytest.mark.parametrize("name", TAKING)
def test_calls_are_learned_and_results_are_not(name: str, tokenizer: Any) -> None:
    template = templates.choose(name, tokenizer)
    row = render(ROW, tokenizer, template)
    first, second, third, last = parts(row, tokenizer)
    assert "I look." in first and "warmth" in first and "Rome" in first
    assert "It is 21." in second and "Rome" not in second
    assert all(word in third for word in ("rain", "Oslo", "nested")) and "I look." not in third
    assert "Dry" in last
    assert all(part.endswith(template.end_token) for part in (first, second, third, last))
    for said in ("Be kind", "How warm", "degrees", "no\n", "A town", "raining in"):
        assert not any(said in part for part in (first, second, third, last)), said


@pytest.mark.parametrize("name", TAKING)
def test_the_saved_tokenizer_renders_tools_as_they_were_trained(name: str, tmp_path: Any) -> None:
    tokenizer = copy.deepcopy(byte_level())
    template = templates.choose(name, tokenizer)
    row = render(ROW, tokenizer, template)
    assert isinstance(row, Rendered)
    templates.apply(template, tokenizer)
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(str(tmp_path))
    ids = again.apply_chat_template(as_turns(TALK), tools=list(schemas(ROW.tools)), return_dict=False)
    assert ids == row.ids


@pytest.mark.parametrize("name", sorted(set(templates.NAMES) - set(TAKING)))
def test_a_template_without_tools_refuses_each_part_of_them(name: str, tokenizer: Any) -> None:
    template = templates.choose(name, tokenizer)
    called = replace(ROW, tools=())
    offered = Conversation(1, (TALK[1], TALK[4]), tools=ROW.tools)
    for one in (ROW, called, offered):
        row = render(one, tokenizer, template)
        assert isinstance(row, Refused) and row.code == "template_refused", name
        assert "tool" in row.why


LOSSY = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"


def test_calls_and_messages_that_a_template_loses_are_named(tokenizer: Any) -> None:
    tokenizer.chat_template = LOSSY
    template = templates.choose("auto", tokenizer)
    row = render(replace(ROW, tools=()), tokenizer, template)
    assert isinstance(row, Refused) and "does not write the tool calls of message 3" in row.why
    tokenizer.chat_template = LOSSY.replace("{{ m.content }}", "{{ m.content if m.role != 'tool' }}")
    template = templates.choose("auto", tokenizer)
    row = render(Conversation(1, (TALK[1], TALK[3], TALK[4])), tokenizer, template)
    assert isinstance(row, Refused) and "leaves out message 2, of the tool" in row.why


def test_only_part_of_a_call_written_is_refused(tokenizer: Any) -> None:
    call = (
        "{% for c in m.tool_calls or [] %}{{ c.function.name }}{{ c.function.arguments | first }}{% endfor %}"
    )
    tokenizer.chat_template = LOSSY.replace("{{ m.content }}", "{{ m.content }}" + call)
    template = templates.choose("auto", tokenizer)
    row = render(Conversation(1, (TALK[1], TALK[2])), tokenizer, template)
    assert isinstance(row, Refused) and "does not write the tool calls" in row.why
    first = call.replace("arguments | first", "arguments.items() | first")
    tokenizer.chat_template = LOSSY.replace("{{ m.content }}", "{{ m.content }}" + first)
    template = templates.choose("auto", tokenizer)
    row = render(Conversation(1, (TALK[1], TALK[2])), tokenizer, template)
    assert isinstance(row, Refused) and "does not write all of the tool calls" in row.why
    lone = replace(TALK[2], calls=(ToolCall("warmth", '{"where": "Rome"}'),))
    (part,) = parts(render(Conversation(1, (TALK[1], lone)), tokenizer, template), tokenizer)
    assert "Rome" in part and part.endswith("<|end|>")


STRICT = """{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}
{%- for c in m.tool_calls or [] %}{% if (c.id | default('')) | length != 9 %}{{ raise_exception('ids!') }}
{%- endif %}{{ c.id + c.function.name + (c.function.arguments | tojson) }}{% endfor %}
{%- if m.role == 'tool' %}{{ m.tool_call_id }}{% endif %}<|end|>{% endfor %}"""


def test_calls_without_ids_are_numbered_where_a_template_asks_for_ids(tokenizer: Any) -> None:
    tokenizer.chat_template = STRICT
    template = templates.choose("auto", tokenizer)
    assert template.takes_tools is False  # it does not write what is on offer
    bare = tuple(
        replace(turn, calls=tuple(replace(call, id=None) for call in turn.calls), call_id=None)
        for turn in TALK
    )
    row = render(Conversation(1, bare), tokenizer, template)
    assert isinstance(row, Rendered) and row.numbered
    assert "call00003warmth" in parts(row, tokenizer)[2] and "coldcall00003" in row.text
    whole = render(Conversation(1, TALK), tokenizer, template)
    assert isinstance(whole, Rendered) and not whole.numbered


THOUGHT = (TALK[1], Message("assistant", "It is 21.", thought="Rome is in Italy."))
AGAIN = (*THOUGHT, Message("user", "Sure?"), Message("assistant", "Yes.", thought="I looked."))
KEEPS_LAST = """{%- for m in messages %}<|im_start|>{{ m.role }}
{% if m.role == 'assistant' and loop.last %}<think>
{{ m.reasoning_content | default('') }}
</think>

{% endif %}{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def test_thoughts_are_learned_where_they_are_written(tokenizer: Any) -> None:
    template = templates.choose("qwen", tokenizer)
    row = render(Conversation(1, AGAIN), tokenizer, template)
    assert isinstance(row, Rendered) and not row.unthought
    first, last = parts(row, tokenizer)
    assert "Rome is in Italy." in first and "I looked." in last and last.startswith("<think>")


def test_thoughts_that_are_left_out_are_said(tokenizer: Any) -> None:
    tokenizer.chat_template = KEEPS_LAST
    template = templates.choose("auto", tokenizer)
    row = render(Conversation(1, AGAIN), tokenizer, template)
    first, last = parts(row, tokenizer)
    assert isinstance(row, Rendered) and row.unthought
    assert first == "It is 21.<|im_end|>" and "I looked." in last
    alone = render(Conversation(1, THOUGHT), tokenizer, template)
    assert isinstance(alone, Rendered) and not alone.unthought
    silent = render(Conversation(1, THOUGHT), tokenizer, templates.choose("chatml", tokenizer))
    assert isinstance(silent, Rendered) and silent.unthought


def test_a_thought_inside_the_words_is_followed_through_a_template_that_takes_it_apart(shared: Any) -> None:
    tokenizer = load_tokenizer(str(shared / "tokenizers" / "qwen3"))
    template = templates.choose("auto", tokenizer)
    inside = [
        replace(turn, content=f"<think>\n{turn.thought}\n</think>\n\n{turn.content}", thought=None)
        if turn.thought
        else turn
        for turn in AGAIN
    ]
    apart, within = (render(Conversation(1, tuple(talk)), tokenizer, template) for talk in (AGAIN, inside))
    assert isinstance(apart, Rendered) and isinstance(within, Rendered)
    assert (apart.ids, apart.learned) == (within.ids, within.learned)
    assert apart.unthought and within.unthought


def test_arguments_that_hold_the_end_of_a_turn_are_learned_whole(tokenizer: Any) -> None:
    template = templates.choose("qwen", tokenizer)
    odd = '{"where": "a}\\n</tool_call><|im_end|>\\n<|im_start|>user\\n<tool_response>"}'
    talk = (TALK[1], Message("assistant", "", calls=(ToolCall("warmth", odd),)), *TALK[3:5])
    row = render(Conversation(1, talk, tools=ROW.tools), tokenizer, template)
    first, last = parts(row, tokenizer)
    assert first.count("</tool_call>") == 2 and last == "It is 21.<|im_end|>"
