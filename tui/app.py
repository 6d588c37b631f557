"""The application: which screen is shown, the keys that work everywhere, and the palette."""

import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input, TextArea

from tui import terminal, theme
from tui.journey import STEPS, Journey, step_after, step_before

if TYPE_CHECKING:
    from textual.command import Provider

    from core.runs.folder import RunFolder

FIELDS = (Input, TextArea)


def _glossary() -> "type[Provider]":
    from tui.palette import Glossary

    return Glossary


class FinetuiApp(App[None]):
    """Home (Runs) lies at the bottom of the stack; one wizard step, or Train and then Chat, lies over it."""

    TITLE = "finetui"
    CSS_PATH = "finetui.tcss"
    COMMANDS: ClassVar = App.COMMANDS | {_glossary}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "help", key_display="?", priority=True, tooltip="Explain this"),
        Binding("f1", "help(True)", "help", tooltip="Explain this field"),
        Binding("ctrl+q", "quit", "quit", show=False, priority=True, tooltip="Leave; runs go on"),
    ]

    def __init__(
        self, runs_dir: Path | None = None, home: Path | None = None, attach: Path | None = None
    ) -> None:
        """`runs_dir` and `home` default to the user's own; `attach` is a run folder to open at once."""
        super().__init__()
        self._runs_dir = runs_dir
        self._first_run = attach
        self.journey = Journey(home)
        self.register_theme(theme.DARK)
        self.register_theme(theme.LIGHT)
        self.theme = theme.fitting()

    @property
    def runs_dir(self) -> Path:
        if self._runs_dir is None:
            from core.runs.folder import runs_dir

            self._runs_dir = runs_dir()
        return self._runs_dir

    def get_default_screen(self) -> Screen[None]:
        return self._screen("runs")

    def on_mount(self) -> None:
        if not self.is_headless:
            terminal.guard(self.exit)
        if self._first_run is not None:
            from core.runs.folder import RunFolder

            self.open_run(RunFolder(self._first_run))

    async def on_unmount(self) -> None:
        if self.journey.rows is not None:
            await self.journey.rows.close()

    # -- where to go

    @staticmethod
    def _screen(step: str, *given: object) -> Screen[None]:
        """The screen of a step, imported only now: `tui.screens.data.DataScreen` for "data"."""
        module = import_module(f"tui.screens.{step}")
        screen: Callable[..., Screen[None]] = getattr(module, f"{step.capitalize()}Screen")
        return screen(*given)

    def goto(self, step: str) -> None:
        """Open a step over home, in place of whatever lay there; "runs" is home itself."""
        if step == "runs":
            self.journey.leave()
            self._clear_to_home()
            return
        screen = self._screen(step)
        self.journey.at(step)
        self._clear_to_home()
        self.push_screen(screen)

    def next_step(self) -> None:
        """From the step that is shown to the one after it."""
        following = step_after(self._here())
        if following is not None:
            self.goto(following)

    def previous_step(self) -> None:
        """Back: from a wizard step to the one before it, from anything else to what lies under it."""
        here = self._here()
        if here not in STEPS:
            if len(self.screen_stack) > 1:
                self.pop_screen()
            return
        self.goto(step_before(here) or "runs")

    def open_run(self, folder: "RunFolder") -> None:
        """Show a run as it trains, or as it ended."""
        screen = self._screen("train", folder)
        self._clear_to_home()
        self.push_screen(screen)

    def open_chat(self, folder: "RunFolder") -> None:
        """Talk to what a run made; leaving comes back to where one was."""
        self.push_screen(self._screen("chat", folder))

    def _here(self) -> str:
        return getattr(self.screen, "step", "")

    def _clear_to_home(self) -> None:
        while len(self.screen_stack) > 1:
            self.pop_screen()

    def action_visit(self, step: str) -> None:
        """A step named in the rail or palette: only one that was passed, or the first that was not."""
        if step == "runs" or step in self.open_steps():
            self.goto(step)

    def open_steps(self) -> list[str]:
        first_open = next((step for step in STEPS if step not in self.journey.done), STEPS[-1])
        return [step for step in STEPS if step in self.journey.done or step == first_open]

    # -- help and palette

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """`?` helps unless it is a letter now; F1 stands in for it in fields."""
        if action == "help":
            typing = getattr(self.screen, "typing", None)
            return typing is not None and (isinstance(self.focused, FIELDS) if parameters else not typing())
        return True

    async def on_event(self, event: events.Event) -> None:
        # a field takes every letter before a binding is asked, so an empty or numeric one is asked here
        asked = isinstance(event, events.Key) and event.key == "question_mark" and not event.is_forwarded
        if asked and isinstance(self.focused, FIELDS) and self.check_action("help", ()):
            self.action_help()
        else:
            await super().on_event(event)

    def action_help(self, always: bool = True) -> None:
        explain = getattr(self.screen, "action_help", None)
        if explain is not None:
            explain()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        from tui.palette import offered

        return offered(self, screen)

    async def action_quit(self) -> None:
        """Leave, with a word on how to come back where the screen has one."""
        leave = getattr(self.screen, "action_leave", self.exit)
        leave()

    def _fatal_error(self) -> None:
        """An error of ours: the traceback goes to the log, and one line to the person."""
        error = sys.exc_info()[1]
        if self.is_headless or not isinstance(error, Exception):
            super()._fatal_error()
            return
        from rich.text import Text

        from core.cli.app import unexpected

        self._exit_renderables.append(Text(f"finetui: {unexpected(error).line()}", no_wrap=True))
        self._close_messages_no_wait()

    def on_resize(self, event: events.Resize) -> None:
        from tui.widgets.too_small import TooSmall, fits

        covered = isinstance(self.screen, TooSmall)
        if covered and fits(event.size):
            self.pop_screen()
        elif not covered and not fits(event.size):
            self.push_screen(TooSmall())
