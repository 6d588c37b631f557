"""A run is said to fit only where every phase of it does."""

from dataclasses import replace

from core.models.catalogue import catalogue
from core.plan import choose as module
from core.plan.cards import card_named
from core.plan.choose import choose, exactly, least
from core.plan.phases import formula
from core.plan.search import smallest
from core.plan.work import work_of
from tests.plan.boxes import GIB, model, report, spec

LLAMA = "meta-llama/Llama-3.1-8B"


def test_a_load_that_takes_more_than_a_step_decides():
    mixture = next(one.id for one in catalogue() if model(one.id).experts)
    asked = spec(mixture, length=64, batch=1, accumulate=1)
    work = work_of(asked, model(mixture), card_named("b300"), None, "lora")
    estimate = formula(work, smallest(work, compiled=True)[0])
    assert estimate.load > estimate.step.total, "experts are stacked as they are read"
    found, _ = choose(work, (estimate.load + estimate.step.total) // 2)
    assert not found.fits
    assert choose(work, estimate.peak)[0].fits and least(work) == estimate.peak


def test_an_evaluation_that_takes_more_asks_for_fewer_rows_at_a_time(monkeypatch):
    def heavy(work, setting):
        return replace(formula(work, setting), evaluation=15 * GIB + setting.batch * GIB)

    monkeypatch.setattr(module, "formula", heavy)
    shape, card, data = model(LLAMA), card_named("a100 80gb"), report(longest=2048, mean=1500.0)
    work = work_of(spec(LLAMA), shape, card, data, "qlora")
    found, estimate = choose(work, 20 * GIB)
    assert found.fits and found.setting.batch <= 5 and estimate.peak <= 20 * GIB
    asked = work_of(spec(LLAMA, batch=8), shape, card, data, "qlora")
    assert not choose(asked, 20 * GIB)[0].fits, "what the user set is not changed"


def test_a_better_estimate_stands_for_exactly_what_it_is_of():
    shape, card, data = model(LLAMA), card_named("a100 80gb"), report()

    def work(**keys):
        return work_of(spec(LLAMA, **keys), shape, card, data, "lora")

    room = 75 * GIB
    found, plain = choose(work(), room)
    traced = replace(plain, kind="trace", load=80 * GIB)
    known = {exactly(work(), found.setting): traced}
    again, told = choose(work(name="other", price_per_hour=2), room, known)
    assert told is traced and again.setting == found.setting
    assert not again.fits, "what a trace says decides"
    measured = {exactly(work(), found.setting): replace(traced, kind="measured")}
    assert choose(work(), room, measured)[0].fits, "it ran"
    assert choose(work(length=512), room, known)[1].kind == "formula"
