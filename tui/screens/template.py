"""Template: one example as the model sees it, token by token, what is learned of it, and where it ends."""

from __future__ import annotations

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
from core.numbers import count, percent
from tui import find_out
from tui.widgets.progress_line import ProgressLine, refusal
from tui.widgets.report_view import worst
from tui.widgets.source_field import SourceField
from tui.widgets.step_frame import StepScreen
from tui.widgets.token_view import TokenView, tokens_of

SETTLED = 0.3
"""Seconds after the last key before the example is made anew."""

KNOWN_FOR = {
    "auto": "the model's own, or the one that its tokens fit: no need to change it",
    "alpaca": "### Instruction and ### Response; no special tokens",
    "chatml": "<|im_start|> turns; Qwen and many others",
    "instruct": "plain words; for base models with no tokens to spare",
    "llama-2": "[INST] turns; Llama 2",
    "llama-3": "header tokens; Llama 3",
    "mistral": "[INST] turns; Mistral",
    "phi": "<|user|> and <|end|>; Phi-3 and 4",
    "vicuna": "USER: and ASSISTANT:",
    "zephyr": "<|user|> turns that end with the text's end",
}
FILE = "file"
LEARN = {
    "assistant": "answers alone (usual): nothing is spent on learning questions",
    "all": "every token: for plain text and new facts",
}


def names() -> list[str]:
    """The named templates, as their files lie beside the code that renders them."""
    import core.data

    return sorted(file.stem for file in (Path(core.data.__file__).parent / "templates").glob("*.jinja"))


class TemplateScreen(StepScreen):
    step = "template"
    title = "How is a row put to the model, and what is learned of it?"
    AUTO_FOCUS = "#next"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "n,right_square_bracket",
            "row(1)",
            "next row",
            tooltip="Show the next example",
            id="template.next",
        ),
        Binding(
            "p,left_square_bracket",
            "row(-1)",
            "row before",
            tooltip="Show the example before",
            id="template.before",
        ),
        Binding(
            "a",
            "learn",
            "learn",
            tooltip="Learn the answers alone, or every token",
            id="template.learn",
        ),
        Binding("t", "template", "template", tooltip="Choose another template", id="template.choose"),
    ]
    DEFAULT_CSS = """
    TemplateScreen .choice { height: 1; }
    TemplateScreen .choice Label { width: 13; color: $text-muted; }
    TemplateScreen .choice Select { width: 22; }
    TemplateScreen .choice .hint { width: 1fr; height: 1; padding-left: 2; color: $text-muted; }
    TemplateScreen .choice .hint { text-wrap: nowrap; text-overflow: ellipsis; }
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
        offered = [("auto", "auto"), *((name, name) for name in names())]
        known = {value for _, value in offered}
        with Horizontal(classes="choice", id="choice-template"):
            yield Label("template")
            select: Select[str] = Select(
                [*offered, ("a Jinja file", FILE)],
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
                [("the answers", "assistant"), ("every token", "all")],
                value=self.journey.get("learn") or "assistant",
                allow_blank=False,
                compact=True,
                id="learn",
            )
            learn.term = "learn"  # type: ignore[attr-defined]
            yield learn
            yield Static(classes="hint", id="learn-hint", markup=False)
        yield ProgressLine(id="progress")
        yield Static(id="ends")
        yield TokenView(id="example")

    def on_mount(self) -> None:
        self._row = find_out.shown_row(self.journey.report or {})
        self._later: Timer | None = None
        self._failed = ""
        self._hints()
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

    def action_learn(self) -> None:
        select = self.query_one("#learn", Select)
        select.value = "all" if select.value == "assistant" else "assistant"

    def action_template(self) -> None:
        select = self.query_one("#template", Select)
        select.focus()
        select.action_show_overlay()

    def action_row(self, by: int) -> None:
        """The next or previous example; the job reads it, so several keys in a row are one reading."""
        rows = int((self.journey.report or {}).get("rows") or 1)
        self._row = (self._row + by) % max(rows, 1)
        self._title()
        self._settle()

    # -- reading

    def _settle(self) -> None:
        if self._later is not None:
            self._later.stop()
        self._later = self.set_timer(SETTLED, self.read)

    @work(exclusive=True, group="read")
    async def read(self) -> None:
        """The example of this row with this template, made by the code that trains."""
        line = self.query_one("#progress", ProgressLine)
        self._failed = ""
        self.note("")
        line.progress("making the example")
        try:
            report = await find_out.report(self.journey, line.progress, row=self._row)
        except UserError as error:
            self._failed = error.line()
            line.quiet()
            self.query_one("#ends", Static).update("")
            self.query_one("#example", TokenView).say(refusal(error))
            return
        line.quiet()
        self._show(report)

    def _show(self, report: dict[str, Any]) -> None:
        template, example = report.get("template"), report.get("example")
        self._row = find_out.shown_row(report)  # rows that cannot be shown are passed over
        line = self.query_one("#progress", ProgressLine)
        line.update(_which(template))
        self.query_one("#ends", Static).update(_ends(template))
        view = self.query_one("#example", TokenView)
        view.show(tokens_of(example), (template or {}).get("end") or "")
        self._title()
        stop = worst(report.get("findings") or ())
        if stop:
            self.note(stop, "stop")

    def _title(self) -> None:
        report = self.journey.report or {}
        view = self.query_one("#example", TokenView)
        view.border_title = (
            f"row {self._row + 1:,} of {count(report.get('rows'))} · ▌ green, underlined: learned · grey: not"
        )
        example = report.get("example") or {}
        tokens = example.get("tokens") or ()
        learned = sum(bool(one["learned"]) for one in tokens)
        cut = f", {example['cut']:,} cut off by the length" if example.get("cut") else ""
        hidden = f", {example['hidden']:,} more not drawn" if example.get("hidden") else ""
        view.border_subtitle = f"{len(tokens):,} tokens, {learned:,} learned{cut}{hidden}{_share(report)}"

    def problem(self) -> str:
        if self._failed:
            return self._failed
        if self.journey.report is None:
            return "the example is still being made"
        return worst(self.journey.report.get("findings") or ())


def _share(report: dict[str, Any]) -> str:
    tokens, learned = report.get("tokens"), report.get("learned_tokens")
    return f" · in all rows {percent(learned / tokens)} of {count(tokens)}" if tokens else ""


def _which(template: dict[str, Any] | None) -> Content:
    """Which template it came to, and why."""
    if template is None:
        return Content.assemble(("no template", "bold"), ": plain text, every token is learned")
    name = "the model's own" if template["origin"] == "model" else template["name"]
    return Content.assemble((name, "bold"), (f": {template['why']}", "$foreground 60%"))


def _ends(template: dict[str, Any] | None) -> Content:
    """Whether the model will learn to stop, which decides whether it ever does."""
    if template is None:
        return Content.styled(
            "the text's end is learned: it ends where a text of yours would", "$foreground 60%"
        )
    if template.get("end_learned"):
        return Content.assemble(
            ("✓ an answer ends with ", ""),
            (str(template["end"]), "bold $text-success"),
            (", which is learned: it will stop", ""),
        )
    return Content.assemble(
        ("✗ the end ", ""),
        (str(template["end"]), "bold $text-error"),
        (" is not learned: it would never stop", "$text-error"),
    )
