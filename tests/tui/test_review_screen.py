"""The Review step: one page that agrees with the spec, the YAML to a file, starting, and being refused."""

import dataclasses

import pytest
from textual.widgets import Static

from core.errors import UserError
from core.machine import look
from core.runs.folder import create
from core.runs.start import Busy
from core.spec import dump_spec, load_spec
from tests.tui.steps import InspectJob, report, until
from tui import find_out
from tui.widgets.ask import Ask

MODEL = "Qwen/Qwen3-0.6B"


@pytest.fixture
def at_review(app, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(find_out, "run_job_async", InspectJob())
    app.journey.set("model", MODEL)
    app.journey.set("data.source", "/data/train.jsonl")
    app.journey.machine = dataclasses.replace(look(), gpus=(), ram_available=64 * 2**30, ram_total=64 * 2**30)
    app.journey.report = report(longer_than_length=7)
    return app


class Started:
    """Stands where a worker would be started."""

    def __init__(self, runs_dir):
        self.runs_dir, self.calls, self.refusal = runs_dir, [], None

    def __call__(self, spec, where, *, anyway=False):
        self.calls.append((spec, anyway))
        if self.refusal and not anyway:
            raise self.refusal
        run = create(where, spec.name)
        run.spec_file.write_text(dump_spec(spec, full=True))
        return run


@pytest.fixture
def started(monkeypatch, runs_dir) -> Started:
    import core.runs.start

    started = Started(runs_dir)
    monkeypatch.setattr(core.runs.start, "start", started)
    return started


def shown(app, what: str) -> str:
    return str(app.screen.query_one(what, Static).content)


async def opened(app, pilot) -> None:
    app.goto("review")
    await until(pilot, lambda: "model" in shown(app, "#whole"))


async def test_the_page_says_what_the_spec_says(at_review):
    async with at_review.run_test(size=(120, 40)) as pilot:
        await opened(at_review, pilot)
        page, spec = " ".join(shown(at_review, "#whole").split()), at_review.screen._prepared.spec
        assert spec.method != "auto" and spec.batch and spec.learning_rate
        assert f"{spec.batch} x {spec.accumulate} rows a step" in page
        assert "949 rows, 50 held out" in page and "7 rows are longer" in page
        chosen = at_review.screen._prepared.plan.of(spec.method)
        assert chosen.kept in page and chosen.compile_why in page
        for name in ("layers", "memory", "time", "disk"):
            assert name in page
        assert "12 rows stand twice" in shown(at_review, "#findings")
        assert shown(at_review, "#yaml") == dump_spec(spec)


async def test_every_key_of_the_yaml_is_one_key_away(at_review):
    async with at_review.run_test(size=(80, 24)) as pilot:
        await opened(at_review, pilot)
        assert not at_review.screen.query_one("#right").display
        await pilot.press("y", "f")
        await until(pilot, lambda: "weight_decay" in shown(at_review, "#yaml"))
        assert at_review.screen.query_one("#right").display


async def test_the_yaml_written_reads_back_and_overwrites_nothing(at_review, tmp_path):
    async with at_review.run_test(size=(80, 24)) as pilot:
        await opened(at_review, pilot)
        spec = at_review.screen._prepared.spec
        taken = tmp_path / f"{spec.name}.yaml"
        taken.write_text("mine")
        await pilot.press("w")
        await until(pilot, lambda: "written" in shown(at_review, "#note"))
        assert taken.read_text() == "mine"
        assert load_spec(tmp_path / f"{spec.name}-2.yaml") == spec


async def test_enter_starts_the_run_and_the_draft_is_gone(at_review, started):
    async with at_review.run_test(size=(80, 24)) as pilot:
        await opened(at_review, pilot)
        await until(pilot, lambda: at_review.screen.focused is not None)
        await pilot.press("enter")
        await until(pilot, lambda: getattr(at_review.screen, "step", "") == "train")
        assert len(started.calls) == 1
        spec, anyway = started.calls[0]
        assert not anyway and spec.model == MODEL and spec.method != "auto"
        assert not at_review.journey.has_draft()


async def test_a_name_is_given_and_a_bad_one_refused(at_review, started):
    async with at_review.run_test(size=(80, 24)) as pilot:
        await opened(at_review, pilot)
        at_review.screen.query_one("#field-name Dial").focus()
        await pilot.press(*"my run")
        await until(pilot, lambda: "only" in shown(at_review, "#field-name .hint"))
        for _ in range(4):
            await pilot.press("backspace")
        await until(pilot, lambda: at_review.screen._prepared.spec.name == "my")


async def test_a_busy_gpu_is_told_and_anyway_is_a_choice(at_review, started):
    started.refusal = Busy("GPU 0 is busy", "run other trains on it", "wait for it", code=1)
    async with at_review.run_test(size=(80, 24)) as pilot:
        await opened(at_review, pilot)
        await pilot.press("ctrl+n")
        await until(pilot, lambda: isinstance(at_review.screen, Ask))
        await pilot.press("escape")
        await until(pilot, lambda: getattr(at_review.screen, "step", "") == "review")
        assert "run other trains on it" in shown(at_review, "#progress")
        await pilot.press("ctrl+n")
        await until(pilot, lambda: isinstance(at_review.screen, Ask))
        await pilot.press("y")
        await until(pilot, lambda: getattr(at_review.screen, "step", "") == "train")
        assert [anyway for _, anyway in started.calls] == [False, False, True]


async def test_a_refusal_of_another_kind_offers_no_anyway(at_review, started):
    started.refusal = UserError("run x cannot start", "no space left", "make room", code=1)
    async with at_review.run_test(size=(80, 24)) as pilot:
        await opened(at_review, pilot)
        await pilot.press("ctrl+n")
        await until(pilot, lambda: "no space left" in shown(at_review, "#progress"))
        assert at_review.screen.step == "review"
        started.refusal = None
        await pilot.press("ctrl+n")
        await until(pilot, lambda: getattr(at_review.screen, "step", "") == "train")


async def test_what_would_not_work_is_not_started(at_review, started):
    at_review.journey.report = report(
        findings=[{"severity": "stop", "code": "x", "message": "nothing would be learned", "todo": "map it"}]
    )
    async with at_review.run_test(size=(80, 24)) as pilot:
        await opened(at_review, pilot)
        await pilot.press("ctrl+n")
        await until(pilot, lambda: "nothing would be learned" in shown(at_review, "#note"))
        assert started.calls == []
