"""The mapping: columns become roles by keys alone, with the rows shown as the trainer would read them."""

import pytest
from textual.app import App
from textual.widgets import Button, Select, Static

from tui.roles import FORMATS, ROLES, mistake, placeholders
from tui.widgets.mapping import MappingScreen
from tui.widgets.turn_view import turn_lines

GSM8K = [
    {"question": f"Natalia sold {n} clips. How many?", "answer": f"She sold <<{n}>> {n}.\n#### {n}"}
    for n in range(3)
]
DIALOGSUM = [
    {"id": "train_0", "dialogue": "#Person1#: Hi, Mr. Smith.\n#Person2#: Hello.", "summary": "They greet.",
     "topic": "greeting"},
]  # fmt: skip


class Bench(App):
    answer: object = "none yet"

    def keep(self, value):
        self.answer = value


@pytest.fixture(params=[(80, 24), (120, 40)], ids=["80x24", "120x40"])
def size(request):
    return request.param


def become(screen) -> str:
    return str(screen.query_one("#become Static", Static).content)


def wrong(screen) -> str:
    return str(screen.query_one("#problem", Static).content)


@pytest.mark.parametrize(
    ("format", "columns", "says"),
    [
        ("completion", {}, "prompt and completion"),
        ("completion", {"prompt": "q"}, "choose the column for completion"),
        ("completion", {"prompt": "q", "completion": "q"}, "two roles"),
        ("completion", {"prompt": "q", "completion": "a", "system": "s"}, ""),
        ("text", {}, "text"),
        ("text", {"text": "t"}, ""),
        ("preference", {"prompt": "q", "chosen": "a"}, "rejected"),
        ("kto", {"messages": "m"}, "label"),
        ("kto", {"prompt": "q", "completion": "a", "label": "l"}, ""),
    ],
)
def test_a_mapping_is_checked_before_it_is_used(format, columns, says):
    found = mistake(format, columns)
    assert (says in found) if says else found == ""


def test_every_role_belongs_to_a_format():
    assert {role for _, roles, _ in FORMATS.values() for role in roles} == set(ROLES)


def test_a_prompt_may_be_made_from_the_instruction():
    assert mistake("completion", {"completion": "a"}, "Translate {text}.") == ""


def test_placeholders_are_found_once_each():
    rows = [{"a": "I am {{name}} of {{author}}", "b": [{"content": "{{ name }}"}]}]
    assert placeholders(rows) == ["name", "author"]


async def test_a_question_and_its_answer_are_mapped_with_keys_alone(size):
    app = Bench()
    async with app.run_test(size=size) as pilot:
        screen = MappingScreen("gsm8k.jsonl", {"question": None, "answer": None}, GSM8K, None, {})
        app.push_screen(screen, app.keep)
        await pilot.pause()
        assert screen.query_one("#use", Button).disabled and "prompt and completion" in wrong(screen)
        await pilot.press("tab", "enter", "down", "enter")  # prompt: the first column
        await pilot.press("tab", "tab", "enter", "down", "down", "enter")  # past input: the second
        await pilot.pause()
        assert screen.chosen()["columns"] == {"prompt": "question", "completion": "answer"}
        assert "ready" in wrong(screen)
        assert "Natalia sold 0 clips" in become(screen) and "▌assistant" in become(screen)
        assert become(screen).count("user") == 3, "three rows are shown"
        await pilot.press("ctrl+n")
        await pilot.pause()
    assert app.answer == {"format": "completion", "columns": {"prompt": "question", "completion": "answer"}}


async def test_a_dialogue_is_summarised_with_an_instruction_of_ones_own(size):
    app = Bench()
    async with app.run_test(size=size) as pilot:
        columns = {"id": None, "dialogue": None, "summary": None, "topic": None}
        screen = MappingScreen("dialogsum.csv", columns, DIALOGSUM, None, {})
        app.push_screen(screen, app.keep)
        await pilot.pause()
        await pilot.press("tab", "enter", "down", "down", "enter")
        await pilot.press("tab", "tab", "enter", "down", "down", "down", "enter")
        while getattr(screen.focused, "id", "") != "instruction":
            await pilot.press("tab")
        await pilot.press(*"Summarise:")
        await pilot.pause()
        assert "Summarise: #Person1#: Hi" in become(screen), "the words stand before the dialogue"
        await pilot.press("ctrl+n")
        await pilot.pause()
    assert app.answer == {
        "format": "completion",
        "columns": {"prompt": "dialogue", "completion": "summary"},
        "instruction": "Summarise:",
    }


async def test_placeholders_are_filled(size):
    app = Bench()
    rows = [{"instruction": "Who are you?", "input": "", "output": "I am {{name}}."}]
    columns = {"instruction": "prompt", "input": "input", "output": "completion"}
    async with app.run_test(size=size) as pilot:
        screen = MappingScreen("identity.json", columns, rows, "alpaca", {})
        app.push_screen(screen, app.keep)
        await pilot.pause()
        screen.query_one("#fill-0").focus()
        await pilot.press(*"Ada")
        await pilot.pause()
        assert "I am Ada." in become(screen)
        await pilot.press("ctrl+n")
        await pilot.pause()
    assert app.answer["fill"] == {"name": "Ada"}


async def test_a_row_that_cannot_be_read_is_said_in_one_line():
    app = Bench()
    rows = [{"q": "Why?", "a": "So."}, {"q": "Why?", "a": ["no", "text"]}]
    async with app.run_test(size=(80, 24)) as pilot:
        screen = MappingScreen("x.json", {"q": "prompt", "a": "completion"}, rows, "completion", {})
        app.push_screen(screen, app.keep)
        await pilot.pause()
        assert wrong(screen).startswith("✗ row 2:") and "2  ✗" in become(screen)
        assert not screen.query_one("#use", Button).disabled, "the other rows can be learned"


async def test_what_was_chosen_stands_there_again_and_can_be_left(size):
    app = Bench()
    chosen = {"format": "completion", "columns": {"prompt": "b", "completion": "a"}, "instruction": "Do:"}
    async with app.run_test(size=size) as pilot:
        rows = [{"a": "x", "b": "y"}]
        app.push_screen(MappingScreen("x", {"a": "prompt", "b": None}, rows, "completion", chosen), app.keep)
        await pilot.pause()
        assert app.screen.chosen() == chosen
        await pilot.press("escape")
        await pilot.pause()
        assert app.answer is None
        app.push_screen(MappingScreen("x", {"a": "prompt", "b": None}, rows, "completion", chosen), app.keep)
        await pilot.pause()
        await pilot.press("ctrl+r")
        await pilot.pause()
    assert app.answer == {}


async def test_another_format_offers_its_own_roles():
    app = Bench()
    rows = [{"q": "Why?", "good": "So.", "bad": "No."}]
    async with app.run_test(size=(80, 24)) as pilot:
        screen = MappingScreen("x", dict.fromkeys(rows[0]), rows, None, {})
        app.push_screen(screen, app.keep)
        await pilot.pause()
        screen.query_one("#format", Select).value = "preference"
        for role, column in [("prompt", "q"), ("chosen", "good"), ("rejected", "bad")]:
            screen.query_one(f"#role-{role}", Select).value = column
        await pilot.pause()
        assert not screen.query_one("#line-completion").display and screen.query_one("#line-chosen").display
        assert "chosen" in become(screen) and "rejected" in become(screen)


def test_turns_fit_their_width():
    rows = [{"row": 1, "problem": "", "turns": [
        {"role": "user", "content": "word " * 40, "learn": False},
        {"role": "assistant", "content": "漢字" * 40, "learn": True}]}]  # fmt: skip
    for most in (1, 3):
        lines = turn_lines(rows, 50, most)
        assert len(lines) == 2 * most
        assert all(line.cell_length <= 50 for line in lines)
        assert lines[-1].plain.rstrip().endswith("…")
