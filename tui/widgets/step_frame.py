"""The frame that every step's screen stands in: header, rail, body, back and next, help, key hints.

A step writes only its own part:

    class ModelScreen(StepScreen):
        step = "model"
        title = "Which model shall learn?"        # one line over the body

        def compose_step(self): yield ...          # the body; taller than the page scrolls
        def problem(self): return "choose a model" # why Next cannot go on yet, or ""

It may also set `status` (right end of the header), call `note(...)` (one line between Back and Next), and
override `proceed` (Review starts the run there), `crumb`, `next_label` and AUTO_FOCUS. A widget names its
glossary entry by a `.term` attribute; without one the step's own name is explained.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.reactive import var
from textual.widget import Widget
from textual.widgets import Button, Footer, Input, Static, TextArea

from tui.journey import AFTER, NAMES, STEPS, step_after
from tui.widgets.field import Field
from tui.widgets.header_line import HeaderLine
from tui.widgets.help import HelpPanel, term_of
from tui.widgets.own_work import EndsItsWork
from tui.widgets.rail import Rail

if TYPE_CHECKING:
    from tui.app import FinetuiApp
    from tui.journey import Journey

NOTE_STYLES = {
    "": "$foreground-muted",
    "info": "$foreground-muted",
    "good": "$success",
    "warn": "$warning",
    "stop": "$error",
}


WIDE = 100  # columns from which there is room for a rail and two columns


class StepScreen(EndsItsWork[None]):
    """One step of the journey. See the module's docstring for what a step sets."""

    step: ClassVar[str] = ""
    title = ""  # a class attribute here, one line over the body
    next_label: ClassVar[str] = ""
    AUTO_FOCUS: ClassVar[str | None] = "#next"
    # textual declares these as instance variables, so they cannot be ClassVar here
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall")]  # noqa: RUF012

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+n", "next", "next", tooltip="Go on to the next step", id="step.next", show=False),
        Binding(
            "escape,ctrl+b",
            "back",
            "back",
            key_display="esc",
            tooltip="Back; nothing is lost",
            id="step.back",
        ),
        Binding("up", "scroll(-1)", show=False),
        Binding("down", "scroll(1)", show=False),
        Binding("pageup", "scroll(-10)", show=False),
        Binding("pagedown", "scroll(10)", show=False),
    ]

    DEFAULT_CSS = """
    StepScreen { layers: base above; }
    StepScreen #frame { layout: horizontal; height: 1fr; }
    StepScreen #page { width: 1fr; padding: 1 2 0 1; }
    StepScreen #heading { height: auto; text-style: bold; margin-bottom: 1; padding: 0 1; }
    StepScreen #body { height: 1fr; padding: 0 1; }
    StepScreen #actions { height: 1; margin: 1 0 0 0; padding: 0 1; }
    StepScreen #note { width: 1fr; height: 1; padding: 0 2; text-wrap: nowrap; text-overflow: ellipsis; }
    StepScreen #actions #back, StepScreen #actions #next { min-width: 8; background: $panel; }
    StepScreen #actions #next { color: $primary; text-style: bold; }
    StepScreen #actions #back:focus, StepScreen #actions #next:focus,
    StepScreen #actions #back:hover, StepScreen #actions #next:hover {
        background: $primary; color: $background; text-style: bold; background-tint: transparent;
    }
    StepScreen.-narrow #frame { layout: vertical; }
    StepScreen.-narrow #page { padding: 0; }
    StepScreen.-narrow Rail { width: 100%; height: 1; padding: 0 1; }
    StepScreen.-narrow HelpPanel { dock: bottom; width: 100%; margin: 0 0 1 0; padding: 0 1; }
    StepScreen.-short #heading { margin-bottom: 0; }
    StepScreen.-short #actions { margin-top: 0; }
    """

    status: var[str | Content] = var("", init=False)  # not reactive, which repaints the whole screen
    if TYPE_CHECKING:
        app: FinetuiApp

    @property
    def journey(self) -> "Journey":
        return self.app.journey

    # -- what a step may say for itself

    def compose_step(self) -> Iterable[Widget]:
        """The step's own widgets."""
        raise NotImplementedError

    def problem(self) -> str:
        """Why one cannot go on from here yet, in one line; empty when one can."""
        return ""

    def crumb(self) -> str:
        """What the header says after `Runs ›`."""
        return self.journey.label if self.step in STEPS else ""

    def proceed(self) -> None:
        """Go on: the step is passed and the next one opens."""
        self.journey.passed(self.step)
        self.app.next_step()

    # -- the frame

    def compose(self) -> ComposeResult:
        yield HeaderLine()
        with Container(id="frame"):
            if self.step in (*STEPS, *AFTER):
                yield Rail(self.step, self.journey.done)
            with Vertical(id="page"):
                heading = type(self).title
                if isinstance(heading, str) and heading:
                    yield Static(heading, id="heading", markup=False)
                with VerticalScroll(id="body", can_focus=False):
                    yield from self.compose_step()
                if self.step in STEPS:
                    with Horizontal(id="actions"):
                        yield Button("‹ Back", id="back", compact=True)
                        yield Static(id="note")
                        yield Button(self._next_words(), id="next", variant="primary", compact=True)
        yield HelpPanel()
        yield Footer()

    def _next_words(self) -> str:
        following = step_after(self.step)
        return self.next_label or (f"Next: {NAMES[following]} ›" if following else "Next ›")

    def on_mount(self) -> None:
        self.refresh_frame()

    def on_screen_resume(self) -> None:
        self.refresh_frame()

    def on_resize(self) -> None:
        self.query_one(Footer).compact = self.narrow

    @property
    def narrow(self) -> bool:
        """Whether things stand under each other, the rail in one line."""
        return self.size.width < WIDE

    def watch_status(self) -> None:
        """The header alone: a run's steps come twice a second, and the rail does not show them."""
        if self.is_mounted:
            unsaved = Content.styled(self.journey.unsaved, "$error") if self.journey.unsaved else ""
            for header in self.query(HeaderLine):  # none is left while the screen goes away
                header.show(self.crumb(), unsaved or self.status)

    def refresh_frame(self) -> None:
        """Redraw header and rail, after a choice that they show."""
        self.watch_status()
        if self.is_mounted:
            for rail in self.query(Rail):
                rail.draw()

    def note(self, text: str, severity: str = "") -> None:
        """One line between Back and Next. Severity: "" | good | warn | stop."""
        for line in self.query("#note").results(Static):
            line.update(Content.styled(text, NOTE_STYLES[severity]))

    # -- keys

    def refused(self) -> str:
        """What a dial holds that cannot be taken: going on would leave it out unsaid."""
        return next((one.problem for one in self.query(Field) if one.display and one.problem), "")

    def action_next(self) -> None:
        reason = self.refused() or self.problem()
        if reason:
            self.note(reason, "warn")
        else:
            self.proceed()

    @property
    def help_is_open(self) -> bool:
        return self.query_one(HelpPanel).is_open

    def action_back(self) -> None:
        if self.help_is_open:
            self.action_help()
        else:
            self.app.previous_step()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "next":
            event.stop()
            self.action_next()
        elif event.button.id == "back":
            event.stop()
            self.app.previous_step()

    def action_scroll(self, rows: int) -> None:
        """Move the body under a focus that does not use the key itself."""
        self.query_one("#body").scroll_relative(y=rows, animate=False)

    def action_leave(self) -> None:
        """Leave finetui from here."""
        kept = self.step in STEPS and self.journey.has_draft()
        self.app.exit(message="Your choices are kept: finetui offers to go on with them." if kept else None)

    # -- help

    def typing(self) -> bool:
        """Whether `?` is a letter now: some text stands in a focused field that takes any text."""
        field = self.focused
        if isinstance(field, TextArea):
            return True
        return (
            isinstance(field, Input)
            and field.type == "text"
            and (bool(field.value) or not hasattr(field, "term"))
        )

    def action_help(self) -> None:
        panel = self.query_one(HelpPanel)
        panel.toggle_class("-open")
        self.refresh_help()
        self.refresh_bindings()

    def explain(self, key: str) -> None:
        """Open the help with one term of the glossary."""
        panel = self.query_one(HelpPanel)
        panel.add_class("-open")
        panel.explain(key)

    def refresh_help(self) -> None:
        """Explain what is focused now, where the panel is open. Call it when a field's `.term` changes."""
        panel = self.query_one(HelpPanel)
        if panel.is_open:
            panel.explain(term_of(self.focused, self.step))

    def on_descendant_focus(self) -> None:
        if self.is_mounted:
            self.refresh_help()
