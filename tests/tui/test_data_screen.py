"""The Data step with the inspect job answered at its boundary: choosing, reading, mapping, going on."""

from textual.widgets import DataTable, Input, OptionList, Select, Static

from core.errors import UserError
from tests.tui import machines
from tests.tui.steps import report, until
from tui.data_list import demo_data
from tui.widgets.mapping import MappingScreen
from tui.widgets.progress_line import ProgressLine


def near(app) -> list[str]:
    return [str(option.id) for option in app.screen.query_one("#near", OptionList).options]


def said(app) -> str:
    return str(app.screen.query_one("#progress", ProgressLine).content)


def shown(app, where: str) -> str:
    return str(app.screen.query_one(where, Static).content)


async def opened(app, pilot, here) -> None:
    """The Data step with a source that was read."""
    app.journey.set("data.source", str(here / "train.jsonl"))
    app.goto("data")
    await until(pilot, lambda: app.journey.report and "999 rows" in said(app))


async def test_what_lies_here_is_offered_and_enter_twice_is_enough(at_data, job, here):
    async with at_data.run_test(size=(80, 24)) as pilot:
        at_data.goto("data")
        await until(pilot, lambda: near(at_data))
        assert near(at_data) == [str(here / "train.jsonl"), str(here / "valid.jsonl"), demo_data()]
        await pilot.press("enter")
        await until(pilot, lambda: at_data.journey.report)
        assert at_data.journey.get("data.source") == str(here / "train.jsonl")
        await until(pilot, lambda: "Alpaca · 98 % sure" in shown(at_data, "#format"))
        await pilot.press("enter")
        await pilot.pause()
        assert at_data.screen.step == "template"
        assert "data" in at_data.journey.done


async def test_with_nothing_here_the_demo_is_the_default(at_data, job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with at_data.run_test(size=(80, 24)) as pilot:
        at_data.goto("data")
        await until(pilot, lambda: near(at_data))
        await pilot.press("enter")
        await until(pilot, lambda: at_data.journey.report)
        assert at_data.journey.get("data.source") == demo_data()


async def test_a_typed_id_is_taken_as_it_is(at_data, job, here):
    async with at_data.run_test(size=(80, 24)) as pilot:
        at_data.goto("data")
        await pilot.pause()
        await pilot.press(*"owner/set")
        await until(pilot, lambda: near(at_data)[:1] == ["typed"])
        await pilot.press("enter")
        await until(pilot, lambda: job.asked)
        assert job.asked[0]["source"] == "owner/set"


async def test_a_half_typed_path_is_completed_from_the_list(at_data, job, here):
    async with at_data.run_test(size=(80, 24)) as pilot:
        at_data.goto("data")
        await pilot.pause()
        await pilot.press(*"val")
        await until(pilot, lambda: len(near(at_data)) == 2)
        await pilot.press("enter")
        await until(pilot, lambda: job.asked)
        assert job.asked[0]["source"] == str(here / "valid.jsonl")


async def test_progress_is_seen_and_one_cannot_run_ahead(at_data, job, here):
    job.gate.clear()
    async with at_data.run_test(size=(80, 24)) as pilot:
        at_data.journey.set("data.source", str(here / "train.jsonl"))
        at_data.goto("data")
        await until(pilot, lambda: "450 of 999" in said(at_data))
        at_data.screen.query_one("#next").focus()
        await pilot.press("enter")
        await pilot.pause()
        assert at_data.screen.step == "data"
        assert "still being read" in str(at_data.screen.query_one("#note", Static).content)
        at_data.goto("runs")  # leaving ends the child
        await until(pilot, lambda: job.cancelled)


async def test_an_error_is_shown_whole_and_stays_on_the_step(at_data, job, here):
    job.answer = UserError("train.jsonl is empty", "it has 0 rows", "give a file with at least one row")
    async with at_data.run_test(size=(80, 24)) as pilot:

        def refused() -> str:
            return str(at_data.screen.query_one("#refusal", Static).content)

        at_data.journey.set("data.source", str(here / "train.jsonl"))
        at_data.goto("data")
        await until(pilot, lambda: "it has 0 rows" in refused())
        assert "→ give a file with at least one row" in refused(), "nothing of it is cut off"
        at_data.screen.query_one("#source").focus()
        await pilot.press("enter")  # the same source again: it is read again, not passed
        await until(pilot, lambda: len(job.asked) == 2)
        await until(pilot, lambda: "it has 0 rows" in refused())
        assert at_data.screen.step == "data"
        await pilot.press("ctrl+n")
        await pilot.pause()
        assert at_data.screen.step == "data"


async def test_a_finding_that_stops_is_not_passed(at_data, job, here):
    job.answer = report(findings=[{"severity": "stop", "code": "x", "message": "nothing would be learned"}])
    async with at_data.run_test(size=(80, 24)) as pilot:
        at_data.journey.set("data.source", str(here / "train.jsonl"))
        at_data.goto("data")
        await until(pilot, lambda: at_data.journey.report)
        await pilot.press("ctrl+n")
        await pilot.pause()
        assert at_data.screen.step == "data"
        assert "nothing would be learned" in str(at_data.screen.query_one("#note", Static).content)


async def test_the_report_is_shown_and_ten_rows_of_it(at_data, job, here):
    async with at_data.run_test(size=(120, 40)) as pilot:
        at_data.journey.set("data.source", str(here / "train.jsonl"))
        at_data.goto("data")
        await until(pilot, lambda: at_data.screen.query_one("#rows", DataTable).row_count == 10)
        table = at_data.screen.query_one("#rows", DataTable)
        assert [str(column.label) for column in table.ordered_columns] == [
            "instruction",
            "input",
            "output",
            "id",
        ]
        findings = at_data.screen.query_one("#findings", OptionList)
        await until(pilot, lambda: findings.option_count == 2)
        assert "12 rows stand twice" in str(findings.get_option_at_index(0).prompt), "the worst is first"
        assert "longest 1,022" in shown(at_data, "#sentence")


async def test_a_dial_reads_again_once_it_rests_and_refuses_nonsense(at_data, job, here):
    async with at_data.run_test(size=(80, 24)) as pilot:
        at_data.journey.set("data.source", str(here / "train.jsonl"))
        at_data.goto("data")
        await until(pilot, lambda: at_data.journey.report)
        at_data.screen.query_one("#field-data-eval Dial").focus()
        await pilot.press(*"0.2")
        await until(pilot, lambda: job.asked[-1]["eval"] == 0.2)
        hint = at_data.screen.query_one("#field-data-eval .hint", Static)
        at_data.screen.query_one("#field-data-eval Dial", Input).value = "1.5"
        await until(pilot, lambda: "from 0 to 0.9" in str(hint.content))
        assert at_data.journey.get("data.eval") != 1.5
        await pilot.press("ctrl+n")
        await until(pilot, lambda: "held out: " in shown(at_data, "#note"))
        assert at_data.screen.step == "data", "it would be left out unsaid"


async def test_columns_are_named_by_hand_and_forgotten_with_the_source(at_data, job, here):
    async with at_data.run_test(size=(80, 24)) as pilot:
        await opened(at_data, pilot, here)
        await pilot.press("m")
        await until(pilot, lambda: isinstance(at_data.screen, MappingScreen))
        assert job.asked[-1]["model"] is None, "the head alone, for which no tokenizer is needed"
        assert at_data.screen.chosen()["columns"]["completion"] == "output", "it begins with what was found"
        await pilot.press("ctrl+n")
        await until(pilot, lambda: job.asked[-1]["columns"])
        wanted = {"prompt": "instruction", "input": "input", "completion": "output"}
        assert job.asked[-1]["columns"] == wanted and job.asked[-1]["format"] == "completion"
        await until(pilot, lambda: at_data.journey.report)
        await pilot.press("s")
        at_data.screen.query_one("#source", Input).value = str(here / "valid.jsonl")
        await pilot.pause()
        await pilot.press("enter")
        await until(pilot, lambda: job.asked[-1]["source"].endswith("valid.jsonl"))
        assert job.asked[-1]["columns"] == {}


async def test_coming_back_reads_nothing_again(at_data, job, here):
    async with at_data.run_test(size=(80, 24)) as pilot:
        at_data.journey.set("data.source", str(here / "train.jsonl"))
        at_data.goto("data")
        await until(pilot, lambda: at_data.journey.report)
        await pilot.press("ctrl+n")
        await until(pilot, lambda: at_data.screen.step == "template")
        await pilot.press("escape")
        await until(pilot, lambda: at_data.screen.step == "data")
        await until(pilot, lambda: "999 rows" in said(at_data))
        assert len(job.asked) == 1


async def test_a_held_out_file_is_meant_where_finetui_was_started(at_data, job, here):
    async with at_data.run_test(size=(80, 24)) as pilot:
        at_data.journey.set("data.source", str(here / "train.jsonl"))
        at_data.goto("data")
        await until(pilot, lambda: at_data.journey.report)
        at_data.screen.query_one("#field-data-eval Dial", Input).value = "valid.jsonl"
        await until(pilot, lambda: job.asked[-1]["eval"] == str(here / "valid.jsonl"))


HEAD = report(complete=False, rows=None, rows_estimate=7473)


async def test_the_head_is_shown_while_all_is_read_and_one_may_go_on(at_data, job, here):
    job.head = HEAD
    async with at_data.run_test(size=(120, 40)) as pilot:
        job.gate.clear()
        at_data.journey.set("data.source", str(here / "train.jsonl"))
        at_data.goto("data")
        await until(pilot, lambda: "the first 1,000 rows of about 7,473" in shown(at_data, "#format"))
        await until(pilot, lambda: "450 of 999" in said(at_data))
        await pilot.press("ctrl+n")
        await until(pilot, lambda: at_data.screen.step == "template")
        assert job.cancelled == 0, "the check goes on while another step is shown"
        at_data.goto("runs")
        await until(pilot, lambda: job.cancelled)


async def test_the_length_is_told_at_once_and_nothing_is_read_for_it(at_data, job, here):
    table = [[100, 700], [300, 200], [700, 90], [1022, 9]]
    job.answer = report(lengths={**report()["lengths"], "table": table})
    job.answer["findings"].append({"severity": "warn", "code": "cut", "message": "cut at the old length"})
    at_data.journey.set("model", "Qwen/Qwen3-0.6B")  # its shape is in the catalogue
    at_data.journey.machine = machines.TWO
    async with at_data.run_test(size=(120, 40)) as pilot:
        await opened(at_data, pilot, here)
        await until(pilot, lambda: "every row fits into" in shown(at_data, "#sentence"))
        at_data.screen.query_one("#field-length Dial").focus()
        for length, told in [("512", "99 of 999 rows (9.9 %)"), ("300", "keeping them all costs")]:
            at_data.screen.query_one("#field-length Dial", Input).value = length
            await until(pilot, lambda told=told: told in shown(at_data, "#sentence"))
        findings = at_data.screen.query_one("#findings", OptionList)
        assert not any("the old length" in str(one.prompt) for one in findings.options)
        at_data.screen.query_one("#long", Select).value = "split"
        await until(pilot, lambda: at_data.journey.get("data.long") == "split")
        await until(pilot, lambda: "splitting makes 1,206 pieces" in shown(at_data, "#sentence"))
        assert at_data.journey.get("length") == 300 and len(job.asked) == 1
        await pilot.press("ctrl+n")
        await until(pilot, lambda: at_data.screen.step == "template")
        assert at_data.journey.report is not None
