"""The Chat screen against a real child process that speaks a recorded chat, so that no model is needed."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Select, Static

from core.runs.folder import RunFolder
from tests.tui.conftest import MakeRun
from tui.app import FinetuiApp
from tui.screens.chat import ChatScreen
from tui.widgets.chat_settings import ChatSettings
from tui.widgets.field import Field
from tui.widgets.talk_column import Answer, TalkColumn

QUESTION = "What is a rank?"


def said(text: str, stopped: str = "end", seconds: float = 0.0) -> dict[str, Any]:
    pieces = [f"{word} " for word in text.split()]
    done = {"answer": text, "stopped": stopped, "tokens": len(pieces), "seconds": 0.5}
    return {"pieces": pieces, "done": done, "seconds": seconds}


RECORDED = {
    "ready": {
        "sides": ["tuned", "base"], "template": "chatml", "checkpoints": [20, 40],
        "notes": ["a note of the loader"], "context": 1024,
    },
    "answers": {
        "tuned": {
            QUESTION: said("The size of an adapter."),
            "again": said("More and more and", "length"),
            "long": said("word " * 400, seconds=0.05),
        },
        "base": {QUESTION: said("Once upon a time"), "again": said("the end")},
    },
}  # fmt: skip


@pytest.fixture
def run(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    recorded = tmp_path / "chat.json"
    recorded.write_text(json.dumps(RECORDED))
    monkeypatch.setenv("FINETUI_RECORDED_CHAT", str(recorded))
    monkeypatch.setattr("core.chat.client.SERVER", "screenshots.speaker")
    made = make_run("owl")
    for step in (20, 40):
        checkpoint = made.checkpoints / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "trainer_state.json").write_text("{}")
    return made


async def until(pilot: Pilot, holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, f"not within 20 s: {what}\n{text(pilot)}"
        await pilot.pause(0.03)


def text(pilot: Pilot) -> str:
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())


async def opened(pilot: Pilot, run: RunFolder) -> ChatScreen:
    pilot.app.open_chat(run)
    await until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen), "the screen")
    screen = pilot.app.screen
    await until(pilot, lambda: screen.chat and screen.chat.ready, "the model")
    await pilot.pause()
    return screen


async def ask(pilot: Pilot, screen: ChatScreen, question: str, *, whole: bool = True) -> None:
    count = len(screen.chat.exchanges)
    screen.query_one("#ask", Input).value = question
    await pilot.press("enter")
    await until(pilot, lambda: screen._answers or len(screen.chat.exchanges) > count, "the asking")
    if whole:
        await until(pilot, lambda: not screen._answers, "the answers")
        await pilot.pause()


async def test_tuned_and_base_answer_beside_each_other(app: FinetuiApp, run: RunFolder) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, run)
        assert "template chatml · 1,024 tokens of context · a note of the loader" in text(pilot)
        await ask(pilot, screen, QUESTION)
        line = next(line for line in text(pilot).splitlines() if "The size of an adapter." in line)
        assert "Once upon a time" in line, "side by side"
        assert text(pilot).count("ended by itself: ") == 2


async def test_an_answer_that_was_cut_off_is_said_loudly(app: FinetuiApp, run: RunFolder) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, run)
        await ask(pilot, screen, "again")
        assert "did not end" in text(pilot)


async def test_narrow_shows_the_tuned_side_and_the_base_at_a_key(app: FinetuiApp, run: RunFolder) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, run)
        await ask(pilot, screen, QUESTION)
        assert "The size of an adapter." in text(pilot) and "Once upon" not in text(pilot)
        assert {one.side for one in screen.chat.exchanges} == {"tuned"}, "what is not shown is not asked"
        await pilot.press("f3")
        await ask(pilot, screen, QUESTION)
        shown = text(pilot)
        assert "Once upon a time" in shown and "tuned" in shown


async def test_the_conversation_goes_on_with_what_was_said(app: FinetuiApp, run: RunFolder) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, run)
        await ask(pilot, screen, QUESTION)
        await ask(pilot, screen, "again")
        turns = [(turn["role"], turn["content"]) for turn in screen.chat.exchanges[-1].messages]
        assert turns[0] == ("user", QUESTION) and turns[1][0] == "assistant" and turns[2] == ("user", "again")
        await pilot.press("ctrl+l")
        await until(pilot, lambda: "The size of an adapter." not in text(pilot), "the new conversation")
        await ask(pilot, screen, "again")
        assert len(screen.chat.exchanges[-1].messages) == 1


async def test_escape_stops_an_answer_and_keeps_what_was_said(app: FinetuiApp, run: RunFolder) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, run)
        await ask(pilot, screen, "long", whole=False)
        await until(pilot, lambda: "word word" in text(pilot), "some words")
        await pilot.press("escape")
        await until(pilot, lambda: not screen._answers, "the stop")
        done = screen.chat.exchanges[-1].done
        assert done.stopped == "asked" and 0 < len(done.answer.split()) < 400
        assert isinstance(app.screen, ChatScreen)


async def test_an_error_is_a_line_in_the_conversation_and_not_part_of_it(
    app: FinetuiApp, run: RunFolder
) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, run)
        screen.query_one("#ask", Input).value = "never recorded"
        await pilot.press("enter")
        await until(pilot, lambda: "this question was not recorded" in text(pilot), "the error")
        assert screen.query_one("#tuned", TalkColumn).messages == []
        await ask(pilot, screen, QUESTION)
        assert "The size of an adapter." in text(pilot)


async def test_settings_reach_the_process_and_wrong_ones_are_refused(app: FinetuiApp, run: RunFolder) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, run)
        await pilot.press("f2", *"Be kind", "tab", "0")
        await pilot.press("f2")
        await ask(pilot, screen, QUESTION)
        last = screen.chat.exchanges[-1]
        assert last.settings.temperature == 0 and last.messages[0] == {"role": "system", "content": "Be kind"}
        screen.query_one("#field-top-p", Field).load("7")
        before = len(screen.chat.exchanges)
        screen.query_one("#ask", Input).value = QUESTION
        await pilot.press("enter")
        await until(pilot, lambda: "top-p is 7" in text(pilot), "the refusal")
        assert len(screen.chat.exchanges) == before


async def test_another_checkpoint_is_loaded_into_the_same_process(app: FinetuiApp, run: RunFolder) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, run)
        pid = screen.chat._child.pid
        which = screen.query_one(ChatSettings).query_one("#which", Select)
        assert [value for _, value in which._options] == [0, 40, 20]
        which.value = 40
        await until(pilot, lambda: screen.chat.ready.checkpoint == 40, "the checkpoint")
        await until(pilot, lambda: "tuned · step 40" in text(pilot), "its name")
        assert screen.chat._child.pid == pid


async def test_the_transcript_is_written_to_a_file(app: FinetuiApp, run: RunFolder) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, run)
        await pilot.press("ctrl+s")
        assert not (run.path / "chats").exists(), "nothing was said yet"
        await ask(pilot, screen, QUESTION)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: list((run.path / "chats").glob("*.md")), "the file")
        written = next((run.path / "chats").glob("*.md")).read_text()
        assert QUESTION in written and "The size of an adapter." in written and "Once upon a time" in written


async def test_the_process_leaves_with_the_screen(app: FinetuiApp, run: RunFolder) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, run)
        pid = screen.chat._child.pid
        assert psutil.pid_exists(pid)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, ChatScreen), "the way back")
        await until(pilot, lambda: not psutil.pid_exists(pid), "the end of the process")


async def test_leaving_while_it_loads_is_quiet(
    app: FinetuiApp, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.chat.client.SERVER", "tests.tui.silent_child")
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_chat(run)
        await until(pilot, lambda: isinstance(app.screen, ChatScreen) and app.screen.chat, "the screen")
        chat = app.screen.chat
        await until(pilot, lambda: chat._child, "its process")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, ChatScreen), "the way back")


async def test_it_stays_at_the_end_unless_one_scrolled_up(app: FinetuiApp, run: RunFolder) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, run)
        column = screen.query_one("#tuned", TalkColumn)
        await ask(pilot, screen, "long", whole=False)
        await until(pilot, lambda: column.max_scroll_y > 3, "more than fits")
        await until(pilot, lambda: column.scroll_y >= column.max_scroll_y - 1, "the end in view")
        column.scroll_to(y=0, animate=False)
        await pilot.pause()
        words = text(pilot).count("word")
        answered = screen.query_one(Answer)
        before = len(answered.text)
        await until(pilot, lambda: len(answered.text) > before + 40, "more words")
        await pilot.pause(0.3)
        assert column.scroll_y == 0 and text(pilot).count("word") >= words


async def test_a_run_with_nothing_to_talk_to_says_so(
    app: FinetuiApp, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.chat.client.SERVER", "core.nothing_there")
    async with app.run_test(size=(120, 40)) as pilot:
        app.open_chat(make_run("owl"))
        await until(pilot, lambda: "✗ not loaded" in text(pilot), "the refusal")
        about = str(app.screen.query_one("#about", Static).visual)
        assert "the chat broke off" in about and "Open the chat again" in about


async def test_the_up_key_brings_earlier_questions_back(app: FinetuiApp, run: RunFolder) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, run)
        await ask(pilot, screen, QUESTION)
        await ask(pilot, screen, "again")
        await pilot.press("up", "up")
        assert screen.query_one("#ask", Input).value == QUESTION
        await pilot.press("down", "down")
        assert screen.query_one("#ask", Input).value == ""
