"""The Train screen on a log that grows: it shows what came, asks by the run folder, leaves the run alone."""

import json
import math
import os
import time
from collections.abc import Callable

from textual.pilot import Pilot
from textual.widgets import RichLog, Static

from core.glossary import term
from core.runs.events import (
    Checkpoint,
    End,
    Error,
    Eval,
    EventLog,
    Finding,
    Gpu,
    Sample,
    Stage,
    Start,
    Step,
    encode,
)
from core.runs.folder import RunFolder
from tui.app import FinetuiApp
from tui.screens.train import TrainScreen
from tui.widgets.help import term_of
from tui.widgets.picture import Picture

GIB = 2**30
BEGUN = 1_760_000_000.0
"""When the recorded run of the snapshots began; their clock stands still some time after it."""


def step(n: int, steps: int = 400, loss: float | None = None) -> Step:
    falling = 1.2 + 3 * math.exp(-n / 60) + 0.1 * math.sin(n * 7.0)
    rate = 2e-4 * min(1, n / 20) * (1 - n / steps)
    return Step(
        n, steps, n / 130, falling if loss is None else loss, rate, 0.8, n * 4000, 10_900.0, 18 * GIB, n * 0.4
    )


def gpus(count: int = 1, **changed: object) -> Gpu:
    one = {
        "name": "NVIDIA H200", "utilisation": 0.97, "memory_used": 18 * GIB, "memory_total": 140 * GIB,
        "power": 612.0, "power_limit": 700.0, "temperature": 64, "clock_sm": 1980, "clock_memory": 2619,
        "processes": [{"pid": 4242, "name": "python", "bytes": 17 * GIB}], **changed,
    }  # fmt: skip
    host = {"cpu": 0.5, "ram_used": 9 * GIB, "ram_total": 128 * GIB, "worker_cpu": 1.5, "worker_ram": 3 * GIB}
    return Gpu([{"index": i, **one} for i in range(count)], host)


async def until(pilot: Pilot, holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < deadline, f"not within 15 s: {what}\n{text(pilot)}"
        await pilot.pause(0.05)


def text(pilot: Pilot) -> str:
    """The whole screen as a person reads it."""
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join(strip.text for strip in strips)


def said(screen: TrainScreen, panel: str = "#now") -> str:
    """A panel's words, however they are wrapped."""
    return str(screen.query_one(panel, Static).visual)


async def opened(pilot: Pilot, run: RunFolder, **more: object) -> TrainScreen:
    screen = TrainScreen(run, **more)  # type: ignore[arg-type]
    await pilot.app.push_screen(screen)
    await until(pilot, lambda: screen._painted, "the first painting")
    await pilot.pause()
    return screen


async def test_it_shows_what_came_before_and_what_comes(
    app: FinetuiApp, run: RunFolder, log: EventLog
) -> None:
    for event in (Start(os.getpid()), gpus(), *(step(n) for n in range(1, 101)), Eval(100, 1.93)):
        log.write(event)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, run)
        await until(pilot, lambda: "step 100 / 400" in text(pilot), "the past")
        for part in ("● training", "1.93", "10,900", "GPU 0  NVIDIA H200", "97 %", "64 °C", "18.0/140 GiB"):
            assert part in text(pilot)
        for n in range(101, 201):
            log.write(step(n))
        await until(pilot, lambda: "step 200 / 400" in text(pilot), "the steps that came")
        assert any("⠀" < c <= "⣿" for line in screen.query_one("#chart", Picture).lines for c in line)


async def test_a_torn_line_is_waited_for(app: FinetuiApp, run: RunFolder, log: EventLog) -> None:
    log.write(step(1))
    line = encode(step(2), 2, time.time())
    async with app.run_test(size=(80, 24)) as pilot:
        with run.events_file.open("ab") as file:
            file.write(line[:40])
            file.flush()
            await opened(pilot, run)
            await until(pilot, lambda: "step 1 / 400" in text(pilot), "the whole line")
            file.write(line[40:])
            file.flush()
        await until(pilot, lambda: "step 2 / 400" in text(pilot), "the line once it is whole")


async def test_stages_are_told_before_the_first_step(app: FinetuiApp, run: RunFolder, log: EventLog) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, run)
        await until(pilot, lambda: "worker wakes up" in text(pilot), "no event yet")
        log.write(Start(os.getpid()))
        log.write(Stage("load", 1.5 * GIB, 4 * GIB, "bytes"))
        await until(pilot, lambda: "Loading the model: 1.5 of 4.0 GiB" in text(pilot), "the stage")


async def test_save_and_stop_are_asked_through_the_run_folder(
    app: FinetuiApp, run: RunFolder, log: EventLog
) -> None:
    log.write(Start(os.getpid()))
    log.write(step(1))
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, run)
        await pilot.press("s")
        await until(pilot, run.save_file.exists, "the save file")
        await pilot.press("x")
        await until(pilot, lambda: "Stop owl?" in text(pilot), "the question")
        await pilot.press("escape")
        await pilot.pause()
        assert not run.stop_file.exists()
        await pilot.press("x")
        await until(pilot, lambda: "Stop owl?" in text(pilot), "the question again")
        await pilot.press("y")
        await until(pilot, run.stop_file.exists, "the stop file")
        await until(pilot, lambda: "◍ stopping" in text(pilot), "the state")
        await pilot.press("x")
        await until(pilot, lambda: "End owl now?" in text(pilot), "the second question")
        await pilot.press("escape")


async def test_a_dead_run_says_so_shows_its_last_words_and_offers_resume(
    app: FinetuiApp, run: RunFolder, log: EventLog
) -> None:
    for event in (Start(1), step(1), step(2), Checkpoint(2, "c", "schedule"), step(3)):
        log.write(event)
    run.log.write_text("loading\nRuntimeError: the last straw\n")
    run.worker_file.write_text(json.dumps({"pid": 2**22 + 1, "created": 0.0, "place": _place()}))
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, run)
        await until(pilot, lambda: "✗ died" in text(pilot), "the state")
        assert "the last straw" in said(screen) and "finetui resume owl" in said(screen)
        assert screen.check_action("resume", ()) and not screen.check_action("stop", ())
        assert "resume" in text(pilot).splitlines()[-1] and "save now" not in text(pilot).splitlines()[-1]


def _place() -> str:
    from core.runs.lock import place

    return place()


async def test_resume_that_is_refused_gives_the_reason(
    app: FinetuiApp, run: RunFolder, log: EventLog
) -> None:
    log.write(step(1))
    log.write(End("stopped"))
    run.worker_file.unlink()
    run.spec_file.write_text("model: [\n")
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, run)
        await until(pilot, lambda: "■ stopped" in text(pilot), "the state")
        assert "run.yaml" in text(pilot), "the damage is among the findings"
        await pilot.press("r")
        await until(pilot, lambda: "run owl is damaged" in text(pilot), "the refusal")


async def test_a_failed_run_gives_the_reason(app: FinetuiApp, run: RunFolder, log: EventLog) -> None:
    for event in (
        step(1),
        Error("no room on the GPU", "it has 8 GiB", "take a smaller batch"),
        End("failed"),
    ):
        log.write(event)
    run.worker_file.unlink()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, run)
        await until(pilot, lambda: "✗ failed" in text(pilot), "the state")
        assert "no room on the GPU: it has 8 GiB" in text(pilot) and "Take a smaller batch" in text(pilot)


async def test_the_log_is_bytes_and_its_progress_bars_are_one_line(
    app: FinetuiApp, run: RunFolder, log: EventLog
) -> None:
    log.write(step(1))
    run.log.write_bytes(b"first\n10%\r50%\r100%\n\xff broken byte\nhalf a li")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, run)
        lines = screen.query_one("#log", RichLog).lines
        await until(pilot, lambda: len(lines) == 3, "three whole lines")
        assert [line.text.strip() for line in lines] == [
            "first",
            "100%",
            "\N{REPLACEMENT CHARACTER} broken byte",
        ]
        with run.log.open("ab") as file:
            file.write(b"ne\n")
        await until(pilot, lambda: len(lines) == 4, "the line that was half")
        assert lines[-1].text.strip() == "half a line"


async def test_small_screens_show_the_log_and_the_answers_at_a_key(
    app: FinetuiApp, run: RunFolder, log: EventLog
) -> None:
    log.write(step(1))
    log.write(Sample(1, "user\nWho are you?\nassistant", "An owl."))
    run.log.write_text("worker speaks\n")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, run)
        assert "worker speaks" not in text(pilot) and "An owl." not in text(pilot)
        await pilot.press("l")
        await until(pilot, lambda: "worker speaks" in text(pilot), "the log")
        await pilot.press("a")
        await until(
            pilot, lambda: "› Who are you?" in text(pilot) and "An owl." in text(pilot), "the answers"
        )
        await pilot.press("a")
        await until(pilot, lambda: "loss" in text(pilot) and "An owl." not in text(pilot), "the chart again")


async def test_findings_are_shown_with_what_to_do(app: FinetuiApp, run: RunFolder, log: EventLog) -> None:
    log.write(step(1))
    log.write(Finding("warn", "hot", "GPU 0 is hot", "it has 91 °C", "look at its fan"))
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, run)
        shown = said(screen, "#findings")
        assert "GPU 0 is hot" in shown and "look at its fan" in shown


async def test_leaving_says_that_it_goes_on_and_how_to_come_back(
    app: FinetuiApp, run: RunFolder, log: EventLog
) -> None:
    log.write(Start(os.getpid()))
    log.write(step(7))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, run)
        assert "goes on" in screen.farewell() and "finetui attach owl" in screen.farewell()
        await pilot.press("q")
    assert not app.is_running
    assert not run.stop_file.exists()


async def test_every_panel_is_reached_by_tab_and_explained(
    app: FinetuiApp, run: RunFolder, log: EventLog
) -> None:
    log.write(step(1))
    log.write(Finding("warn", "hot", "GPU 0 is hot"))
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, run)
        reached = set()
        for _ in range(7):
            await pilot.press("tab")
            assert screen.focused is not None
            reached.add(screen.focused.id)
            assert term(term_of(screen.focused, "")) is not None, screen.focused.id
        assert reached == {"chart", "numbers", "gpus", "now", "findings", "answers", "log"}
        screen.query_one("#chart").focus()
        await pilot.press("question_mark")
        await until(pilot, lambda: "How surprised the model" in text(pilot), "the explanation")


async def test_a_resumed_worker_takes_the_steps_back(app: FinetuiApp, run: RunFolder, log: EventLog) -> None:
    for event in (Start(1), *(step(n) for n in range(1, 31)), Checkpoint(20, "c", "schedule")):
        log.write(event)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, run)
        await until(pilot, lambda: "step 30 / 400" in text(pilot), "the first worker")
        log.write(Start(os.getpid(), resumed_from=20))
        log.write(step(21))
        await until(pilot, lambda: "step 21 / 400" in text(pilot), "the second worker")
        assert screen._steps == list(range(1, 22))


async def test_a_run_without_a_gpu_shows_the_host(app: FinetuiApp, run: RunFolder, log: EventLog) -> None:
    log.write(gpus(0))
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, run)
        assert "CPU and memory: there is no GPU" in text(pilot) and "9.0/128.0 GiB" in text(pilot)


async def test_eight_gpus_fit(app: FinetuiApp, run: RunFolder, log: EventLog) -> None:
    log.write(gpus(8))
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, run)
        assert "8 GPUs" in text(pilot) and text(pilot).count("64 °C") == 8
    async with FinetuiApp(runs_dir=app.runs_dir).run_test(size=(80, 24)) as pilot:
        await opened(pilot, run)
        assert "and 3 more" in text(pilot) and "now" in text(pilot)


async def test_resizing_lets_the_layout_give_way_and_come_back(
    app: FinetuiApp, run: RunFolder, log: EventLog
) -> None:
    for event in (Start(os.getpid()), gpus(), *(step(n) for n in range(1, 50))):
        log.write(event)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, run)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: screen.query_one("#gpus").size.height == 3, "the low panel")
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: screen.query_one("#gpus").size.height == 6, "the high panel")
