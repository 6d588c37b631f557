"""The Aim step: what it sets, and what it leaves alone."""

import pytest
from textual.widgets import OptionList, Static

from core.spec import parse_spec
from tui.aims import AIMS, BY_KEY, choose
from tui.app import FinetuiApp
from tui.journey import Journey


async def test_enter_takes_the_first_aim(app: FinetuiApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        app.goto("aim")
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        assert app.journey.choices == {"aim": "manner", "learn": "assistant"}
        assert app.screen.step == "machine"


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_what_is_under_the_cursor_is_explained(app: FinetuiApp, size: tuple[int, int]) -> None:
    async with app.run_test(size=size) as pilot:
        app.goto("aim")
        await pilot.pause()
        for place, aim in enumerate(AIMS):
            app.screen.query_one("#aims", OptionList).highlighted = place
            await pilot.pause()
            about = str(app.screen.query_one("#aim", Static).render())
            for text in (aim.needs, aim.can, aim.cannot, aim.instead):
                assert text in about
        assert app.screen.query_one("#about").size.height >= 3, "there is room to read it"


async def test_preferences_leave_the_objective_to_the_data(app: FinetuiApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        app.goto("aim")
        await pilot.pause()
        await pilot.press("down", "down", "down", "enter")
        await pilot.pause()
        assert app.screen.step == "machine"
        assert app.journey.choices == {"aim": "preference", "learn": "assistant"}


async def test_coming_back_stands_on_what_was_chosen(app: FinetuiApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        app.goto("aim")
        await pilot.pause()
        await pilot.press("down", "enter")
        await pilot.pause()
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen.step == "aim"
        assert app.screen.query_one("#aims", OptionList).highlighted == 1


def test_another_aim_takes_back_what_the_first_one_set(finetui_home: object) -> None:
    journey = Journey()
    choose(journey, BY_KEY["try"])
    assert journey.get("steps") == 60
    choose(journey, BY_KEY["knowledge"])
    assert journey.choices == {"aim": "knowledge", "learn": "all", "packing": True}


def test_what_was_chosen_by_hand_stays(finetui_home: object) -> None:
    journey = Journey()
    choose(journey, BY_KEY["manner"])
    journey.set("steps", 500)
    journey.set("learn", "all")
    choose(journey, BY_KEY["try"])
    assert journey.get("steps") == 500 and journey.get("learn") == "all" and journey.get("aim") == "try"


@pytest.mark.parametrize("aim", AIMS, ids=lambda aim: aim.key)
def test_what_an_aim_sets_is_a_valid_spec(aim: object) -> None:
    parse_spec({"model": "m", "data": "d.jsonl", **aim.sets})  # type: ignore[attr-defined]
