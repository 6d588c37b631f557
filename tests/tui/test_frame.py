"""The frame around every step: rail, back and next, help, palette, leaving, and the draft."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from textual.command import CommandPalette
from textual.widget import Widget
from textual.widgets import Button, Input, Static

from core.glossary import term, terms
from tui.app import FinetuiApp
from tui.journey import NAMES, STEPS
from tui.theme import DARK, LIGHT, fitting
from tui.widgets.help import HelpPanel
from tui.widgets.rail import Rail
from tui.widgets.step_frame import StepScreen
from tui.widgets.too_small import TooSmall

SOURCES = Path(__file__).resolve().parents[2] / "tui"


class Plain(StepScreen):
    """A step with a free field, a number and one that wants an answer."""

    step = "model"
    title = "Which model?"
    answer = ""

    def compose_step(self) -> Iterable[Widget]:
        name = Input(id="name")
        name.term = "lora"  # type: ignore[attr-defined]
        rank = Input("16", id="rank", type="integer")
        rank.term = "rank"  # type: ignore[attr-defined]
        yield name
        yield rank

    def problem(self) -> str:
        return "" if self.answer else "give an answer first"


def shown(screen: object, part: str) -> str:
    return str(screen.query_one(part, Static).render())  # type: ignore[attr-defined]


@pytest.fixture
def plain(app: FinetuiApp, monkeypatch: pytest.MonkeyPatch) -> FinetuiApp:
    """The app whose middle steps are all the plain one, so that only the frame is looked at."""

    def screen(step: str, *_: object) -> StepScreen:
        if step == "runs":
            from tui.screens.runs import RunsScreen

            return RunsScreen()
        return type("Plain", (Plain,), {"step": step})()

    monkeypatch.setattr(FinetuiApp, "_screen", staticmethod(screen))
    return app


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (120, 40)])
async def test_the_rail_shows_where_one_is(plain: FinetuiApp, size: tuple[int, int]) -> None:
    plain.journey.done = {"aim", "machine"}
    async with plain.run_test(size=size) as pilot:
        plain.goto("model")
        await pilot.pause()
        rail = plain.screen.query_one(Rail)
        text = str(rail.render())
        assert re.search("● ?Model", text) and re.search("✓ ?Machine", text) and "Data" in text
        assert len(text.splitlines()) == (9 if size[0] == 120 else 1)
        assert max(map(len, text.splitlines())) <= size[0] - 2
        body = plain.screen.query_one("#body")
        assert body.size.height >= 10, "most of a small window is the step's"
        assert plain.screen.query_one("#next").region.bottom <= size[1]


async def test_next_says_what_is_missing_and_then_goes_on(plain: FinetuiApp) -> None:
    async with plain.run_test(size=(80, 24)) as pilot:
        plain.goto("model")
        await pilot.pause()
        await pilot.press("enter")
        assert shown(plain.screen, "#note") == "give an answer first"
        assert plain.screen.step == "model" and "model" not in plain.journey.done
        plain.screen.answer = "yes"
        await pilot.press("ctrl+n")
        await pilot.pause()
        assert plain.screen.step == "data" and plain.journey.done == {"model"}


async def test_back_goes_step_by_step_to_home(plain: FinetuiApp) -> None:
    async with plain.run_test(size=(80, 24)) as pilot:
        plain.goto("model")
        await pilot.pause()
        walked = []
        for key in ("escape", "ctrl+b", "escape", "escape"):
            await pilot.press(key)
            await pilot.pause()
            walked.append(plain.screen.step)
        assert walked == ["machine", "aim", "runs", "runs"], "from home there is nowhere back to"


async def test_the_rail_can_be_clicked_where_it_was_passed(plain: FinetuiApp) -> None:
    plain.journey.done = {"aim", "machine"}
    async with plain.run_test(size=(120, 40)) as pilot:
        plain.goto("model")
        await pilot.pause()
        await pilot.click(Rail, offset=(5, 6))  # Review: not open yet
        assert plain.screen.step == "model"
        await pilot.click(Rail, offset=(5, 1 + STEPS.index("machine")))
        await pilot.pause()
        assert plain.screen.step == "machine"


async def test_a_step_that_is_not_open_is_not_visited(plain: FinetuiApp) -> None:
    plain.journey.done = {"aim"}
    async with plain.run_test(size=(80, 24)) as pilot:
        plain.goto("aim")
        await pilot.pause()
        for step, lands in (("review", "aim"), ("machine", "machine"), ("aim", "aim"), ("runs", "runs")):
            plain.action_visit(step)
            await pilot.pause()
            assert plain.screen.step == lands


async def test_news_that_comes_after_the_screen_went_is_harmless(plain: FinetuiApp) -> None:
    async with plain.run_test(size=(80, 24)) as pilot:
        plain.goto("model")
        await pilot.pause()
        gone = plain.screen
        plain.goto("data")
        gone.status = "while it goes"
        await pilot.pause()
        gone.status = "after it went"
        await pilot.pause()
        assert plain.screen.step == "data"


# -- help


async def test_help_follows_the_focus(plain: FinetuiApp) -> None:
    async with plain.run_test(size=(120, 40)) as pilot:
        plain.goto("model")
        await pilot.pause()
        panel = plain.screen.query_one(HelpPanel)
        await pilot.press("question_mark")
        assert panel.is_open and "Base model" in shown(plain.screen, "HelpPanel")
        plain.screen.query_one("#rank").focus()
        await pilot.pause()
        assert "size of LoRA" in shown(plain.screen, "HelpPanel")
        await pilot.press("escape")
        assert not panel.is_open and plain.screen.step == "model", "escape closes the help first"


async def test_a_question_mark_can_be_typed(plain: FinetuiApp) -> None:
    async with plain.run_test(size=(80, 24)) as pilot:
        plain.goto("model")
        await pilot.pause()
        name = plain.screen.query_one("#name", Input)
        name.focus()
        await pilot.press("a", "question_mark")
        assert name.value == "a?" and not plain.screen.help_is_open
        await pilot.press("f1")
        assert plain.screen.help_is_open, "f1 helps while typing"
        await pilot.press("f1")
        assert not plain.screen.help_is_open
        plain.screen.query_one("#rank", Input).focus()
        await pilot.pause()
        await pilot.press("question_mark")
        assert plain.screen.help_is_open, "in a number it is no letter"


def test_every_term_that_a_field_names_is_explained() -> None:
    """Also every step and every key of the spec, so that no field can stand without words."""
    from core.spec import DataSpec, LoraSpec, RunSpec, SaveSpec

    named = set(NAMES)
    for file in SOURCES.rglob("*.py"):
        named |= set(re.findall(r"""\bterm\s*=\s*["']([^"']+)["']""", file.read_text()))
    for model, path in ((RunSpec, ""), (DataSpec, "data."), (LoraSpec, "lora."), (SaveSpec, "save.")):
        named |= {f"{path}{key}" for key in model.model_fields}
    missing = sorted(key for key in named if term(key) is None and term(key.rpartition(".")[2]) is None)
    assert missing == []


def test_the_glossary_is_short_and_hangs_together() -> None:
    assert len(terms()) >= 60
    for one in terms():
        assert 30 < len(one.text) < 420, one.key
        assert all(term(name) is not None for name in one.see), one.key
    assert term("gradient_checkpointing") == term("Recompute")
    assert term("no such word") is None


# -- palette, leaving, window


async def commands(app: FinetuiApp) -> list[str]:
    return [command.title for command in app.get_system_commands(app.screen)]


async def test_the_palette_fits_the_screen(plain: FinetuiApp) -> None:
    plain.journey.done = {"aim"}
    async with plain.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        at_home = await commands(plain)
        assert any(one.startswith("new run") for one in at_home)
        plain.goto("machine")
        await pilot.pause()
        there = await commands(plain)
        assert "Go to Aim" in there and "Go to Review" not in there
        assert not any(one.startswith("new run") for one in there)
        await pilot.press("ctrl+p")
        await pilot.pause()
        assert isinstance(plain.screen, CommandPalette)


async def test_the_palette_knows_the_glossary(plain: FinetuiApp) -> None:
    async with plain.run_test(size=(120, 40)) as pilot:
        plain.goto("machine")
        await pilot.pause()
        await pilot.press("ctrl+p", *"gguf")
        found = plain.screen.query_one("CommandList")
        while not found.option_count:  # the search runs beside; pytest's own limit ends a wait in vain
            await pilot.pause()
        await pilot.press("enter")
        while isinstance(plain.screen, CommandPalette):
            await pilot.pause()
        await pilot.pause()
        assert plain.screen.help_is_open and "llama.cpp" in shown(plain.screen, "HelpPanel")


async def test_leaving_in_the_middle_keeps_the_draft(plain: FinetuiApp, finetui_home: Path) -> None:
    async with plain.run_test(size=(80, 24)) as pilot:
        plain.goto("model")
        await pilot.pause()
        plain.journey.set("model", "Qwen/Qwen3-0.6B")
        await pilot.press("ctrl+q")
    assert plain.return_code == 0
    again = FinetuiApp(home=finetui_home)
    assert again.journey.load_draft()
    assert again.journey.get("model") == "Qwen/Qwen3-0.6B" and again.journey.step == "model"


async def test_a_window_too_small_is_covered(plain: FinetuiApp) -> None:
    async with plain.run_test(size=(80, 24)) as pilot:
        plain.goto("model")
        await pilot.pause()
        plain.screen.query_one("#name", Input).value = "kept"
        await pilot.resize_terminal(50, 24)
        await pilot.pause()
        assert isinstance(plain.screen, TooSmall)
        await pilot.resize_terminal(40, 10)
        await pilot.pause()
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert plain.screen.query_one("#name", Input).value == "kept"


async def test_mouse_and_keys_do_the_same(plain: FinetuiApp) -> None:
    async with plain.run_test(size=(120, 40)) as pilot:
        plain.goto("aim")
        await pilot.pause()
        plain.screen.answer = "yes"
        await pilot.click("#next")
        await pilot.pause()
        assert plain.screen.step == "machine"
        await pilot.click("#back")
        await pilot.pause()
        assert plain.screen.step == "aim"
        assert isinstance(plain.focused, Button)


# -- colours


def test_the_theme_follows_the_terminal() -> None:
    assert fitting({"COLORFGBG": "0;15"}) == LIGHT.name
    assert fitting({"COLORFGBG": "15;0"}) == fitting({}) == DARK.name


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_colours_survive_256_and_can_be_read(theme: object) -> None:
    """Every colour is one of xterm's 256, and words stand out from their ground (WCAG: 4.5 to 1)."""
    from textual.color import Color

    cube = {0x00, 0x5F, 0x87, 0xAF, 0xD7, 0xFF}
    named = ("primary", "secondary", "accent", "warning", "error", "success", "foreground", "background")
    colours = {name: Color.parse(getattr(theme, name)) for name in named}
    for name, colour in colours.items():
        in_cube = set(colour.rgb) <= cube
        grey = len(set(colour.rgb)) == 1 and (colour.r - 8) % 10 == 0
        assert in_cube or grey, name
    for name, colour in colours.items():
        if name != "background":
            lighter, darker = sorted((_luminance(colour), _luminance(colours["background"])), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, name


def _luminance(colour: object) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [value / 255 for value in colour.rgb]  # type: ignore[attr-defined]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
