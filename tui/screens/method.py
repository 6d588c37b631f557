"""Method: full, LoRA and QLoRA against the card, what each would take, and the dials."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from core.errors import UserError
from core.numbers import number as shown_number
from core.numbers import rate
from core.plan.objective import ABOUT, NAMES, TAKES, asked_by
from tui import ask_card, find_out
from tui.method_dials import DIALS, EXCLUDES, LORA_ONLY, PREFERENCES_ONLY, at_rest, left_alone, while_asking
from tui.widgets.ask import Ask
from tui.widgets.ask_card import AskCard, offer, told
from tui.widgets.field import Field, number
from tui.widgets.memory_bars import legend, memory_bars, table
from tui.widgets.method_table import bars, brief, figures, head, phases, room, why
from tui.widgets.progress_line import ProgressLine, refusal
from tui.widgets.step_frame import StepScreen

BESIDE = 112
"""Columns from which on the dials have room beside the table."""

if TYPE_CHECKING:
    from core.plan.advise import MethodPlan, Plan


class MethodScreen(StepScreen):
    step = "method"
    title = "How shall it learn?"
    AUTO_FOCUS = "#methods"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "r",
            "recommended",
            "recommended",
            tooltip="Take the recommended method and its numbers",
            id="method.best",
        ),
        Binding("d", "dials", "dials", tooltip="Change batch, length, rank, rate", id="method.dials"),
        Binding(
            "m",
            "measure",
            "measure",
            tooltip="Measure the marked method by real steps on the card: a minute",
            id="method.measure",
        ),
        Binding(
            "t",
            "trace",
            "trace",
            tooltip="Count what the marked method takes by its own modules, without a card: seconds",
            id="method.trace",
        ),
        Binding("m", "stop('measure')", "stop", tooltip="End the measurement", id="method.unmeasure"),
        Binding("t", "stop('trace')", "stop", tooltip="End the trace", id="method.untrace"),
    ]
    DEFAULT_CSS = """
    MethodScreen #methods { height: 3; background: $background; overflow: hidden; }
    MethodScreen #legend { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    MethodScreen #brief { height: 1; margin-top: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    MethodScreen #why { height: 4; color: $foreground 75%; }
    MethodScreen #lower { layout: horizontal; height: auto; }
    MethodScreen #table { width: 62; height: auto; }
    MethodScreen #right { width: 1fr; height: auto; }
    MethodScreen #dials { height: auto; layout: grid; grid-size: 1; grid-rows: 1; }
    MethodScreen #phases { height: auto; margin-top: 1; }
    MethodScreen #dials .hint { display: none; }
    MethodScreen #dials Dial { width: 18; }
    MethodScreen #hint { height: 1; margin-top: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    MethodScreen .-useless { opacity: 40%; }
    MethodScreen.-short #hint { margin-top: 0; }
    MethodScreen.-short #table, MethodScreen.-slim #table { display: none; }
    MethodScreen.-short #phases, MethodScreen.-narrow #phases { display: none; }
    MethodScreen.-short #dials, MethodScreen.-slim #dials { grid-size: 2; padding-left: 0; margin-top: 1; }
    MethodScreen #phases.-close { margin-top: 0; }
    MethodScreen.-tall #lower { margin-top: 1; }
    """

    def compose_step(self) -> Iterable[Widget]:
        yield AskCard(id="progress")
        methods = OptionList(id="methods", compact=True)
        methods.term = "method"  # type: ignore[attr-defined]
        yield methods
        yield Static(legend(), id="legend")
        yield Static(id="brief")
        yield Static(id="why")
        with Container(id="lower"):
            yield Static(id="table")
            with Vertical(id="right"):
                with Vertical(id="dials"):
                    for key, label, term, values, _ in DIALS:
                        yield Field(
                            key, label, term=term, value=self._chosen_text(key), values=values.split()
                        )
                yield Static(id="phases")
        yield Static(id="hint", markup=False)

    def _chosen_text(self, key: str) -> str:
        value = self.journey.get(key)
        if value is None or value == "auto":
            return ""
        if key == "learning_rate":
            return rate(value)
        if isinstance(value, bool):
            return str(value).lower()
        return shown_number(value) if isinstance(value, int | float) else str(value)

    def on_mount(self) -> None:
        self._data: dict[str, Any] | None = None
        self.find()

    @work(exclusive=True, group="plan")
    async def find(self) -> None:
        """The plan, and before it whatever it rests on."""
        line = self.query_one("#progress", ProgressLine)
        try:
            await find_out.plan(self.journey, line.progress)
        except UserError as error:
            line.quiet()
            self.query_one("#why", Static).update(refusal(error))
            return
        self._data = self.journey.report
        line.quiet()
        self._show()
        self.on_descendant_focus()

    # -- choosing

    @property
    def _method(self) -> str:
        """The method that stands now: the chosen one, or the plan's."""
        plan, chosen = self.journey.plan, self.journey.get("method") or "auto"
        if chosen != "auto" or plan is None:
            return str(chosen)
        return plan.recommended or plan.methods[-1].method

    @on(OptionList.OptionHighlighted, "#methods")
    def _marked(self, event: OptionList.OptionHighlighted) -> None:
        method = str(event.option.id)
        if self.journey.plan is None or method == self._method:
            return
        self.journey.set("method", method)
        self._again()

    @on(OptionList.OptionSelected, "#methods")
    def _selected(self) -> None:
        self.action_next()

    def action_recommended(self) -> None:
        for key, *_ in DIALS:
            if key not in ("length", "steps", "price_per_hour"):
                self.journey.set(key, None)
                self._field(key).load("")
        self.journey.set("optimizer", None)  # one that a measurement found to fit
        self.journey.set("method", None)
        self._again()

    # -- asking the card

    def action_measure(self) -> None:
        self._ask(trace=False)

    def action_trace(self) -> None:
        self._ask(trace=True)

    def _ask(self, trace: bool) -> None:
        refused = ask_card.why_not(self.journey, self._method, trace=trace)
        if refused:
            self._hint(refused, "$text-error")
            return
        self.query_one(AskCard).ask(self.journey, self._method, trace=trace)
        self._hint(while_asking(self.journey.plan, trace, ask_card.to_download(self.journey)))
        self._asking()

    def action_stop(self, what: str = "") -> None:
        self.query_one(AskCard).stop()
        self._hint("ended; nothing was kept of it")
        self._asking()

    def action_back(self) -> None:
        if self.query_one(AskCard).asking and not self.help_is_open:
            self.action_stop()
        else:
            super().action_back()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("measure", "trace", "stop"):
            asking = next((line.asking for line in self.query(AskCard)), "")
            return asking == parameters[0] if action == "stop" else not asking
        return super().check_action(action, parameters)

    def _asking(self) -> None:
        """The keys and the help are other ones while something is asked."""
        asking = self.query_one(AskCard).asking
        self.query_one("#methods").term = asking or "method"  # type: ignore[attr-defined]
        self.refresh_bindings()
        self.refresh_help()
        self._show()

    @on(AskCard.Failed)
    def _unanswered(self, event: AskCard.Failed) -> None:
        self._asking()
        self._hint(event.line, "$text-error")

    @on(AskCard.Answered)
    def _answered(self, event: AskCard.Answered) -> None:
        answer = event.answer
        if answer.changed and answer.estimate is not None:
            self.app.push_screen(
                Ask("Take these settings?", offer(answer), yes="Take them", no="Not now"),
                lambda yes: self._taken(answer) if yes else None,
            )
        self._again()
        self._asking()
        plan = self.journey.plan
        self._hint(told(answer, plan), "" if answer.estimate else "$text-error")

    def _taken(self, answer: ask_card.Answer) -> None:
        """What was measured goes into the draft as if its dials had been turned."""
        if self._data is None:
            return
        ask_card.take(self.journey, answer, self._data)
        for key in ask_card.SETTINGS:
            if key != "optimizer":
                self._field(key).load(self._chosen_text(key))
        self._show()
        self._hint("taken: the dials have what was measured · r gives them back to the plan")

    def action_dials(self) -> None:
        self._field("batch").dial.focus()

    @on(Field.Changed)
    def _dialled(self, event: Field.Changed) -> None:
        key = event.field.key
        value: Any = number(event.value)
        if value is not None and key in EXCLUDES:
            self.journey.set(EXCLUDES[key], None)
            self._field(EXCLUDES[key]).load("")
        event.field.refused = find_out.choose(self.journey, key, value)
        refused = event.field.refused or self._again()
        self._hint(refused or self._costs(key), "$text-error" if refused else "")

    def on_descendant_focus(self) -> None:
        """What the focused dial costs, in the line below them."""
        super().on_descendant_focus()
        field = next((one for one in self.query(Field) if one.has_focus_within), None)
        self._hint(self._costs(field.key) if field else at_rest(self.journey.plan))

    def _costs(self, key: str) -> str:
        if key == "objective" and self.journey.plan:
            objective = self.journey.plan.objective
            return f"{NAMES[objective]} {ABOUT[objective]}"
        costs = next(f"{dial[1]}: {dial[4]}" for dial in DIALS if dial[0] == key)
        chosen = next((one for one in self._plans() if one.method == self._method), None)
        if key == "recompute" and chosen:
            return f"recompute: {chosen.kept} · 0 is fastest, 1 takes least memory"
        if key == "compile" and chosen:
            return f"compile: {'yes' if chosen.compiled else 'no'}, {chosen.compile_why}"
        return costs

    def _plans(self) -> tuple[Any, ...]:
        return self.journey.plan.methods if self.journey.plan else ()

    def _hint(self, text: str, style: str = "") -> None:
        self.query_one("#hint", Static).update(Content.styled(text, style or "$foreground 60%"))

    def _field(self, key: str) -> Field:
        return self.query_one(f"#field-{key.replace('.', '-').replace('_', '-')}", Field)

    def _again(self) -> str:
        """The plan with the choices as they are now, from the data as they are known; or why none."""
        if self.journey.machine is None or self.journey.shape is None or self._data is None:
            return ""
        try:
            find_out.advise(self.journey, self._data)
        except UserError as error:
            self._hint(f"✗ {error.line()}", "$text-error")
            return f"✗ {error.line()}"
        self._show()
        return ""

    # -- showing

    def on_resize(self) -> None:
        self.set_class(self.size.width < BESIDE, "-slim")
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        plan = self.journey.plan
        if plan is None or not plan.methods:
            return
        line = self.query_one("#progress", ProgressLine)
        chosen = next((one for one in plan.methods if one.method == self._method), plan.methods[0])
        if not line.busy:
            line.update(head(plan, chosen, max(line.size.width, 40)))
        methods, drawn = self.query_one("#methods", OptionList), bars(plan)
        lines = memory_bars(drawn, room(plan), max(methods.size.width - 1, 40))
        names = [one.method for one in plan.methods]
        if [option.id for option in methods.options] != names:
            methods.set_options(Option(text, id=name) for text, name in zip(lines, names, strict=True))
            methods.highlighted = names.index(self._method) if self._method in names else 0
        else:
            for name, text in zip(names, lines, strict=True):
                methods.replace_option_prompt(name, text)
            if self._method in names:
                methods.highlighted = names.index(self._method)
        self.query_one("#brief", Static).update(brief(chosen))
        self.query_one("#why", Static).update(why(plan, chosen))
        table_lines = table(drawn, figures(plan), 60)
        self.query_one("#table", Static).update(Content("\n").join(table_lines))
        self.query_one("#phases", Static).update(phases(chosen))
        self._autos(plan, chosen)

    def _autos(self, plan: Plan, chosen: MethodPlan) -> None:
        """What stands in each dial that was left alone."""
        preferences = asked_by(self._data) != "sft" or plan.objective != "sft"
        self._field("objective").dial.values = list(TAKES[asked_by(self._data)])
        for key in PREFERENCES_ONLY:
            self._field(key).display = preferences
        self.query_one("#phases").set_class(preferences, "-close")
        on_card = (plan.card or {}).get("kind") == "gpu"
        self._field("compile").display = on_card and plan.objective == "sft"
        for key, value in left_alone(plan, chosen, self.journey).items():
            field = self._field(key)
            field.auto(value)
            field.set_class(key in LORA_ONLY and chosen.method == "full", "-useless")

    def problem(self) -> str:
        plan = self.journey.plan
        if plan is None:
            return "the plan is still being made"
        return next((f"{one.message}: {one.todo}" for one in plan.findings if one.severity == "stop"), "")
