"""Template: any row as the model sees it, token by token, what is learned of it, and where it ends."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Label, Select, Static

from core.errors import UserError
from core.numbers import count
from tui import find_out, source_choice
from tui.template_list import FILE, KNOWN_FOR, LEARN, LEARN_NAMES, names, offered
from tui.widgets.finding_list import called
from tui.widgets.progress_line import ProgressLine, refusal
from tui.widgets.report_view import MARKS, in_order, worst
from tui.widgets.source_field import SourceField
from tui.widgets.step_frame import StepScreen
from tui.widgets.template_words import ends, left_out, share, which
from tui.widgets.token_view import TokenView, neighbours, numbers_line

SETTLED = 0.3
"""Seconds after the last key before the example is made anew."""


class TemplateScreen(StepScreen):
    step = "template"
    title = "How is a row put to the model, and what is learned of it?"
    AUTO_FOCUS = "#next"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "n,right_square_bracket",
            "row(1)",
            "row",
            key_display="n p",
            tooltip="Show the next row; p shows the one before",
            id="template.next",
        ),
        Binding("p,left_square_bracket", "row(-1)", show=False),
        Binding("f", "finding(1)", "finding", tooltip="The next row with a finding; F the one before"),
        Binding("F", "finding(-1)", show=False),
        Binding("g", "go", tooltip="Show a row by its number", id="template.go", show=False),
        Binding("s", "source", tooltip="Rows of the next source", id="template.source", show=False),
        Binding("t", "tokens", "tokens", tooltip="The text, or each token with its id", id="template.tokens"),
        Binding("l", "learn", "learn", tooltip="What is learned: the next choice", id="template.learn"),
        Binding("c", "template", "template", tooltip="Choose another template", id="template.choose"),
    ]
    DEFAULT_CSS = """
    TemplateScreen .choice { height: 1; }
    TemplateScreen .choice Label { width: 13; color: $text-muted; }
    TemplateScreen .choice:focus-within Label { color: $text-primary; text-style: bold; }
    TemplateScreen .choice Select { width: 26; }
    TemplateScreen .choice .hint { width: 1fr; height: 1; padding-left: 2; color: $text-muted; }
    TemplateScreen .choice .hint { text-wrap: nowrap; text-overflow: ellipsis; }
    TemplateScreen #row { width: 10; }
    TemplateScreen #file { display: none; width: 1fr; margin-left: 2; }
    TemplateScreen #choice-template.-file #file { display: block; }
    TemplateScreen #choice-template.-file .hint { display: none; }
    TemplateScreen #ends { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    TemplateScreen #example {
        height: 1fr; min-height: 6; border: round $border-blurred; padding: 0 1;
        border-title-color: $foreground 60%; border-subtitle-color: $foreground 60%;
    }
    TemplateScreen #example:focus { border: round $border; }
    TemplateScreen.-tall #progress { margin-top: 1; }
    """

    def compose_step(self) -> Iterable[Widget]:
        chosen = self.journey.get("template") or "auto"
        known = {"auto", *names()}
        with Horizontal(classes="choice", id="choice-template"):
            yield Label("template")
            select: Select[str] = Select(
                offered(self.journey.known),
                value=chosen if chosen in known else FILE,
                allow_blank=False,
                compact=True,
                id="template",
            )
            select.term = "template"  # type: ignore[attr-defined]
            yield select
            yield SourceField(
                "" if chosen in known else chosen,
                term="template",
                placeholder="path of a .jinja file, then Enter",
                id="file",
            )
            yield Static(classes="hint", id="template-hint", markup=False)
        with Horizontal(classes="choice"):
            yield Label("learned")
            learn: Select[str] = Select(
                [(name, key) for key, name in LEARN_NAMES.items()],
                value=self.journey.get("learn") or "assistant",
                allow_blank=False,
                compact=True,
                id="learn",
            )
            learn.term = "learn"  # type: ignore[attr-defined]
            yield learn
            yield Static(classes="hint", id="learn-hint", markup=False)
        with Horizontal(classes="choice"):
            yield Label("row")
            row = Input(str(self.journey.row), type="integer", compact=True, id="row", select_on_focus=True)
            row.term = "row"  # type: ignore[attr-defined]
            yield row
            yield Static(classes="hint", id="row-hint")
        yield ProgressLine(id="progress")
        yield Static(id="ends")
        yield TokenView(id="example")

    def on_mount(self) -> None:
        self._later: Timer | None = None
        self._failed = ""
        self._ids = False
        self._shown: dict[str, Any] = {}  # what is known of the row that is looked at
        self._hints()
        self._tell_row()
        self.read()

    # -- choices

    @on(Select.Changed)
    def _chosen(self, event: Select.Changed) -> None:
        value = str(event.value)
        if event.select.id == "learn":
            key, value_now = "learn", self.journey.get("learn") or "assistant"
        else:
            key, value_now = "template", self.journey.get("template") or "auto"
            file = value == FILE
            self.query_one("#choice-template").set_class(file, "-file")
            if file:
                field = self.query_one("#file", SourceField)
                if field.value != value_now:
                    field.focus()
                return
        self._hints()
        if value != value_now:
            self.journey.set(key, None if value == "auto" else value)
            self._settle()

    @on(Input.Submitted, "#file")
    def _file(self, event: Input.Submitted) -> None:
        text = event.value.strip()
        if text:
            self.journey.set("template", str(Path(text).expanduser().absolute()))
            self.read()

    def _hints(self) -> None:
        template = str(self.query_one("#template", Select).value)
        learn = str(self.query_one("#learn", Select).value)
        self.query_one("#template-hint", Static).update(KNOWN_FOR.get(template, ""))
        self.query_one("#learn-hint", Static).update(LEARN[learn])

    def _offer(self) -> None:
        """The templates again, once it is known whose tokens the tokenizer lacks."""
        select = self.query_one("#template", Select)
        value = select.value
        if not select.expanded:
            with self.prevent(Select.Changed):
                select.set_options(offered(self.journey.known))
                select.value = value

    def action_learn(self) -> None:
        select, choices = self.query_one("#learn", Select), list(LEARN)
        select.value = choices[(choices.index(str(select.value)) + 1) % len(choices)]

    def action_template(self) -> None:
        select = self.query_one("#template", Select)
        select.focus()
        select.action_show_overlay()

    # -- which row

    @property
    def _rows(self) -> int:
        """Rows of the source that is looked at; 0 until all were read."""
        known, sources = self.journey.known, self.journey.known.get("sources") or ()
        if not known.get("complete", True):
            return 0
        if self.journey.source < len(sources):
            return int(sources[self.journey.source].get("rows") or 0)
        return int(known.get("rows") or 0)

    def action_row(self, by: int) -> None:
        """The next or previous row, around the end; several keys in a row are one reading."""
        row, rows = self.journey.row + by, self._rows
        self._go((row - 1) % rows + 1 if rows else max(row, 1))

    def action_finding(self, by: int) -> None:
        """The next or previous row that a finding is about, around the end."""
        rows = sorted({row for one in self._findings() for row in one.get("rows") or ()})
        if not rows:
            self.note("no finding is about a row", "info")
            return
        place = bisect_right(rows, self.journey.row) if by > 0 else bisect_left(rows, self.journey.row) - 1
        self._go(rows[place % len(rows)])

    def action_go(self) -> None:
        self.query_one("#row").focus()

    def action_source(self) -> None:
        """The next source, where there are several."""
        self.journey.source = (self.journey.source + 1) % max(source_choice.count(self.journey), 1)
        self._go(1)

    @on(Input.Submitted, "#row")
    def _numbered(self, event: Input.Submitted) -> None:
        if event.value.isdigit() and int(event.value) > 0:
            self._go(int(event.value))
        self.query_one("#example").focus()

    def _go(self, row: int) -> None:
        self.journey.row = row
        self.query_one("#row", Input).value = str(row)
        self._tell_row()
        self._settle()

    def _findings(self) -> list[Any]:
        """What was found in the source that is looked at."""
        found = self.journey.known.get("findings") or ()
        return in_order([one for one in found if (one.get("source") or 0) == self.journey.source])

    def _tell_row(self) -> None:
        """How many rows there are, and what was found of this one."""
        here, journey = self.journey.row, self.journey
        about = journey.known.get("rows_estimate")
        of = f"of {count(self._rows)}" if self._rows else f"of about {count(about)}" if about else ""
        pieces: list[tuple[str, str] | str] = [of]
        if source_choice.count(journey) > 1:
            name = str(source_choice.get(journey, journey.source, "source"))
            pieces.append((f" in {source_choice.short(name)}", "bold"))
        if self._shown.get("held_out"):
            pieces.append((" · held out", "$text-accent"))
        told = [one for one in self._findings() if here in (one.get("rows") or ())]
        codes = {one["code"]: one for one in [*told, *(self._shown.get("findings") or ())]}
        for code, one in codes.items():
            mark, colour = MARKS[str(one.get("severity", "info"))]
            pieces.append((f" · {mark} {called(code)}", colour))
        if not codes and any(one.get("rows") for one in self._findings()):
            pieces.append((" · f: the next with a finding", "$foreground 50%"))
        self.query_one("#row-hint", Static).update(Content.assemble(*pieces))

    def action_tokens(self) -> None:
        """The row as text, or every token apart with its id."""
        self._ids = not self._ids
        self.query_one("#example", TokenView).show_ids(self._ids)

    # -- reading

    def _settle(self) -> None:
        if self._later is not None:
            self._later.stop()
        self._later = self.set_timer(SETTLED, self.read)

    @work(exclusive=True, group="read")
    async def read(self) -> None:
        """This row with this template, made by the code that trains; then what that does to all rows."""
        line, journey = self.query_one("#progress", ProgressLine), self.journey
        self._failed = ""
        self.note("")
        known = (journey.report or {}).get("example") or {}
        if known.get("row") == journey.row and (known.get("source") or 0) == journey.source:
            self._show(journey.report or {})  # at once; the rest of it follows
        else:
            line.progress("making the example")
        try:
            self._show(await find_out.row(journey, journey.row, journey.source))
        except UserError as error:
            self._fail(error)
            return
        if journey.report is None:
            self._check()

    def _fail(self, error: UserError) -> None:
        self._failed = error.line()
        self.query_one("#progress", ProgressLine).quiet()
        self.query_one("#ends", Static).update("")
        self.query_one("#example", TokenView).say(refusal(error))

    @work(exclusive=True, group="check")
    async def _check(self) -> None:
        """All rows with these choices, beside the looking."""

        def tell(stage: str, done: int, total: int | None) -> None:
            whole = f" of {count(total)}" if total else ""
            self.note(f"checking every row: {count(done)}{whole}" if done else "checking every row", "info")

        try:
            await find_out.report(self.journey, tell)
        except UserError as error:
            self.note(error.line(), "stop")
            return
        stop = worst(self.journey.known.get("findings") or ())
        self.note(stop, "stop" if stop else "")
        self._offer()
        self._tell_row()
        self._title()

    def _show(self, found: dict[str, Any]) -> None:
        self._shown = found
        template, example = found.get("template"), found.get("example")
        line = self.query_one("#progress", ProgressLine)
        line.quiet()
        if template or example:
            line.update(which(template))
            self.query_one("#ends", Static).update(ends(template))
        view = self.query_one("#example", TokenView)
        if "columns" in found and found.get("columns") is None and "refused" in found:
            view.say(Content.styled(f"there is no row {self.journey.row:,}", "$text-warning"))
        elif example is None:
            view.say(left_out(str(found.get("refused") or ""), found.get("columns") or {}))
        else:
            end = (template or {}).get("end") or ""
            view.show(example, end, self.journey.get("length"), str(found.get("refused") or ""))
        self._title()
        self._tell_row()
        stop = worst(self.journey.known.get("findings") or ())
        if stop:
            self.note(stop, "stop")

    def _title(self) -> None:
        view, example = self.query_one("#example", TokenView), self._shown.get("example") or {}
        if not example.get("tokens"):
            return
        shared = neighbours(example)
        legend = shared or "▌ green, underlined: learned · grey: not · boxed: special"
        view.border_title = f"row {int(example.get('row') or 1):,} · {legend}"
        view.border_subtitle = numbers_line(example) + share(self.journey.known)

    def problem(self) -> str:
        if self._failed:
            return self._failed
        if not self.journey.known and not self._shown:
            return "the example is still being made"
        return worst(self.journey.known.get("findings") or ())
