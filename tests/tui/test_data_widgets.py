"""What the Data step is made of: files found, paths completed, columns mapped, the report in words."""

import pytest
from textual.app import App

from tests.tui.steps import report
from tui.data_list import OWN, offers
from tui.journey import Journey
from tui.widgets.data_found import shown_findings
from tui.widgets.field import number, turned
from tui.widgets.length_panel import length_picture, length_sentence
from tui.widgets.progress_line import ProgressLine, progress_text
from tui.widgets.report_view import cell, columns_line, finding_lines, format_line, rows_line, worst
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


def test_started_from_its_own_folder_it_offers_what_a_person_put_there(box, monkeypatch):
    monkeypatch.setattr("tui.data_list.OWN", box)
    own = [one.shown for one in offers("", box, box / "runs")]
    assert own == ["train.jsonl", "valid.jsonl", "the demo's questions and answers"]
    monkeypatch.undo()
    assert "sub/rows.csv" in [one.shown for one in offers("", box, box / "runs")]
    assert (OWN / "core" / "spec.py").exists()


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


def test_the_format_stands_with_how_sure_it_is_and_why():
    assert format_line(report()).plain == "Alpaca · 98 % sure · an instruction, an input and an output"
    sharegpt = format_line(report(format="sharegpt", confidence=1.0)).plain
    assert sharegpt == "ShareGPT · certain · turns with from and value"
    assert format_line(report(format=None)).plain.startswith("not recognised · m says")
    two = [{"format": "alpaca"}, {"format": "text"}]
    assert format_line(report(sources=two)).plain == "2 sources · Alpaca, plain text"


def test_the_rows_in_one_line():
    assert rows_line(report()).plain.startswith("999 rows: 949 to learn from, 50 held out")
    assert "60 % learned" in rows_line(report()).plain
    assert "none held out" in rows_line(report(eval_rows=0)).plain
    head = report(complete=False, rows=None, rows_estimate=7473)
    assert rows_line(head).plain.startswith("the first 1,000 rows of about 7,473")


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


LENGTHS = {**report()["lengths"], "count": 1000, "table": [[100, 700], [300, 200], [700, 90], [1022, 10]]}


def test_lengths_fill_their_box():
    lines = length_picture(LENGTHS, 40, 5, 512).plain.split("\n")
    assert len(lines) == 5 and "↑ 512" in lines[-1]
    assert "tokenizer" in length_picture(None, 40, 6, None).plain


def told(**changed):
    """What core.plan.length says of a length."""
    choices = [
        {"long": "cut", "rows": 1000, "tokens": 90_000, "tokens_lost": 10_000},
        {"long": "drop", "rows": 900, "tokens": 60_000, "tokens_lost": 40_000},
        {"long": "split", "rows": 1120, "tokens": 100_000, "tokens_lost": 0},
    ]
    sentence = "100 of 1,000 rows (10.0 %) are longer than 512; p99 is 700; keeping them costs 1.8 GiB"
    return {"rows": 1000, "rows_longer": 100, "sentence": sentence, "choices": choices, **changed}


@pytest.mark.parametrize(
    ("long", "done"),
    [
        ("cut", "cutting loses 10,000 tokens (10 %)"),
        ("drop", "dropping leaves 900 rows, loses 40,000 tokens (40 %)"),
        ("split", "splitting makes 1,120 pieces of 1,000 rows"),
    ],
)
def test_what_a_length_costs_is_one_sentence(long, done):
    said = length_sentence(told(), LENGTHS, 512, long).plain
    assert said == f"{told()['sentence']} · {done}"


def test_without_a_model_or_machine_only_the_lengths_are_told():
    said = length_sentence(None, LENGTHS, None, "cut").plain
    assert said == "half ≤ 131 · 95 % ≤ 412 · 99 % ≤ 700 · longest 1,022"
    said = length_sentence(None, LENGTHS, 512, "cut").plain
    assert said == "100 of 1,000 rows (10.0 %) are longer than 512; p99 is 700"
    fits = told(rows_longer=0, sentence="every row fits into 2,048 tokens")
    assert length_sentence(fits, LENGTHS, 2048, "cut").plain == "✓ every row fits into 2,048 tokens"
    assert length_sentence(None, None, 512, "cut").plain == ""


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


def test_findings_name_the_screens_keys_not_the_commands_options(tmp_path):
    from core.data.formats.columns import HOW_TO_MAP

    found = {"severity": "warn", "code": "guessed_columns", "message": "guessed", "todo": HOW_TO_MAP}
    shown = shown_findings(report(findings=[found]), Journey(tmp_path))
    assert shown[0]["todo"] == "m says which column is what"
