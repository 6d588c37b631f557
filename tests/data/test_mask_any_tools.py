"""Any tools, any arguments: what is learned of a call reads back as that call."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.chat_template.mask import Rendered, render
from core.data.conversation import Conversation, Message, ToolCall
from tests.data.conftest import MADE
from tests.data.test_mask_any import ANSWER, WORDS, template_of, tokenizer_of
from tests.data.test_mask_tools import parts, tool

NAME = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
VALUE = st.recursive(
    WORDS | st.integers(-99, 99) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAME, inner, max_size=2),
    max_leaves=4,
)
CALL = st.tuples(NAME, st.dictionaries(NAME | st.just("q é"), VALUE, max_size=3))
TURN = st.tuples(WORDS, st.none() | WORDS, st.lists(CALL, min_size=1, max_size=2), WORDS, ANSWER)


@settings(max_examples=120, deadline=None)
@given(
    turns=st.lists(TURN, min_size=1, max_size=2),
    name=st.sampled_from(("qwen", "llama-3", "deepseek", "command-r")),
    kind=st.sampled_from(list(MADE)),
)
def test_any_call(turns: Any, name: str, kind: str) -> None:
    tokenizer, template = tokenizer_of(kind), template_of(name, kind)
    messages: list[Message] = []
    for question, thought, calls, result, answer in turns:
        made = tuple(ToolCall(called, json.dumps(arguments)) for called, arguments in calls)
        words = question[:5]  # words beside a call
        messages += [Message("user", question), Message("assistant", words, calls=made, thought=thought)]
        messages += [Message("tool", result, name=calls[0][0]) for _ in made]
        messages.append(Message("assistant", answer))
    tools = tuple(tool(called) for *_, calls, _, _ in turns for called, _ in calls)
    row = render(Conversation(1, tuple(messages), tools=tools), tokenizer, template)
    assert isinstance(row, Rendered), row
    learned = parts(row, tokenizer)
    assert len(learned) == 2 * len(turns)
    assert row.unthought == (name in ("llama-3", "command-r") and any(turn[1] is not None for turn in turns))
    for (_, _, calls, _, answer), called, said in zip(turns, learned[::2], learned[1::2], strict=True):
        assert called.endswith(template.end_token)
        assert "".join(said.split()) == "".join(f"{answer}{template.end_token}".split())
        for name_called, arguments in calls:
            assert name_called in called
            if kind == "byte-level":
                assert json.dumps(arguments, ensure_ascii=False) in called
