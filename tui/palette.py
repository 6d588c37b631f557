"""The command palette: what fits the screen one is on, where one can go, and the words of the glossary."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from textual.app import SystemCommand
from textual.command import Hit, Hits, Provider
from textual.screen import Screen

from tui import theme
from tui.journey import NAMES, STEPS

if TYPE_CHECKING:
    from tui.app import FinetuiApp

ELSEWHERE = ("help", "help(True)", "quit", "command_palette")  # actions that have their own words below


def offered(app: "FinetuiApp", screen: Screen[object]) -> Iterable[SystemCommand]:
    """What can be done on this screen, then where one can go, then the program's own."""
    for active in screen.active_bindings.values():
        binding = active.binding
        if active.enabled and not binding.system and binding.description and binding.action not in ELSEWHERE:
            yield SystemCommand(
                f"{binding.description} ({app.get_key_display(binding)})",
                active.tooltip or binding.tooltip or "",
                lambda action=binding.action, node=active.node: app.run_action(action, node),
            )
    if getattr(screen, "step", "") in STEPS:
        for step in app.open_steps():
            yield SystemCommand(
                f"Go to {NAMES[step]}", "Open this step; nothing is lost", lambda step=step: app.goto(step)
            )
    yield SystemCommand("Help", "Explain the focused field in plain words", app.action_help)
    other = theme.LIGHT.name if app.theme == theme.DARK.name else theme.DARK.name
    yield SystemCommand("Light or dark", "Change the colours", lambda: setattr(app, "theme", other))
    yield SystemCommand("Quit", "Leave finetui; runs go on", app.action_quit)


class Glossary(Provider):
    """Offers a term for what was typed; nothing before something is, so that the actions stand alone."""

    async def search(self, query: str) -> Hits:
        from core.glossary import terms

        explain = getattr(self.screen, "explain", None)
        if explain is None:
            return
        matcher = self.matcher(query)
        for one in terms():
            said = f"What is {one.name}?"
            score = matcher.match(said)
            if score > 0:
                yield Hit(score, matcher.highlight(said), lambda key=one.key: explain(key), help=one.text)
