"""The Template step: the example, its neighbours, what is learned, other templates, and what goes wrong."""

import pytest
from textual.widgets import Input, Select, Static

from core.data.templates import NAMES
from core.errors import UserError
from tests.tui.steps import InspectJob, report, until
from tui import find_out
from tui.screens.template import KNOWN_FOR, names
from tui.widgets.progress_line import ProgressLine
from tui.widgets.token_view import TokenView


@pytest.fixture
def job(monkeypatch) -> InspectJob:
    job = InspectJob()
    monkeypatch.setattr(find_out, "run_job_async", job)
    return job


@pytest.fixture
def at_template(app, job):
    app.journey.set("model", "/models/any")
    app.journey.set("data.source", "/data/train.jsonl")
    app.journey.report = report()
    return app


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


async def test_keys_go_through_the_rows_and_around(at_template, job):
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        await until(pilot, lambda: drawn(at_template))
        await pilot.press("n", "n")
        view = at_template.screen.query_one(TokenView)
        await until(pilot, lambda: job.asked and job.asked[-1]["row"] == 2)
        await until(pilot, lambda: str(view.border_title).startswith("row 3 of 999"))
        await pilot.press("p", "p", "p")
        await until(pilot, lambda: job.asked[-1]["row"] == 998)


async def test_learning_everything_is_one_key(at_template, job):
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        await until(pilot, lambda: drawn(at_template))
        await pilot.press("a")
        await until(pilot, lambda: job.asked)
        assert job.asked[-1]["learn"] == "all" and at_template.journey.get("learn") == "all"


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


async def test_a_file_that_does_not_render_is_told_and_not_passed(at_template, job, tmp_path):
    file = tmp_path / "mine.jinja"
    file.write_text("{% for %}")
    job.answer = UserError(f"{file} does not render", "line 1: expected a name", "mend that line")
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        await until(pilot, lambda: drawn(at_template))
        at_template.screen.query_one("#template", Select).value = "file"
        await until(pilot, lambda: getattr(at_template.screen.focused, "id", "") == "file")
        at_template.screen.query_one("#file", Input).value = str(file)
        await pilot.press("enter")
        await until(pilot, lambda: "line 1: expected a name" in drawn(at_template))
        assert job.asked[-1]["template"] == str(file)
        await pilot.press("ctrl+n")
        await pilot.pause()
        assert at_template.screen.step == "template"


async def test_an_end_that_is_not_learned_is_said_plainly(at_template, job):
    at_template.journey.report = report(
        template={"name": "x", "origin": "file", "end": "</s>", "end_learned": False, "why": "from a file"}
    )
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        ends = "not learned: it would never stop"
        await until(pilot, lambda: ends in str(at_template.screen.query_one("#ends", Static).content))


async def test_plain_text_needs_no_template(at_template, job):
    at_template.journey.report = report(template=None, format="text")
    async with at_template.run_test(size=(80, 24)) as pilot:
        at_template.goto("template")
        await until(pilot, lambda: "no template" in said(at_template))
        await pilot.press("enter")
        await pilot.pause()
        assert "template" in at_template.journey.done
