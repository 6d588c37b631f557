"""Aim: what the tuned model is for. Sets the defaults of everything after it."""

from collections.abc import Iterable

from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui.aims import AIMS, BY_KEY, Aim, choose
from tui.widgets.step_frame import StepScreen


class AimScreen(StepScreen):
    step = "aim"
    title = "What is it for?"
    AUTO_FOCUS = "#aims"

    DEFAULT_CSS = """
    AimScreen #both { layout: horizontal; height: 1fr; }
    AimScreen #aims {
        width: 44; height: auto; max-height: 100%; border: none; background: $background; padding: 0;
    }
    AimScreen #aims > .option-list--option { padding: 0 1; }
    AimScreen #about { width: 1fr; height: 1fr; padding: 0 1 0 3; }
    AimScreen #about Static { height: auto; }
    AimScreen.-narrow #both { layout: vertical; }
    AimScreen.-narrow #aims { width: 100%; }
    AimScreen.-narrow #about { padding: 1 1 0 1; }
    """

    def compose_step(self) -> Iterable[Widget]:
        with Container(id="both"):
            aims = OptionList(*(Option(aim.name, id=aim.key) for aim in AIMS), id="aims", compact=True)
            aims.highlighted = list(BY_KEY).index(self.journey.get("aim", AIMS[0].key))
            yield aims
            with VerticalScroll(id="about", can_focus=False):
                yield Static(id="aim")

    def on_resize(self) -> None:
        aims = self.query_one("#aims", OptionList)
        for aim in AIMS:
            aims.replace_option_prompt(aim.key, _entry(aim, self.narrow))
        self._tell(self._highlighted())

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self._tell(BY_KEY[str(event.option.id)])

    def _tell(self, aim: Aim) -> None:
        self.query_one("#aim", Static).update(_about(aim, self.narrow))
        self.query_one("#about").scroll_home(animate=False)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.action_next()

    def _highlighted(self) -> Aim:
        return AIMS[self.query_one("#aims", OptionList).highlighted or 0]

    def proceed(self) -> None:
        choose(self.journey, self._highlighted())
        super().proceed()


def _entry(aim: Aim, narrow: bool) -> Content:
    """The name, and what is meant in a few words: on one line, or under it where there is room."""
    if narrow:
        return Content.assemble((f"{aim.name:<24}", "bold"), (aim.short, "$foreground 75%")).truncate(
            74, ellipsis=True
        )
    return Content.assemble((aim.name, "bold"), "\n", (f"{aim.short}\n", "$foreground 75%"))


def _about(aim: Aim, narrow: bool) -> Content:
    """All that is to know before one chooses."""
    parts: list[Content] = []
    for name, text in (
        ("Needs", aim.needs),
        ("Can", aim.can),
        ("Cannot", aim.cannot),
        ("Before you train", aim.instead),
    ):
        parts.append(Content.assemble((name, "bold $primary"), "  " if narrow else "\n", text))
    return Content("\n" if narrow else "\n\n").join(parts)
