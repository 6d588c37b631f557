"""The home screen: every run in its state, what can be done with it, the draft, and the empty page."""

import shutil
import time
from typing import Any

import pytest
from textual.widgets import Static

from core.runs.events import EventLog, Follow, Record, Step, encode
from core.runs.state import Status
from tests.tui.conftest import MakeRun
from tui.app import FinetuiApp
from tui.run_rows import RunReader
from tui.widgets.ask import Ask
from tui.widgets.preparing import Preparing
from tui.widgets.run_table import RunTable, ago


async def settled(app: FinetuiApp, pilot: Any) -> RunTable:
    """The table, once the runs were read again."""
    while not app.screen.is_mounted:
        await pilot.pause()
    await app.workers.wait_for_complete()  # a look from before the change may be under way
    app.screen.read()
    await app.workers.wait_for_complete()
    await pilot.pause()
    return app.screen.query_one(RunTable)


def texts(table: RunTable) -> list[list[str]]:
    return [[str(cell) for cell in table.get_row_at(row)] for row in range(table.row_count)]


async def test_every_run_is_shown_with_its_state_in_words(app: FinetuiApp, make_run: MakeRun) -> None:
    make_run("tone", "finished", steps=40, total=40, age=630)
    make_run("half", "stopped", steps=20, total=40, age=7200)
    make_run("oom", "failed", steps=3, total=40, age=10_000, error="CUDA out of memory")
    make_run("gone", "died", steps=5, total=40, age=200_000)
    async with app.run_test(size=(120, 40)) as pilot:
        rows = texts(await settled(app, pilot))
    assert [row[:3] for row in rows] == [
        ["tone", "✓ finished", "40 / 40"],
        ["half", "■ stopped", "20 / 40"],
        ["oom", "✗ failed", "3 / 40"],
        ["gone", "✗ died", "5 / 40"],
    ]
    assert rows[0][5] == "10 minutes ago" and rows[3][5] == "2 days ago"
    assert rows[0][3] == f"{RunReader().rows(app.runs_dir)[0].loss:.2f}"


async def test_a_damaged_run_is_a_row_with_its_reason(app: FinetuiApp, make_run: MakeRun) -> None:
    run = make_run("old")
    run.spec_file.write_text("model: [")
    async with app.run_test(size=(120, 40)) as pilot:
        rows = texts(await settled(app, pilot))
        assert rows[0][:2] == ["old", "✗ damaged"]
        about = str(app.screen.query_one("#about", Static).render())
        assert "old is damaged" in about and "run.yaml" in about
        await pilot.press("enter")
        assert app.screen.step == "runs", "there is nothing to open"


@pytest.mark.parametrize(
    ("end", "can"),
    [
        ("finished", {"chat", "delete"}),
        ("stopped", {"resume", "delete"}),
        ("died", {"resume", "delete"}),
    ],
)
async def test_only_what_can_be_done_is_offered(
    app: FinetuiApp, make_run: MakeRun, end: str, can: set[str]
) -> None:
    make_run("one", end)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        offered = {active.binding.action for active in app.screen.active_bindings.values() if active.enabled}
    assert offered & {"chat", "delete", "resume"} == can


async def test_delete_asks_and_no_is_the_default(app: FinetuiApp, make_run: MakeRun) -> None:
    run = make_run("one")
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(app, pilot)
        await pilot.press("d")
        assert isinstance(app.screen, Ask)
        await pilot.press("enter")
        assert run.path.exists()
        await pilot.press("d", "y")
        await app.workers.wait_for_complete()
        assert not run.path.exists()
        await settled(app, pilot)
        assert app.screen.has_class("-none")


async def test_what_happens_outside_is_seen(app: FinetuiApp, make_run: MakeRun) -> None:
    make_run("first", age=60)
    async with app.run_test(size=(120, 40)) as pilot:
        table = await settled(app, pilot)
        second = make_run("second", "died", steps=5, total=40, age=30)
        table = await settled(app, pilot)
        assert [row[0] for row in texts(table)] == ["second", "first"]
        assert table.chosen.name == "first", "the cursor stays on its run"
        log = EventLog(second.events_file)
        log.write(Step(6, 40, 0.1, 1.5, 1e-4, 1.0, 100, 5.0))
        log.close()
        assert texts(await settled(app, pilot))[0][2] == "6 / 40"
        shutil.rmtree(second.path)
        assert [row[0] for row in texts(await settled(app, pilot))] == ["first"]


async def test_the_draft_is_offered_and_taken_up(app: FinetuiApp) -> None:
    app.journey.set("model", "Qwen/Qwen3-0.6B")
    app.journey.at("machine")
    app.journey.fresh()  # as after a restart: only the file knows
    async with app.run_test(size=(120, 40)) as pilot:
        table = await settled(app, pilot)
        assert texts(table)[0][:3] == ["your draft", "✎ draft", "at Machine"]
        await pilot.press("enter")
        await pilot.pause()
        assert app.screen.step == "machine"
        assert app.journey.get("model") == "Qwen/Qwen3-0.6B"


async def test_a_new_run_asks_before_it_replaces_the_draft(app: FinetuiApp) -> None:
    app.journey.set("model", "Qwen/Qwen3-0.6B")
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(app, pilot)
        await pilot.press("n")
        assert isinstance(app.screen, Ask)
        await pilot.press("enter")
        assert app.screen.step == "runs" and app.journey.has_draft()
        await pilot.press("n", "y")
        await pilot.pause()
        assert app.screen.step == "aim" and app.journey.choices == {} and not app.journey.has_draft()


async def test_the_empty_page_invites(app: FinetuiApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(app, pilot)
        assert app.screen.has_class("-none") and app.focused.id == "ways"
        await pilot.press("enter")
        await pilot.pause()
        assert app.screen.step == "aim"


async def test_the_demo_says_why_it_cannot_start(app: FinetuiApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal on the way stays on the screen; leaving comes back home."""
    from core.errors import UserError

    async def refuse(*_: object) -> None:
        raise UserError("no room", "the disk is full", "free some")

    monkeypatch.setattr("core.prepare.prepare_async", refuse)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(app, pilot)
        await pilot.press("D")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert isinstance(app.screen, Preparing)
        assert "no room: the disk is full. Free some" in str(
            app.screen.query_one("ProgressLine", Static).render()
        )
        await pilot.press("escape")
        assert app.screen.step == "runs"


def test_what_ended_is_not_read_twice(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run("one")
    reader = RunReader()
    before = reader.rows(run.path.parent)
    monkeypatch.setattr("tui.run_rows.read_row", lambda *_: pytest.fail("read again"))
    assert reader.rows(run.path.parent) == before


def test_of_a_run_that_lives_only_what_is_new_is_read(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("one", "died", steps=200, total=400)
    monkeypatch.setattr("tui.run_rows.status", lambda *_: Status("running"))
    read: list[int] = []
    poll = Follow.poll

    def counted(follow: Follow) -> list[Record]:
        records = poll(follow)
        read.append(len(records))
        return records

    monkeypatch.setattr(Follow, "poll", counted)
    reader = RunReader()
    assert reader.rows(run.path.parent)[0].step == 200
    with run.events_file.open("ab") as file:
        file.write(encode(Step(201, 400, 0.5, 1.0, 1e-4, 1.0, 100, 5.0), 999, time.time()))
    assert reader.rows(run.path.parent)[0].step == 201
    assert len(read) == 2 and read[0] > 200 and read[1] == 1


def test_no_folder_of_runs_is_no_runs(finetui_home: Any) -> None:
    assert RunReader().rows(finetui_home / "nowhere") == []


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (5, "just now"),
        (60, "1 minute ago"),
        (7100, "1 hour ago"),
        (7200, "2 hours ago"),
        (90_000, "1 day ago"),
    ],
)
def test_ago(seconds: float, said: str) -> None:
    assert ago(seconds) == said


def test_reading_many_long_runs_again_is_quick(make_run: MakeRun) -> None:
    for number in range(30):
        run = make_run(f"run{number}", steps=300, total=300)
    reader = RunReader()
    reader.rows(run.path.parent)
    begun = time.process_time()
    reader.rows(run.path.parent)
    assert time.process_time() - begun < 0.1, "what ended costs a stat or two a run"
