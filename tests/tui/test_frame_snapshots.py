"""How the home screen, Aim and Machine look, with frozen data, in a small window and a large one."""

from typing import Any

import pytest

from tests.tui import machines
from tests.tui.conftest import MakeRun
from tui.app import FinetuiApp

SIZES = [(80, 24), (120, 40)]


@pytest.fixture(params=SIZES, ids=["80x24", "120x40"])
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    given: tuple[int, int] = request.param
    return given


def looks(snap_compare: Any, app: FinetuiApp, size: tuple[int, int], step: str, *keys: str) -> bool:
    async def walk(pilot: Any) -> None:
        while not (app.screen.has_class("-some") or app.screen.has_class("-none")):
            await pilot.pause()  # home reads the runs first
        if step != "runs":
            app.goto(step)
        await app.workers.wait_for_complete()
        await pilot.pause()
        await pilot.press(*keys)
        await pilot.pause()

    same: bool = snap_compare(app, terminal_size=size, run_before=walk)
    return same


def test_runs(snap_compare: Any, app: FinetuiApp, size: tuple[int, int], make_run: MakeRun) -> None:
    # the draft stands under the cursor, since a run's folder has another name in every test
    app.journey.set("model", "meta-llama/Llama-3.1-8B")
    app.journey.set("data.source", "tone.jsonl")
    app.journey.at("template")
    make_run("tone-qlora", "finished", steps=240, total=240, age=5.5 * 3600, method="qlora")
    make_run("half", "stopped", steps=60, total=240, age=30 * 3600)
    make_run("oom", "failed", steps=12, total=300, age=60 * 3600, error="CUDA out of memory")
    make_run("old", age=80 * 3600).spec_file.write_text("model: [")
    assert looks(snap_compare, app, size, "runs")


def test_no_runs(snap_compare: Any, app: FinetuiApp, size: tuple[int, int]) -> None:
    assert looks(snap_compare, app, size, "runs")


def test_aim(snap_compare: Any, app: FinetuiApp, size: tuple[int, int]) -> None:
    assert looks(snap_compare, app, size, "aim", "down")


def test_machine(
    snap_compare: Any, app: FinetuiApp, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.machine.look", lambda: machines.TWO)
    app.journey.done = {"aim"}
    assert looks(snap_compare, app, size, "machine")


def test_machine_without_a_gpu_in_light_colours(
    snap_compare: Any, app: FinetuiApp, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.machine.look", lambda: machines.BARE)
    app.theme = "finetui-light"
    assert looks(snap_compare, app, size, "machine", "question_mark")
