"""An instruction of one's own and placeholders, and that no row whatever stops the reading."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.conversation import Conversation
from core.data.findings import Tally
from core.data.formats.convert import content_of, convert, understand
from core.data.formats.mapping import preview
from core.data.formats.recognise import recognise
from core.data.sources import Row
from core.errors import UserError
from core.spec import DataFormat, SourceSpec

SUM = "Summarise the following conversation."
ROW: Row = {"dialogue": "A: hi", "summary": "A greets.", "topic": "hello"}


def read(row: Row, **spec: Any) -> list[tuple[str, str]]:
    said = SourceSpec(source="x", **spec)
    (one,) = convert([row], recognise([row], said), Tally(), said)
    return [(turn.role, turn.content) for turn in one.messages]


def test_an_instruction_stands_before_the_prompt() -> None:
    wanted = [("user", f"{SUM}\n\nA: hi"), ("assistant", "A greets.")]
    assert read(ROW, instruction=SUM) == wanted
    assert read(ROW, instruction=SUM, columns={"prompt": "dialogue", "completion": "summary"}) == wanted
    talk = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    answer = {"role": "assistant", "content": "a"}
    assert read({"messages": [*talk, answer]}, instruction=SUM)[1] == ("user", f"{SUM}\n\nq")
    assert read({"messages": [talk[0], answer]}, instruction=SUM)[1] == ("user", SUM)
    assert read({"prompt": "q", "chosen": "a", "rejected": "b"}, instruction=SUM)[0][1] == f"{SUM}\n\nq"
    assert read({"prompt": "", "completion": "a"}, instruction=SUM)[0] == ("user", SUM)


def test_an_instruction_with_columns_is_the_whole_prompt() -> None:
    made = read(ROW, instruction='About {topic}: {dialogue} {{kept}} {"json": 1} {}')
    assert made[0] == ("user", 'About hello: A: hi {{kept}} {"json": 1} {}') and made[1][1] == "A greets."
    assert read(ROW, instruction="{dialogue}?", columns={"completion": "topic"})[1] == ("assistant", "hello")
    ranked = {"q": "x", "chosen": "a", "rejected": "b"}
    assert read(ranked, instruction="Say {q}.")[0] == ("user", "Say x.")


def test_an_instruction_that_does_not_fit_is_refused() -> None:
    for row, instruction, said in (
        (ROW, "{dialog}", "did you mean {dialogue}"),
        ({"text": "t"}, SUM, "plain text takes no instruction"),
        (
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
            "{messages}",
            "braces",
        ),
    ):
        with pytest.raises(UserError) as caught:
            read(row, instruction=instruction)
        assert said in caught.value.line().lower()


def test_rows_without_a_column_of_the_instruction_are_named() -> None:
    said, tally = SourceSpec(source="x", instruction="{topic}: {dialogue}"), Tally()
    rows: list[Row] = [ROW, {"dialogue": "d", "summary": "s"}, {**ROW, "topic": None}]
    kept = convert(rows, recognise(rows, said), tally, said)
    assert [one.messages[0].content for one in kept] == ["hello: A: hi", ": A: hi"]
    assert [(one.code, one.rows) for one in tally.findings(3)] == [("other_schema", (2,))]


def test_placeholders_are_filled_everywhere_and_told() -> None:
    rows: list[Row] = [
        {"prompt": "Who is {{ name }}?", "completion": "I am {{name}} of {{author}}."},
        {"prompt": "Hi", "completion": "Hello."},
        {"messages": [{"role": "system", "content": "{{name}}"}, {"role": "assistant", "content": "x"}]},
    ]
    said, tally = SourceSpec(source="x", fill={"name": "Ann"}), Tally()
    kept = convert(rows, recognise(rows, said), tally, said)
    assert [turn.content for turn in kept[0].messages] == ["Who is Ann?", "I am Ann of {{author}}."]
    assert kept[2].messages[0].content == "Ann"
    found = {one.code: one for one in tally.findings(3)}
    assert {code: one.rows for code, one in found.items()} == {"filled": (1, 3), "mixed_formats": (3,)}


def test_the_preview_is_what_is_learned_or_why_not() -> None:
    def shown(rows: list[Row], **spec: Any) -> list[dict[str, Any]]:
        return preview(rows, SourceSpec(source="x", **spec))

    mapped = {"prompt": "dialogue", "completion": "summary"}
    first, second = shown([ROW, {**ROW, "summary": ""}], columns=mapped, instruction=SUM)
    assert first == {
        "row": 1,
        "problem": "",
        "turns": [
            {"role": "user", "content": f"{SUM}\n\nA: hi", "learn": False},
            {"role": "assistant", "content": "A greets.", "learn": True},
        ],
    }
    assert (second["problem"], second["turns"]) == ("the answer is empty", [])
    (pair,) = shown([ROW], columns={"prompt": "topic", "chosen": "summary", "rejected": "dialogue"})
    assert [(turn.get("verdict"), turn["learn"]) for turn in pair["turns"]] == [
        (None, False),
        ("chosen", True),
        ("rejected", False),
    ]
    (text,) = shown([{"text": "x" * 9_000}])
    assert text["turns"][0]["role"] == "text" and len(text["turns"][0]["content"]) == 2_000
    with pytest.raises(UserError):
        shown([ROW], columns={"prompt": "nowhere"})


NAMES = ["prompt", "completion", "messages", "conversations", "chosen", "rejected", "label", "tools"]
NAMES += ["text", "weight", "history", "input", "system", "a", "b"]
KEYS = ["role", "from", "value", "content", "user", "assistant", "tool_calls", "function", "name"]
KEYS += ["arguments", "type", "text", "weight"]
KINDS = ["user", "assistant", "tool", "function_call", "text", "reasoning", "tool_call"]
LIKE_JSON = ["[", '[{"role": "user"}]', "\n\nHuman: a\n\nAssistant: b", "{{x}}", "true"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS | st.sampled_from(LIKE_JSON),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS), inner | st.sampled_from(KINDS), max_size=4)
    ),
    max_leaves=12,
)
ROWS = st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5), min_size=1, max_size=4)


@settings(max_examples=400, deadline=None)
@given(ROWS, st.sampled_from(DataFormat.__args__), st.sampled_from([None, "Do.", "{a}"]), st.booleans())
def test_any_row_is_understood_or_noted(rows: list[Row], format: Any, instruction: Any, fill: bool) -> None:
    said = SourceSpec(source="x", format=format, instruction=instruction, fill={"x": "y"} if fill else {})
    try:
        found = recognise(rows, said)
    except UserError:
        said = SourceSpec(source="x")
        found = recognise(rows, said)
    for number, row in enumerate(rows, 1):
        tally = Tally()
        one = understand(row, number, found, tally, said)
        tally.findings(len(rows))
        if one is None:
            assert tally.noted
            continue
        assert isinstance(one, Conversation) and one.row == number and content_of(one)
        assert (one.text is not None) != bool(one.messages)
        assert all(isinstance(turn.content, str) for turn in (*one.messages, *one.rejected))
        if one.rejected or one.label is not None:
            assert 0 < one.prompt < len(one.messages)
