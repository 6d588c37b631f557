"""What the Data step is made of: files found, paths completed, columns mapped, the report in words."""

import pytest
from textual.app import App
from textual.widgets import Button, Select, Static

from tests.tui.steps import report
from tui.widgets.field import number, turned
from tui.widgets.mapping import ColumnMapping, mistake
from tui.widgets.progress_line import ProgressLine, progress_text
from tui.widgets.report_view import cell, columns_line, finding_lines, length_lines, summary, worst
from tui.widgets.sources import completions, found_in, is_data


@pytest.fixture
def box(tmp_path):
    for name in ("valid.jsonl", "train.jsonl", "notes.md", "package.json", "sub/rows.csv", ".hidden.jsonl",
                 "x.egg-info/SOURCES.txt", "build/rows.json"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}\n")
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "x.json").write_text("{}")
    return tmp_path


def test_files_found_are_data_and_the_likeliest_come_first(box):
    assert [one.shown for one in found_in(box)] == ["train.jsonl", "sub/rows.csv", "valid.jsonl"]


def test_a_folder_that_may_not_be_read_offers_nothing(tmp_path):
    assert found_in(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("tr", ["train.jsonl"]),
        ("TR", ["train.jsonl"]),
        ("su", ["sub/"]),
        ("sub/", ["sub/rows.csv"]),
        ("sub/ro", ["sub/rows.csv"]),
        ("nothing", []),
    ],
)
def test_half_typed_paths_are_completed(box, typed, offered):
    assert [one.shown for one in completions(typed, box)] == offered


def test_absolute_paths_are_completed_as_typed(box):
    assert [one.shown for one in completions(f"{box}/tra", box / "sub")] == [f"{box}/train.jsonl"]


def test_what_is_data_by_its_name():
    assert is_data("a.jsonl.gz") and is_data("A.CSV") and not is_data("config.json") and not is_data("a.py")


@pytest.mark.parametrize(
    ("value", "by", "next_value"),
    [
        ("4", 1, "8"),
        ("8", 1, "8"),
        ("3", 1, "4"),
        ("3", -1, "2"),
        ("", 1, "2"),
        ("1", -1, "1"),
        ("99", -1, "8"),
    ],
)
def test_keys_turn_a_dial_through_its_values(value, by, next_value):
    assert turned(value, ["2", "4", "8"], by) == next_value


def test_what_is_typed_in_a_dial():
    assert number("") is None and number("auto") is None
    assert number("1,024") == 1024 and number("2e-4") == 2e-4 and number("valid.jsonl") == "valid.jsonl"


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({}, "at least"),
        ({"prompt": "q"}, "completion is missing"),
        ({"completion": "a"}, "prompt is missing"),
        ({"messages": "m", "prompt": "q"}, "whole row"),
        ({"prompt": "q", "completion": "q"}, "two roles"),
        ({"prompt": "q", "completion": "a", "system": "s"}, ""),
        ({"text": "t"}, ""),
    ],
)
def test_a_mapping_is_checked_before_it_is_used(columns, says):
    found = mistake(columns)
    assert (says in found) if says else found == ""


class Bench(App):
    answer: object = "none yet"

    def keep(self, value):
        self.answer = value


async def test_columns_are_mapped_with_keys_alone():
    app = Bench()
    async with app.run_test(size=(80, 24)) as pilot:
        dialog = ColumnMapping(["question", "reply"], {}, [{"question": "Why?", "reply": "So."}])
        app.push_screen(dialog, app.keep)
        await pilot.pause()
        assert dialog.query_one("#use", Button).disabled
        await pilot.press("enter", "down", "enter")  # prompt: opens, first column, taken
        await pilot.press("tab", "enter", "down", "down", "enter")
        await pilot.pause()
        assert dialog.chosen() == {"prompt": "question", "completion": "reply"}
        assert "Why?" in str(dialog.query_one("#example", Static).content)
        await pilot.press("ctrl+n")
        await pilot.pause()
    assert app.answer == {"prompt": "question", "completion": "reply"}


async def test_leaving_the_mapping_changes_nothing():
    app = Bench()
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(ColumnMapping(["a", "b"], {"prompt": "a", "completion": "b"}, []), app.keep)
        await pilot.pause()
        assert app.screen.query_one("#role-prompt", Select).value == "a"
        await pilot.press("escape")
        await pilot.pause()
    assert app.answer is None


def test_the_report_in_one_line():
    said = summary(report()).plain
    assert said.startswith("Alpaca (certain, 98 %) · 999 rows: 949 to learn from, 50 held out")
    assert "60 % learned" in said
    assert "not recognised" in summary(report(format=None)).plain
    assert "none held out" in summary(report(eval_rows=0)).plain


def test_every_column_says_what_it_becomes():
    assert columns_line({"q": "prompt", "a": "completion", "id": None}).plain == (
        "q → prompt  ·  a → completion  ·  id unused"
    )


def test_findings_stand_worst_first_and_within_the_width():
    stop = {
        "severity": "stop",
        "code": "x",
        "message": "nothing would be learned at all here",
        "todo": "map it",
    }
    text = finding_lines([*report()["findings"], stop], 30).plain
    lines = text.split("\n")
    assert lines[0].startswith("✗ nothing would")
    assert all(len(line) <= 30 for line in lines)
    assert worst([*report()["findings"], stop]) == "nothing would be learned at all here"
    assert worst(report()["findings"]) == ""
    assert "nothing wrong" in finding_lines([], 30).plain


def test_lengths_fill_their_box():
    lines = length_lines(report(), 40, 6, 512).plain.split("\n")
    assert len(lines) == 6 and "longest 1,022" in lines[-1] and "↑ 512" in lines[-2]
    assert "tokenizer" in length_lines(report(lengths=None), 40, 6, None).plain


def test_cells_are_one_line():
    assert cell("a\n b   c") == "a b c"
    assert cell("x" * 100, 10) == "x" * 9 + "…"


def test_progress_says_what_how_far_and_how_long():
    text = progress_text("tokenise", 450, 900, 3.0).plain
    assert "counting tokens" in text and "450 of 900" in text and "3 s" in text
    assert text.count("━") == 20
    assert "s" not in progress_text("x", 0, None, 0.4).plain


async def test_the_progress_line_keeps_its_place_and_falls_silent():
    class Line(App):
        def compose(self):
            yield ProgressLine()

    app = Line()
    async with app.run_test() as pilot:
        line = app.query_one(ProgressLine)
        line.progress("read", 1, 2)
        await pilot.pause()
        assert line.busy and "reading the data" in str(line.content) and line.size.height == 1
        line.quiet()
        await pilot.pause()
        assert not line.busy and str(line.content) == "" and line.size.height == 1
