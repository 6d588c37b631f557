"""The Template step: the example, its neighbours, what is learned, other templates, and what goes wrong."""

import asyncio
from typing import Any

import pytest
from textual.widgets import Input, Select, Static

from core.data.chat_template.named import NAMES
from core.errors import UserError
from tests.tui.steps import Rows, report, until
from tui import find_out, row_view
from tui.template_list import KNOWN_FOR, LEARN, names, offered
from tui.widgets.progress_line import ProgressLine
from tui.widgets.token_view import TokenView


@pytest.fixture
def rows(monkeypatch) -> Rows:
    rows = Rows()
    monkeypatch.setattr(row_view, "Viewer", lambda: rows)
    return rows


@pytest.fixture
def at_template(app, job, rows):
    app.journey.set("model", "/models/any")
    app.journey.set("data.source", "/data/train.jsonl")
    app.journey.report = report()
    return app


def shown(app, where: str) -> str:
    return str(app.screen.query_one(where, Static).content)


def drawn(app) -> str:
    return str(app.screen.query_one(TokenView).query_one(Static).content)


def said(app) -> str:
    return str(app.screen.query_one("#progress", ProgressLine).content)


def test_every_named_template_is_offered_and_described():
    assert names() == sorted(NAMES)
    assert set(names()) <= set(KNOWN_FOR)


async def test_the_known_example_is_shown_at_once_with_its_end(at_template, job):
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        await until(pilot, lambda: "The size of an adapter." in drawn(at_template))
        assert "learned: the answer ends here" in drawn(at_template)
        assert "which is learned: it will stop" in str(at_template.screen.query_one("#ends", Static).content)
        assert said(at_template).startswith("chatml: the model has no template")
        assert job.asked == []


async def test_keys_go_through_the_rows_and_around(at_template, rows):
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        await until(pilot, lambda: rows.asked == [1])
        await pilot.press("n", "n")
        view = at_template.screen.query_one(TokenView)
        await until(pilot, lambda: str(view.border_title).startswith("row 3 ·"))
        assert rows.asked == [1, 3], "keys in a row are one reading"
        await pilot.press("p", "p", "p")
        await until(pilot, lambda: rows.asked[-1] == 999)
        assert len(rows.opened) == 1, "the data is opened once"


async def test_what_is_learned_is_chosen_by_a_key_and_every_row_checked_again(at_template, job):
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        await until(pilot, lambda: drawn(at_template))
        for choice in ["last", "completion", "all", "assistant"]:
            await pilot.press("l")
            await until(pilot, lambda choice=choice: at_template.journey.get("learn") == choice)
            hint = str(at_template.screen.query_one("#learn-hint", Static).content)
            assert hint == LEARN[choice]
        await until(pilot, lambda: at_template.journey.report)
        assert {request["learn"] for request in job.asked} >= {"assistant"}


async def test_a_key_goes_to_the_rows_with_findings(at_template, rows):
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        await until(pilot, lambda: drawn(at_template))
        for key, row in [("f", 17), ("f", 44), ("F", 17), ("F", 90), ("f", 17)]:
            await pilot.press(key)
            await until(pilot, lambda row=row: at_template.journey.row == row)
        await until(pilot, lambda: rows.asked[-1] == 17)
        assert "! repeated rows" in shown(at_template, "#row-hint")


async def test_a_row_is_shown_by_its_number(at_template, rows):
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        await until(pilot, lambda: drawn(at_template))
        await pilot.press("g", *"44", "enter")
        await until(pilot, lambda: rows.asked[-1] == 44)
        assert at_template.screen.focused.id == "example"


async def test_tokens_are_set_apart_by_a_key(at_template, job):
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        await until(pilot, lambda: drawn(at_template))
        await pilot.press("t")
        await until(pilot, lambda: "<|im_start|> 1  user↵ 5" in drawn(at_template))
        await pilot.press("t")
        await until(pilot, lambda: "What is a rank?" in drawn(at_template))


def test_a_template_whose_tokens_are_lacking_says_so():
    shown = {key: name for name, key in offered({"lacking": {"llama-3": ["<|eot_id|>"]}})}
    assert "no tokens" in shown["llama-3"] and shown["chatml"] == "chatml"


async def test_another_template_makes_the_example_anew(at_template, job):
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        await until(pilot, lambda: drawn(at_template))
        at_template.screen.query_one("#template", Select).value = "zephyr"
        await until(pilot, lambda: job.asked)
        assert job.asked[-1]["template"] == "zephyr"
        at_template.screen.query_one("#template", Select).value = "auto"
        await until(pilot, lambda: job.asked[-1]["template"] == "auto")
        assert at_template.journey.get("template") is None


async def test_a_file_that_does_not_render_is_told_and_not_passed(at_template, rows, tmp_path):
    file = tmp_path / "mine.jinja"
    file.write_text("{% for %}")
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        await until(pilot, lambda: drawn(at_template))
        at_template.screen.query_one("#template", Select).value = "file"
        await until(pilot, lambda: getattr(at_template.screen.focused, "id", "") == "file")
        at_template.screen.query_one("#file", Input).value = str(file)
        rows.error = UserError(f"{file} does not render", "line 1: expected a name", "mend that line")
        await pilot.press("enter")
        await until(pilot, lambda: "line 1: expected a name" in drawn(at_template))
        assert at_template.journey.get("template") == str(file)
        await pilot.press("ctrl+n")
        await pilot.pause()
        assert at_template.screen.step == "template"


async def test_an_end_that_is_not_learned_is_said_plainly(at_template, rows):
    end = {"name": "x", "origin": "file", "end": "</s>", "end_learned": False, "why": "from a file"}
    rows.told = {"template": end}
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        ends = "not learned: it would never stop"
        await until(pilot, lambda: ends in str(at_template.screen.query_one("#ends", Static).content))


async def test_plain_text_needs_no_template(at_template, rows):
    at_template.journey.report = report(template=None, format="text")
    rows.told = {"template": None}
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        await until(pilot, lambda: "no template" in said(at_template))
        await pilot.press("enter")
        await pilot.pause()
        assert "template" in at_template.journey.done


async def test_a_row_that_is_left_out_says_why_and_is_shown_as_it_stands(at_template, rows):
    rows.told = {
        "example": None,
        "refused": "an answer is missing",
        "columns": {"question": "Why?", "id": "7"},
    }
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        await until(pilot, lambda: "✗ left out: an answer is missing" in drawn(at_template))
        assert "question: Why?" in drawn(at_template)
        rows.told = {"refused": "nothing in it is learned"}
        await pilot.press("n")
        await until(pilot, lambda: "✗ left out: nothing in it is learned" in drawn(at_template))
        assert "What is a rank?" in drawn(at_template)
        rows.told = {"example": None, "refused": None, "columns": None, "template": None}
        await pilot.press("n")
        await until(pilot, lambda: "there is no row 3" in drawn(at_template))


async def test_neighbours_in_the_pack_are_named_once_the_whole_is_known(at_template, rows):
    at_template.journey.report = report(held_out={"way": "asked", "bins": [3]})
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        said = "row 1 · shares its pack with row 17, from token 512 on"
        await until(pilot, lambda: at_template.screen.query_one(TokenView).border_title == said)


async def test_leaving_lets_the_process_go(at_template, rows):
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        await until(pilot, lambda: rows.asked)
        at_template.goto("data")
        await pilot.pause()
        assert not rows.closed
        at_template.goto("runs")
        await until(pilot, lambda: rows.closed)


@pytest.mark.parametrize("back", [True, False], ids=["back", "out"])
async def test_a_row_that_comes_while_the_screen_goes_looks_for_no_widget(at_template, monkeypatch, back):
    going = asyncio.Event()

    async def row(*_: object) -> dict[str, Any]:
        screen = at_template.screen
        going.set()
        while screen.query("#progress"):
            await asyncio.sleep(0)
        raise UserError("row 1", "the process is gone", "choose it again")

    monkeypatch.setattr(find_out, "row", row)
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        await until(pilot, going.is_set)
        if back:
            await pilot.press("escape")
            await until(pilot, lambda: at_template.screen.step == "data")


async def test_before_all_is_read_no_end_of_the_rows_is_claimed(at_template, job, rows):
    at_template.journey.report, job.head = None, report(complete=False, rows=None, rows_estimate=7473)
    at_template.journey.preview = job.head
    job.gate.clear()
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        await until(pilot, lambda: "of about 7,473" in shown(at_template, "#row-hint"))
        await until(pilot, lambda: "450 of 999" in shown(at_template, "#note"))
        await pilot.press("p")
        await pilot.pause()
        assert at_template.journey.row == 1, "there is no way around an end that is not known"
        job.gate.set()
        await until(pilot, lambda: at_template.journey.report)
