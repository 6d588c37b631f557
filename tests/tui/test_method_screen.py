"""The Method step with the real plan: bars and figures, choosing, dials, and what does not fit."""

import dataclasses
import time

import pytest
from textual.widgets import OptionList, Static

from core.plan.advise import advise
from core.plan.corrected import Pace
from core.spec import parse_spec
from tests.tui.steps import GIB, MODEL, box, report, until
from tui.widgets.field import Field
from tui.widgets.memory_bars import PARTS
from tui.widgets.method_table import bars, brief, figures, how_sure, room


def shown(app, what: str) -> str:
    return str(app.screen.query_one(what, Static).content)


def methods(app) -> OptionList:
    return app.screen.query_one("#methods", OptionList)


def field(app, key: str) -> Field:
    return app.screen.query_one(f"#field-{key.replace('.', '-').replace('_', '-')}", Field)


async def opened(app, pilot) -> None:
    app.goto("method")
    await until(pilot, lambda: methods(app).option_count == 3)


async def test_bars_and_figures_are_the_plans(at_method):
    async with at_method.run_test(size=(120, 40)) as pilot:
        await opened(at_method, pilot)
        plan = at_method.journey.plan
        for bar, method in zip(bars(plan), plan.methods, strict=True):
            assert bar.total == method.bytes.total and set(bar.parts) == set(PARTS)
        assert "does not fit" in str(methods(at_method).get_option("full").prompt)
        assert room(plan) < 24 * GIB
        table = shown(at_method, "#table")
        assert all(name in table for name, _ in figures(plan))
        assert "★ LoRA needs" in shown(at_method, "#why"), "its name is said once"
        assert f"memory: {how_sure(plan.of('lora').estimate)}" in shown(at_method, "#progress")


async def test_enter_takes_the_recommended_one_without_fixing_it(at_method):
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        assert methods(at_method).highlighted_option.id == at_method.journey.plan.recommended
        await pilot.press("enter")
        await until(pilot, lambda: at_method.screen.step == "review")
        assert at_method.journey.get("method") is None, "auto stays auto, so that a new plan may choose anew"


async def test_moving_chooses_and_what_does_not_fit_is_not_passed(at_method):
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        await pilot.press("up")
        await until(pilot, lambda: at_method.journey.get("method") == "full")
        await pilot.press("enter")
        await pilot.pause()
        assert at_method.screen.step == "method" and "does not fit" in shown(at_method, "#note")
        await pilot.press("down", "down")
        await until(pilot, lambda: at_method.journey.get("method") == "qlora")
        await pilot.press("r")
        await until(pilot, lambda: methods(at_method).highlighted_option.id == "lora")
        assert at_method.journey.get("method") is None


async def test_what_would_make_a_method_fit_is_said_where_it_is_marked(at_method):
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        await pilot.press("up")
        await until(pilot, lambda: at_method.journey.get("method") == "full")
        out = at_method.journey.plan.of("full").out
        await until(pilot, lambda: f"needs {out.line}" in shown(at_method, "#why"))
        assert "★ LoRA needs" in shown(at_method, "#why")


async def test_where_nothing_fits_the_way_out_is_said_once(at_method):
    at_method.journey.machine = box(7)
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        why = shown(at_method, "#why")
        assert why.count("nothing fits") == 1 and why.count("GiB more: ") == 1
        await pilot.press("up", "up")
        await until(pilot, lambda: at_method.journey.get("method") == "full")
        await until(pilot, lambda: shown(at_method, "#why").count("GiB more: ") == 2)


async def test_a_dial_changes_the_plan_at_once_and_reads_no_data(at_method, job):
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        before = at_method.journey.plan.of("qlora").bytes
        await pilot.press("d")
        await pilot.press(*"1")
        await until(pilot, lambda: at_method.journey.plan.of("qlora").batch == 1)
        assert at_method.journey.plan.of("qlora").bytes != before
        assert "1 x" in shown(at_method, "#brief")
        field(at_method, "length").dial.focus()
        await pilot.press(*"4096")
        await until(
            pilot, lambda: at_method.journey.plan and at_method.journey.plan.of("qlora").length == 4096
        )
        assert job.asked == []


async def test_up_and_down_turn_a_dial_from_what_the_plan_chose(at_method):
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        rank = field(at_method, "lora.rank")
        rank.dial.focus()
        assert "16" in rank.dial.placeholder
        await pilot.press("up")
        await until(pilot, lambda: at_method.journey.get("lora.rank") == 32)
        await until(pilot, lambda: "64" in field(at_method, "lora.alpha").dial.placeholder)
        assert "room to learn" in shown(at_method, "#hint")


async def test_nonsense_is_refused_beside_the_dials_and_changes_nothing(at_method):
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        field(at_method, "batch").dial.focus()
        await pilot.press(*"0")
        await until(pilot, lambda: "batch is 0" in shown(at_method, "#hint"))
        assert at_method.journey.get("batch") is None


async def test_steps_and_epochs_replace_each_other(at_method):
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        field(at_method, "epochs").dial.focus()
        await pilot.press("2")
        await until(pilot, lambda: at_method.journey.get("epochs") == 2)
        field(at_method, "steps").dial.focus()
        await pilot.press(*"60")
        await until(pilot, lambda: at_method.journey.get("steps") == 60)
        assert at_method.journey.get("epochs") is None and field(at_method, "epochs").value == ""


async def test_a_price_makes_a_cost(at_method):
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        field(at_method, "price_per_hour").dial.focus()
        await pilot.press(*"2.50")
        await until(pilot, lambda: "to pay" in shown(at_method, "#brief"))


async def test_a_draft_taken_up_here_finds_out_what_it_needs(at_method, job):
    at_method.journey.report = None
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        assert len(job.asked) == 1 and at_method.journey.shape.name == MODEL


def test_the_plan_is_quick_enough_for_every_key(app):
    from core.models.shape import read_shape

    app.journey.set("model", MODEL)
    app.journey.set("data.source", "/data/train.jsonl")
    spec, machine, shape, data = app.journey.spec(), box(24), read_shape(MODEL), report()
    advise(spec, machine, shape, data)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        advise(spec, machine, shape, data)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05


async def test_preferences_bring_the_choice_of_what_is_learned(at_method):
    at_method.journey.report = {**report(), "objective": "dpo"}
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        objective, beta = field(at_method, "objective"), field(at_method, "beta")
        assert objective.display and beta.display and objective.dial.placeholder == "dpo (auto)"
        rate = at_method.journey.plan.of("lora").learning_rate
        objective.dial.focus()
        await pilot.press("up")
        await until(pilot, lambda: at_method.journey.get("objective") == "orpo")
        assert "compares with no earlier model" in shown(at_method, "#hint")
        assert at_method.journey.plan.of("lora").learning_rate > rate
        objective.dial.value = "kto"
        await until(pilot, lambda: at_method.journey.get("objective") == "kto")
        assert "cannot learn from these data" in at_method.screen.problem()
        assert at_method.screen.query_one("#hint").region.bottom <= 24


async def test_answers_have_nothing_to_choose_there(at_method):
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        assert not field(at_method, "objective").display and not field(at_method, "beta").display


async def test_the_recompute_dial_stops_where_it_pays_and_says_what_it_does_here(at_method):
    at_method.journey.set("batch", 2)
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        dial = field(at_method, "recompute").dial
        assert dial.placeholder == f"{at_method.journey.plan.of('lora').recompute:g} (auto)"
        dial.focus()
        await until(pilot, lambda: "recompute:" in shown(at_method, "#hint"))
        needs = []
        for place, said in (
            ("0", "nothing is computed again"),
            ("0.25", "18 of 36 wait in the host"),
        ):
            dial.value = place
            await until(pilot, lambda place=place: at_method.journey.get("recompute") == float(place))
            await until(pilot, lambda said=said: said in shown(at_method, "#hint"))
            needs.append(at_method.journey.plan.of("lora").bytes.total)
        assert needs[1] < needs[0]
        await pilot.press("up")
        await until(pilot, lambda: at_method.journey.get("recompute") == 0.5)
        dial.value = "1.5"
        await until(pilot, lambda: "from 0 (keep all) to 1" in shown(at_method, "#hint"))
        assert at_method.journey.get("recompute") == 0.5


async def test_compiling_is_shown_with_its_reason_where_there_is_a_card(at_method):
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        compile_field = field(at_method, "compile")
        assert compile_field.display and compile_field.dial.placeholder.endswith("(auto)")
        compile_field.dial.focus()
        await until(pilot, lambda: "compile: " in shown(at_method, "#hint"))
        compile_field.dial.value = "false"
        await until(pilot, lambda: at_method.journey.get("compile") == "false")
        assert at_method.journey.spec().compile is False
        assert "compile: no, as asked" in shown(at_method, "#hint")
        assert at_method.screen.query_one("#hint").region.bottom <= 24


async def test_without_a_card_there_is_nothing_to_compile(at_method):
    at_method.journey.machine = dataclasses.replace(at_method.journey.machine, gpus=())
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        assert not field(at_method, "compile").display


async def test_a_dial_that_cannot_be_taken_is_not_passed_over(at_method):
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        batch = field(at_method, "batch").dial
        batch.focus()
        await pilot.press("m", "ctrl+n")
        await until(pilot, lambda: "batch is 'm'" in shown(at_method, "#note"))
        assert at_method.screen.step == "method"
        await pilot.press("backspace", "4", "ctrl+n")
        await until(pilot, lambda: at_method.screen.step == "review")
        assert at_method.journey.get("batch") == 4


def test_a_speed_that_was_seen_here_is_said_to_be():
    from core.models.shape import read_shape

    spec = parse_spec({"model": MODEL, "data": "d", "steps": 100})
    one = advise(spec, box(24), read_shape(MODEL), report()).of("qlora")
    assert "tokens/s ·" in str(brief(one))
    seen = dataclasses.replace(one, pace=Pace(0.8, "a run of it before"))
    assert "tokens/s as seen here ·" in str(brief(seen))


async def test_the_users_own_prices_make_a_cost(at_method, finetui_home):
    (finetui_home / "prices.yaml").write_text("RTX 4090: 0.42\n")
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        assert "to pay" in shown(at_method, "#brief")
        price = field(at_method, "price_per_hour").dial
        assert price.placeholder == "0.42 (auto)"
        own = at_method.journey.plan.of("lora").cost
        price.value = "0.84"
        await until(pilot, lambda: at_method.journey.plan.of("lora").cost == pytest.approx(2 * own))
        price.value = ""
        await until(pilot, lambda: at_method.journey.get("price_per_hour") is None)
        at_method.goto("review")
        await until(pilot, lambda: "at 0.42 an hour" in shown(at_method, "#whole"))


async def test_prices_that_are_wrong_are_said_and_stop_nothing(at_method, finetui_home):
    (finetui_home / "prices.yaml").write_text("RTX 4090: cheap\n")
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        await until(pilot, lambda: "prices.yaml is not understood" in shown(at_method, "#hint"))
        assert at_method.screen.problem() == ""
