"""The Machine step on frozen machines: what it shows, which GPU it takes, and that Enter goes on."""

from collections.abc import Callable

import pytest
from textual.widgets import OptionList, Static

from core.machine.look import Machine
from tests.tui import machines
from tui.app import FinetuiApp
from tui.screens.machine import facts
from tui.widgets.gpu_choice import gpu_entry

ShowMachine = Callable[[Machine], None]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> ShowMachine:
    """What a look at this machine finds."""
    return lambda found: monkeypatch.setattr("core.machine.look", lambda: found)


def words(app: FinetuiApp, part: str) -> str:
    return str(app.screen.query_one(part, Static).render())


def found(app: FinetuiApp) -> str:
    return "\n".join(str(one.render()) for one in app.screen.query("#findings Static").results(Static))


async def at_machine(app: FinetuiApp) -> None:
    app.goto("machine")
    await app.workers.wait_for_complete()


async def test_the_gpu_with_most_free_memory_is_taken(app: FinetuiApp, given: ShowMachine) -> None:
    given(machines.TWO)
    async with app.run_test(size=(120, 40)) as pilot:
        await at_machine(app)
        await pilot.pause()
        gpus = app.screen.query_one("#gpus", OptionList)
        assert gpus.has_focus and gpus.highlighted == 1
        await pilot.press("enter")
        await pilot.pause()
        assert "machine" in app.journey.done
        assert app.journey.get("gpus") is None, "the default needs no choice"


async def test_another_gpu_can_be_chosen(app: FinetuiApp, given: ShowMachine) -> None:
    given(machines.TWO)
    async with app.run_test(size=(80, 24)) as pilot:
        await at_machine(app)
        await pilot.pause()
        await pilot.press("up", "enter")
        assert app.journey.get("gpus") == [0]
        assert app.screen.step == "machine", "choosing is not yet going on"
        await pilot.press("enter")
        await pilot.pause()
        assert "machine" in app.journey.done


async def test_a_dead_gpu_cannot_be_chosen(app: FinetuiApp, given: ShowMachine) -> None:
    given(machines.BROKEN)
    async with app.run_test(size=(120, 40)) as pilot:
        await at_machine(app)
        await pilot.pause()
        assert app.screen.query_one("#gpus", OptionList).get_option_at_index(1).disabled
        await pilot.press("down", "enter")
        assert app.journey.get("gpus") is None


async def test_no_gpu_says_what_works(app: FinetuiApp, given: ShowMachine) -> None:
    given(machines.BARE)
    async with app.run_test(size=(80, 24)) as pilot:
        await at_machine(app)
        await pilot.pause()
        assert "training runs on the CPU" in words(app, "#no-gpu")
        assert not app.screen.query_one("#gpus").display
        await pilot.press("enter")
        await pilot.pause()
        assert "machine" in app.journey.done


async def test_looking_again_finds_what_changed(app: FinetuiApp, given: ShowMachine) -> None:
    given(machines.BARE)
    async with app.run_test(size=(120, 40)) as pilot:
        await at_machine(app)
        given(machines.TWO)
        await pilot.press("r")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert app.screen.query_one("#gpus", OptionList).option_count == 2
        assert not app.screen.query_one("#no-gpu").display
        assert app.journey.machine == machines.TWO


async def test_what_stops_a_run_is_said_beside_next(app: FinetuiApp, given: ShowMachine) -> None:
    given(machines.BROKEN)
    async with app.run_test(size=(120, 40)) as pilot:
        await at_machine(app)
        await pilot.pause()
        assert "mend" in words(app, "#note")
        assert "pip install torch" in found(app)


async def test_everything_can_be_read_in_a_small_window(app: FinetuiApp, given: ShowMachine) -> None:
    """The page is longer than the window; the arrows move it under the focused button."""
    given(machines.BARE)
    async with app.run_test(size=(80, 18)) as pilot:
        await at_machine(app)
        await pilot.pause()
        body = app.screen.query_one("#body")
        assert body.max_scroll_y > 0
        await pilot.press(*["pagedown"] * 3)
        assert body.scroll_y == body.max_scroll_y


def test_an_entry_tells_memory_abilities_and_holders() -> None:
    text = str(gpu_entry(machines.TWO.gpus[0], chosen=True))
    for part in (
        "● GPU 0  NVIDIA H200",
        "20.0 GiB free of 140 GiB",
        "9.0",
        "bf16",
        "python (pid 4242, ada)",
        "119 GiB",
    ):
        assert part in text


def test_an_entry_tells_what_is_unknown_or_dead() -> None:
    lost = str(gpu_entry(machines.BROKEN.gpus[1], chosen=False))
    assert "GPU 1  unknown" in lost and "does not answer: GPU is lost" in lost
    old = str(gpu_entry(machines.BROKEN.gpus[0], chosen=True))
    assert "no bf16 (fp16 instead)" in old
    mute = machines.gpu(0, memory_total=None, memory_free=None, memory_used=None, capability=None, bf16=None)
    assert "memory unknown" in str(gpu_entry(mute, chosen=False))
    assert "bf16 unknown" in str(gpu_entry(mute, chosen=False))


@pytest.mark.parametrize("narrow", [True, False])
def test_facts_name_driver_torch_and_disks(narrow: bool) -> None:
    text = str(facts(machines.TWO, narrow))
    for part in (
        "570.86.15, speaks CUDA 12.8",
        "2.11.0, built for CUDA 12.8",
        "16 cores",
        "800 GiB free",
        "not logged in",
    ):
        assert part in text
    assert "no NVIDIA driver" in str(facts(machines.BARE, narrow))


async def test_findings_name_what_to_do(app: FinetuiApp, given: ShowMachine) -> None:
    given(machines.TWO)
    async with app.run_test(size=(80, 24)) as pilot:
        await at_machine(app)
        await pilot.pause()
        text = found(app)
        assert text.index("already held") < text.index("kill 4242") < text.index("hf auth login")
        given(machines.machine(machines.gpu()))
        await pilot.press("r")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert found(app) == "✓ nothing stands in the way"
