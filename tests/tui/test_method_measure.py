"""Measuring and tracing from the Method step: what is asked, what is shown of it, and how it ends."""

import asyncio
import dataclasses
from typing import Any

import pytest
from textual.widgets import Static

from core.errors import UserError
from core.plan import measuring
from core.plan import trace as tracing
from core.plan.measured import recall
from tests.tui.steps import GIB, InspectJob, report, until
from tests.tui.test_method_screen import field, methods, opened, shown
from tui import find_out
from tui.screens.method import MethodScreen
from tui.widgets.ask import Ask
from tui.widgets.ask_card import AskCard

CARD = "NVIDIA GeForce RTX 4090"


class Job:
    """Stands where the process is called that measures or traces; waits where its gate is shut."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.rungs: list[dict[str, Any] | None] = []
        """What each try before the last is told to change; None: no rung is left."""
        self.error: UserError | None = None
        self.cancelled = 0
        self.kind = "cuda"
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, module: str, request: dict[str, Any], on_progress: Any = None) -> dict[str, Any]:
        self.asked.append({**request, "module": module})
        on_progress("train", 1, 7)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        if module == "core.train.trace.job":
            step = {"weights": 15 * GIB, "adapters": GIB, "kept": 2 * GIB, "live": GIB}
            return {"step": step, "evaluation": 17 * GIB, "host": 0}
        if self.rungs:
            rung = self.rungs.pop(0)
            return {"fits": False, "why": "1 GiB more was wanted", "phase": "step", "rung": rung}
        peak = {"allocated": 18 * GIB, "reserved": 19 * GIB, "process": 20 * GIB, "ram": 4 * GIB}
        phases = {phase: peak for phase in ("load", "step", "evaluation", "save")}
        parts = {"weights": 15 * GIB, "quantization": 0, "adapters": GIB // 4, "gradients": GIB // 4}
        return {
            "fits": True, "kind": self.kind, "card": CARD, "phases": phases, "host": 0, "compiled": True,
            "parts": {**parts, "optimizer": GIB // 2}, "objective": "sft", "engine": {"recorded": False},
            "tokens": 4096, "tokens_per_second": 900.0,
        }  # fmt: skip


@pytest.fixture
def job(monkeypatch) -> Job:
    job = Job()
    monkeypatch.setattr(find_out, "run_job_async", InspectJob())
    monkeypatch.setattr(measuring, "run_job_async", job)
    monkeypatch.setattr(tracing, "run_job_async", job)
    monkeypatch.setattr(measuring, "choose", lambda spec, anyway: [])
    return job


def keys(app) -> dict[str, str]:
    """What the footer says, by key."""
    return {key: one.binding.description for key, one in app.screen.active_bindings.items()}


def asking(app) -> str:
    return app.screen.query_one(AskCard).asking


def head(app) -> str:
    return shown(app, "#progress")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_what_was_measured_is_shown_as_measured(at_method, job, size):
    async with at_method.run_test(size=size) as pilot:
        await opened(at_method, pilot)
        assert "closed form, -" in head(at_method) and keys(at_method)["m"] == "measure"
        before = at_method.journey.plan.of("lora")
        assert "m: measure, a minute on the card" in shown(at_method, "#hint")
        job.gate.clear()
        await pilot.press("m")
        await until(pilot, lambda: job.asked)
        assert "measuring LoRA: steps" in head(at_method)
        assert shown(at_method, "#hint").startswith("m or esc ends it · 15.3 GiB to download, then a minute")
        assert keys(at_method)["m"] == "stop" and "t" not in keys(at_method)
        asked = job.asked[0]["spec"]
        assert asked["method"] == "lora" and asked["batch"] == before.batch and job.asked[0]["cap"] is None
        job.gate.set()
        await until(pilot, lambda: "measured here, -0.2 to +1 %" in head(at_method))
        plan = at_method.journey.plan.of("lora")
        assert plan.estimate.kind == "measured" and plan.bytes.total == 20 * GIB
        assert "20.0 GiB" in str(methods(at_method).get_option("lora").prompt)
        told = shown(at_method, "#hint")
        assert told.startswith("measured: LoRA 20.0 GiB, 900 tokens/s · closed form ")
        assert len(recall()) == 1 and recall()[0].by == "measure"
        assert at_method.screen.query_one("#body").max_scroll_y == 0, "both lines are in sight"
        await pilot.press("up")
        await until(pilot, lambda: at_method.journey.get("method") == "full")
        assert "closed form" in head(at_method), "of the other methods nothing was measured"


@pytest.mark.parametrize("key", ["m", "escape"])
async def test_it_ends_with_the_same_key_or_escape_and_the_screen_stays(at_method, job, key):
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        job.gate.clear()
        await pilot.press("m")
        await until(pilot, lambda: job.asked)
        await pilot.press(key)
        await until(pilot, lambda: job.cancelled == 1)
        assert at_method.screen.step == "method" and not asking(at_method)
        assert "closed form" in head(at_method) and "nothing was kept" in shown(at_method, "#hint")
        assert recall() == () and keys(at_method)["m"] == "measure"
        await pilot.press("escape")
        await until(pilot, lambda: at_method.screen.step == "template")


async def test_leaving_the_screen_ends_it(at_method, job):
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        job.gate.clear()
        await pilot.press("m")
        await until(pilot, lambda: job.asked)
        await pilot.press("enter")
        await until(pilot, lambda: at_method.screen.step == "review" and job.cancelled == 1)


async def test_dials_turn_meanwhile_and_what_was_measured_is_of_what_was_asked(at_method, job):
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        job.gate.clear()
        await pilot.press("m")
        await until(pilot, lambda: job.asked)
        rank = field(at_method, "lora.rank").dial
        rank.focus()
        rank.value = "64"
        await until(pilot, lambda: at_method.journey.get("lora.rank") == 64)
        assert "measuring LoRA" in head(at_method)
        job.gate.set()
        await until(pilot, lambda: "measured: LoRA" in shown(at_method, "#hint"))
        assert "closed form" in head(at_method) and "the plan chose anew since" in shown(at_method, "#hint")
        rank.value = ""
        await until(pilot, lambda: "measured here" in head(at_method))
        methods(at_method).focus()
        await pilot.press("m")
        await until(pilot, lambda: len(job.asked) == 2)
        job.gate.clear()
        await pilot.press("m")
        await until(pilot, lambda: len(job.asked) == 3)
        rank.focus()
        await pilot.press("escape")
        await until(pilot, lambda: job.cancelled == 1)
        assert at_method.screen.step == "method", "in a dial escape ends it too"


async def test_what_the_ladder_changed_is_offered_and_taken(at_method, job):
    at_method.journey.set("batch", 4)
    at_method.journey.set("recompute", 0.25)
    down = {"recompute": 0.5}
    fewer = {"batch": 2, "accumulate": 8}
    job.rungs = [
        {"changes": down, "said": "the dial of recompute goes to 0.5", "keys": ""},
        {"changes": fewer, "said": "a pass has 2 rows", "keys": ""},
    ]
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        method = at_method.screen._method
        await pilot.press("m")
        await until(pilot, lambda: isinstance(at_method.screen, Ask))
        words = str(at_method.screen.query_one("#box Static", Static).content)
        assert "recompute  0.25 → 0.5" in words and "batch      4 → 2" in words
        assert [one["spec"]["batch"] for one in job.asked] == [4, 4, 2]
        await pilot.press("y")
        await until(pilot, lambda: at_method.journey.get("batch") == 2)
        journey = at_method.journey
        assert journey.get("recompute") == 0.5
        await until(pilot, lambda: field(at_method, "recompute").value == "0.5")
        assert field(at_method, "batch").value == "2"
        plan = journey.plan.of(method)
        assert (plan.batch, plan.accumulate, plan.recompute) == (2, 8, 0.5)
        assert plan.estimate.kind == "measured"
        await until(pilot, lambda: "measured here" in head(at_method))
        assert "taken" in shown(at_method, "#hint")


async def test_an_offer_that_is_not_taken_changes_nothing(at_method, job):
    job.rungs = [{"changes": {"recompute": 1.0}, "said": "the dial of recompute goes to 1", "keys": ""}]
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        before = dict(at_method.journey.choices)
        await pilot.press("m")
        await until(pilot, lambda: isinstance(at_method.screen, Ask))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(at_method.screen, MethodScreen))
        assert at_method.journey.choices == before and "with other settings" in shown(at_method, "#hint")
        assert "measured here" not in head(at_method)


async def test_what_does_not_fit_on_any_rung_and_what_goes_wrong_are_one_line(at_method, job):
    job.rungs = [None]
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        await pilot.press("m")
        await until(pilot, lambda: "✗ LoRA does not fit: 1 GiB more was wanted" in shown(at_method, "#hint"))
        assert "closed form" in head(at_method)
        job.error = UserError("GPU 0 is busy", "run one trains on it", "wait for it", code=1)
        await pilot.press("m")
        await until(pilot, lambda: "✗ GPU 0 is busy" in shown(at_method, "#hint"))
        assert "\n" not in shown(at_method, "#hint") and not asking(at_method)


async def test_a_disk_that_keeps_nothing_is_told_and_the_number_stands_all_the_same(
    at_method, job, monkeypatch
):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(measuring, "kept", full)
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        await pilot.press("m")
        await until(pilot, lambda: "not kept: No space left" in shown(at_method, "#hint"))
        assert "measured here" in head(at_method)


async def test_a_trace_stands_for_exactly_its_settings(at_method, job):
    async with at_method.run_test(size=(120, 40)) as pilot:
        await opened(at_method, pilot)
        closed = at_method.journey.plan.of("lora").bytes.total
        await pilot.press("t")
        await until(pilot, lambda: "memory: traced, ±2 %" in head(at_method))
        assert job.asked[0]["module"] == "core.train.trace.job"
        traced = at_method.journey.plan.of("lora").bytes.total
        assert traced != closed and shown(at_method, "#hint").startswith("traced: LoRA ")
        rank = field(at_method, "lora.rank").dial
        rank.value = "32"
        await until(pilot, lambda: "closed form" in head(at_method))
        rank.value = "16"
        await until(pilot, lambda: at_method.journey.get("lora.rank") == 16)
        assert "traced" in head(at_method), "as it was"
        field(at_method, "price_per_hour").dial.value = "2"
        await until(pilot, lambda: at_method.journey.get("price_per_hour") == 2)
        assert "traced" in head(at_method), "a price takes no memory"
        at_method.goto("review")
        await until(pilot, lambda: "(traced, ±2 %)" in shown(at_method, "#whole"))


async def test_why_it_cannot_be_asked_is_one_line(at_method, job):
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        journey = at_method.journey
        journey.shape = dataclasses.replace(journey.shape, has_weights=False)
        await pilot.press("m")
        await until(pilot, lambda: "has no weights here" in shown(at_method, "#hint"))
        journey.shape = dataclasses.replace(journey.shape, tunable=frozenset({"full"}))
        await pilot.press("t")
        await until(pilot, lambda: "cannot be used on weights" in shown(at_method, "#hint"))
        journey.plan = None
        await pilot.press("m")
        await until(pilot, lambda: "there is no plan yet" in shown(at_method, "#hint"))
        assert job.asked == []


async def test_on_a_cpu_minutes_are_said_before_and_nothing_is_traced(at_method, job):
    at_method.journey.machine = dataclasses.replace(at_method.journey.machine, gpus=())
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        assert "minutes on a CPU" in shown(at_method, "#hint")
        assert "closed form, not checked on a CPU" in head(at_method)
        await pilot.press("t")
        await until(pilot, lambda: "m measures on the CPU" in shown(at_method, "#hint"))
        assert job.asked == []


async def test_preferences_are_measured_and_not_traced(at_method, job):
    at_method.journey.report = {**report(), "objective": "dpo"}
    async with at_method.run_test(size=(80, 24)) as pilot:
        await opened(at_method, pilot)
        await pilot.press("t")
        await until(pilot, lambda: "dpo cannot be traced" in shown(at_method, "#hint"))


async def test_help_explains_what_is_asked(at_method, job):
    from tui.widgets.help import HelpPanel

    async with at_method.run_test(size=(120, 40)) as pilot:
        await opened(at_method, pilot)
        job.gate.clear()
        await pilot.press("m")
        await until(pilot, lambda: job.asked)
        await pilot.press("question_mark")
        panel = at_method.screen.query_one(HelpPanel)
        await until(pilot, lambda: "real steps on the card" in str(panel.content))
        await pilot.press("escape")
        await until(pilot, lambda: not panel.is_open)
        assert asking(at_method) == "measure", "escape closed the help, no more"


@pytest.mark.parametrize("objective", ["sft", "dpo"])
async def test_phases_have_room_on_a_tall_screen_alone(at_method, objective):
    at_method.journey.report = report(objective=objective)
    async with at_method.run_test(size=(120, 40)) as pilot:
        await opened(at_method, pilot)
        words, panel = shown(at_method, "#phases"), at_method.screen.query_one("#phases")
        assert "LoRA's peak by phase" in words and "held-out rows" in words and "RAM" in words
        assert panel.display and panel.region.bottom <= at_method.screen.query_one("#hint").region.y
        await pilot.press("down")
        await until(pilot, lambda: "QLoRA's peak by phase" in shown(at_method, "#phases"))
        body = at_method.screen.query_one("#body")
        assert body.max_scroll_y == 0
        await pilot.resize_terminal(104, 40)
        await until(pilot, lambda: not at_method.screen.query_one("#table").display)
        assert panel.display and body.max_scroll_y == 0
        assert field(at_method, "batch").dial.region.right <= 104, "no dial is cut"
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: not panel.display and body.max_scroll_y == 0)
