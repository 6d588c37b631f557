"""What is chosen on the Data step once it was read: remedies, sources, splits, packing."""

from textual.widgets import Input, OptionList, Select, Static

from tests.tui.steps import report, until
from tests.tui.test_data_screen import near, opened, shown
from tui.widgets.finding_pane import FindingPane
from tui.widgets.source_list import SourceList

REMEDIED = {
    "severity": "warn", "code": "duplicate", "message": "12 rows stand twice", "rows": [17, 44], "count": 12,
    "todo": "", "remedies": [{"label": "leave the repeats out", "change": {"data.drop": ["duplicate"]}}],
}  # fmt: skip


async def test_a_remedy_is_one_key_and_one_takes_it_back(at_data, job, here):
    job.answer = report(findings=[REMEDIED])
    async with at_data.run_test(size=(80, 24)) as pilot:
        await opened(at_data, pilot, here)
        await pilot.press("f", "enter")
        await until(pilot, lambda: isinstance(at_data.screen, FindingPane))
        assert shown(at_data, "#rows") == "rows 17, 44 and 10 more"
        await pilot.press("1")
        await until(pilot, lambda: job.asked[-1].get("drop") == ["duplicate"])
        findings = at_data.screen.query_one("#findings", OptionList)
        await until(pilot, lambda: "left out: repeated rows" in str(findings.options[0].prompt))
        await until(pilot, lambda: at_data.journey.report)
        await pilot.press("u")
        await until(pilot, lambda: not job.asked[-1].get("drop"))
        assert at_data.journey.get("data.drop") is None
        assert findings.option_count == 1


async def test_what_was_left_out_is_taken_back_from_the_list(at_data, job, here):
    job.answer = report(findings=[])
    at_data.journey.set("data.source", str(here / "train.jsonl"))
    at_data.journey.set("data.drop", ["duplicate"])
    at_data.journey.set("data.mend", ["crlf"])
    async with at_data.run_test(size=(80, 24)) as pilot:
        await opened(at_data, pilot, here)
        findings = at_data.screen.query_one("#findings", OptionList)
        await until(pilot, lambda: findings.option_count == 3)
        await pilot.press("f", "enter")
        await until(pilot, lambda: at_data.journey.get("data.drop") is None)
        assert at_data.journey.get("data.mend") == ["crlf"]


async def test_from_a_finding_one_goes_to_its_first_row(at_data, job, here):
    job.answer = report(findings=[REMEDIED])
    async with at_data.run_test(size=(80, 24)) as pilot:
        await opened(at_data, pilot, here)
        await pilot.press("f", "enter")
        await until(pilot, lambda: isinstance(at_data.screen, FindingPane))
        await pilot.press("v")
        await until(pilot, lambda: getattr(at_data.screen, "step", "") == "template")
        assert at_data.journey.row == 17


async def test_sources_are_added_weighed_and_taken_out(at_data, job, here):
    async with at_data.run_test(size=(80, 24)) as pilot:
        await opened(at_data, pilot, here)
        await pilot.press("plus")
        await until(pilot, lambda: len(near(at_data)) == 3)
        await pilot.press(*"val")
        await until(pilot, lambda: len(near(at_data)) == 2)
        await pilot.press("enter")
        await until(pilot, lambda: at_data.journey.get("data.more"))
        assert at_data.journey.get("data.more") == [{"source": str(here / "valid.jsonl")}]
        sources = at_data.screen.query_one(SourceList)
        await until(pilot, lambda: sources.option_count == 2 and sources.display)
        sources.focus()
        await pilot.press("down", "enter", *"0.5")
        await until(pilot, lambda: (at_data.journey.get("data.more") or [{}])[0].get("weight") == 0.5)
        assert at_data.journey.get("data.weight") is None, "the first keeps its own"
        await until(pilot, lambda: "× 0.5" in str(sources.get_option_at_index(1).prompt))
        sources.highlighted = 0
        sources.focus()
        await pilot.press("minus")
        await until(pilot, lambda: at_data.journey.get("data.source") == str(here / "valid.jsonl"))
        assert at_data.journey.get("data.more") is None and at_data.journey.get("data.weight") == 0.5


async def test_leaving_the_field_changes_nothing(at_data, job, here):
    async with at_data.run_test(size=(80, 24)) as pilot:
        await opened(at_data, pilot, here)
        await pilot.press("plus", "x", "escape")
        await pilot.pause()
        assert at_data.screen.step == "data" and at_data.screen.query_one("#found").display
        assert at_data.screen.query_one("#source", Input).value == str(here / "train.jsonl")
        assert len(job.asked) == 1


async def test_a_hub_set_has_a_configuration_and_a_split_and_a_file_has_not(at_data, job, here):
    async with at_data.run_test(size=(80, 24)) as pilot:
        await opened(at_data, pilot, here)
        assert not at_data.screen.query_one("#field-data-split").display
        await pilot.press("s")
        at_data.screen.query_one("#source", Input).value = "openai/gsm8k"
        await until(pilot, lambda: near(at_data)[:1] == ["typed"])
        await pilot.press("enter")
        await until(pilot, lambda: at_data.screen.query_one("#field-data-split").display)
        at_data.screen.query_one("#field-data-config Dial", Input).value = "main"
        at_data.screen.query_one("#field-data-split Dial", Input).value = "train[:100]"
        await until(pilot, lambda: job.asked[-1].get("split") == "train[:100]")
        assert job.asked[-1].get("config") == "main"


async def test_the_sets_own_split_is_held_out_by_a_key(at_data, job, here):
    job.answer = report(has_eval_split="validation")
    async with at_data.run_test(size=(80, 24)) as pilot:
        await opened(at_data, pilot, here)
        hint = at_data.screen.query_one("#field-data-eval .hint", Static)
        await until(pilot, lambda: "e takes" in str(hint.content))
        await pilot.press("e")
        await until(pilot, lambda: job.asked[-1]["eval"] == "validation")


async def test_packing_is_a_choice_for_which_nothing_is_read(at_data, job, here):
    async with at_data.run_test(size=(80, 24)) as pilot:
        await opened(at_data, pilot, here)
        at_data.screen.query_one("#packing", Select).value = "on"
        await until(pilot, lambda: at_data.journey.get("packing") is True)
        at_data.screen.query_one("#packing", Select).value = "off"
        await until(pilot, lambda: at_data.journey.get("packing") is None)
        assert len(job.asked) == 1 and at_data.journey.report is not None


async def test_a_remedy_for_long_rows_reads_nothing_again(at_data, job, here):
    cut = {"severity": "warn", "code": "cut", "message": "99 rows lose their end", "rows": [1], "count": 99}
    remedies = [{"label": "leave them out", "change": {"data.long": "drop"}}]
    job.answer = report(findings=[{**cut, "remedies": remedies}])
    async with at_data.run_test(size=(80, 24)) as pilot:
        await opened(at_data, pilot, here)
        findings = at_data.screen.query_one("#findings", OptionList)
        await pilot.press("f", "enter")
        await until(pilot, lambda: isinstance(at_data.screen, FindingPane))
        await pilot.press("1")
        await until(pilot, lambda: at_data.journey.get("data.long") == "drop")
        await until(pilot, lambda: "lose their end" not in str(findings.get_option_at_index(0).prompt))
        assert at_data.screen.query_one("#long", Select).value == "drop"
        await pilot.press("u")
        await until(pilot, lambda: "lose their end" in str(findings.get_option_at_index(0).prompt))
        assert at_data.journey.get("data.long") is None and len(job.asked) == 1
