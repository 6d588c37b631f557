"""Method: full, LoRA and QLoRA against the card, what each would take, and the dials."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

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
from tui import find_out
from tui.model_list import SHOWN
from tui.widgets.field import Field, number
from tui.widgets.memory_bars import legend, memory_bars, table
from tui.widgets.method_table import bars, brief, figures, place, room
from tui.widgets.progress_line import ProgressLine, refusal
from tui.widgets.step_frame import StepScreen

DIALS: tuple[tuple[str, str, str, str, str], ...] = (
    ("objective", "objective", "objective", "", "what is learned from preferences: dpo, orpo or kto; or sft"),
    ("beta", "beta", "beta", "0.01 0.05 0.1 0.3 0.5", "how closely it keeps to the model as it was"),
    ("batch", "batch", "batch", "1 2 4 8 16 32 64", "rows in one pass: more is faster and takes more memory"),
    ("accumulate", "accumulate", "accumulate", "1 2 4 8 16", "passes a step: a larger batch, no more memory"),
    (
        "length",
        "length",
        "length",
        "256 512 1024 2048 4096 8192",
        "most tokens of a row: longer ones are cut",
    ),
    (
        "recompute",
        "recompute",
        "recompute",
        "0 0.25 0.5 0.75 1",
        "0 is fastest, 1 takes least memory",
    ),
    ("compile", "compile", "compile", "false true", "half a minute before the first step, then faster ones"),
    ("lora.rank", "rank", "rank", "4 8 16 32 64 128", "room to learn in the adapter: 16 is usual"),
    (
        "lora.alpha",
        "alpha",
        "alpha",
        "8 16 32 64 128 256",
        "strength of the adapter: twice the rank is usual",
    ),
    ("epochs", "epochs", "epochs", "1 2 3 4 5", "times through the data: more learns more, at last by heart"),
    ("steps", "steps", "step", "60 100 200 500 1000 2000", "a fixed number of steps instead of epochs"),
    (
        "learning_rate",
        "rate",
        "learning rate",
        "1e-5 2e-5 5e-5 1e-4 2e-4 3e-4 5e-4 1e-3",
        "size of a step: too large and the loss jumps, too small and little is learned",
    ),
    ("price_per_hour", "price / hour", "price", "", "what this box costs an hour, in your own currency"),
)
"""Key, label, glossary term, values for the up and down keys, and what it costs in a line."""

WIDE = 110
"""Columns from which on there is room to say how sure the estimates are."""
AT_REST = "d: dials · up and down turn a dial · an empty one is left to the plan"
LORA_ONLY = ("lora.rank", "lora.alpha")
PREFERENCES_ONLY = ("objective", "beta")
EXCLUDES = {"epochs": "steps", "steps": "epochs"}


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
    ]
    DEFAULT_CSS = """
    MethodScreen #methods { height: 3; background: $background; overflow: hidden; }
    MethodScreen #legend { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    MethodScreen #brief { height: 1; margin-top: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    MethodScreen #why { height: 4; color: $foreground 75%; }
    MethodScreen #lower { layout: horizontal; height: auto; }
    MethodScreen #table { width: 62; height: auto; }
    MethodScreen #dials { width: 1fr; height: auto; layout: grid; grid-size: 1; grid-rows: 1; }
    MethodScreen #dials .hint { display: none; }
    MethodScreen #dials Dial { width: 18; }
    MethodScreen #hint { height: 1; margin-top: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    MethodScreen .-useless { opacity: 40%; }
    MethodScreen.-short #table, MethodScreen.-narrow #table { display: none; }
    MethodScreen.-short #dials, MethodScreen.-narrow #dials { grid-size: 2; padding-left: 0; margin-top: 1; }
    MethodScreen.-tall #lower { margin-top: 1; }
    """

    def compose_step(self) -> Iterable[Widget]:
        yield ProgressLine(id="progress")
        methods = OptionList(id="methods", compact=True)
        methods.term = "method"  # type: ignore[attr-defined]
        yield methods
        yield Static(legend(), id="legend")
        yield Static(id="brief")
        yield Static(id="why")
        with Container(id="lower"):
            yield Static(id="table")
            with Vertical(id="dials"):
                for key, label, term, values, _ in DIALS:
                    yield Field(key, label, term=term, value=self._chosen_text(key), values=values.split())
        yield Static(AT_REST, id="hint", markup=False)

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
        self.journey.set("method", None)
        self._again()

    def action_dials(self) -> None:
        self._field("batch").dial.focus()

    @on(Field.Changed)
    def _dialled(self, event: Field.Changed) -> None:
        key = event.field.key
        value: Any = number(event.value)
        if value is not None and key in EXCLUDES:
            self.journey.set(EXCLUDES[key], None)
            self._field(EXCLUDES[key]).load("")
        refused = find_out.choose(self.journey, key, value)
        if not refused:
            self._again()
        self._hint(refused or self._costs(key), "$text-error" if refused else "")

    def on_descendant_focus(self) -> None:
        """What the focused dial costs, in the line below them."""
        super().on_descendant_focus()
        field = next((one for one in self.query(Field) if one.has_focus_within), None)
        self._hint(self._costs(field.key) if field else AT_REST)

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

    def _again(self) -> None:
        """The plan with the choices as they are now; the data is not read again for it."""
        if self.journey.machine is None or self.journey.shape is None or self._data is None:
            return
        try:
            find_out.advise(self.journey, self._data)
        except UserError as error:
            self.query_one("#progress", ProgressLine).say(f"✗ {error.line()}", "stop")
            return
        self._show()

    # -- showing

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        plan = self.journey.plan
        if plan is None or not plan.methods:
            return
        line = self.query_one("#progress", ProgressLine)
        chosen = next((one for one in plan.methods if one.method == self._method), plan.methods[0])
        if not line.busy:
            sure = f" {chosen.sure}" if self.size.width >= WIDE else ""
            line.update(Content.assemble((place(plan), "bold"), (f" · estimates{sure}", "$foreground 60%")))
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
        self.query_one("#why", Static).update(_why(plan, chosen))
        table_lines = table(drawn, figures(plan), 60)
        self.query_one("#table", Static).update(Content("\n").join(table_lines))
        self._autos(chosen, plan.objective)

    def _autos(self, chosen: Any, chosen_objective: str) -> None:
        """What stands in each dial that was left alone."""
        steps = self.journey.get("steps") is not None
        preferences = asked_by(self._data) != "sft" or chosen_objective != "sft"
        self._field("objective").dial.values = list(TAKES[asked_by(self._data)])
        for key in PREFERENCES_ONLY:
            self._field(key).display = preferences
        on_card = (self.journey.plan.card or {}).get("kind") == "gpu" if self.journey.plan else False
        self._field("compile").display = on_card and chosen_objective == "sft"
        autos = {
            "objective": chosen_objective,
            "beta": "0.1",
            "batch": shown_number(chosen.batch),
            "accumulate": shown_number(chosen.accumulate),
            "length": shown_number(chosen.length),
            "recompute": f"{chosen.recompute:g}",
            "compile": str(chosen.compiled).lower(),
            "lora.rank": "16",
            "lora.alpha": shown_number(2 * int(self.journey.get("lora.rank") or 16)),
            "epochs": "–" if steps else shown_number(chosen.epochs),
            "steps": shown_number(chosen.steps),
            "learning_rate": rate(chosen.learning_rate),
            "price_per_hour": "–",
        }
        for key, value in autos.items():
            field = self._field(key)
            field.auto(value)
            field.set_class(key in LORA_ONLY and chosen.method == "full", "-useless")

    def problem(self) -> str:
        plan = self.journey.plan
        if plan is None:
            return "the plan is still being made"
        return next((f"{one.message}: {one.todo}" for one in plan.findings if one.severity == "stop"), "")


def _why(plan: Any, chosen: Any) -> Content:
    """Why the recommended one, then what speaks for or against the one that is marked."""
    if plan.recommended is None:
        best = Content.styled(plan.reason, "$text-error")
    else:
        # the reason begins with the method's name
        name, needs, rest = plan.reason.partition(" needs ")
        best = Content.assemble(("★ ", "bold $text-warning"), (name, "bold"), needs, rest)
    if chosen.method == plan.recommended:
        return best
    reason = f"needs {chosen.out.line}" if chosen.out else chosen.reason
    if plan.recommended is None:
        if chosen.out and chosen.out.line in plan.reason:
            return best
        return Content.assemble((f"{SHOWN[chosen.method]}: ", "bold"), reason, "\n", best)
    # of the recommended one what it needs, so that both have room
    first = rest.partition(". ")[0]
    short = Content.assemble(("★ ", "bold $text-warning"), (name, "bold"), needs, first, ".")
    return Content.assemble((f"{SHOWN[chosen.method]}: ", "bold"), reason, "\n", short)
