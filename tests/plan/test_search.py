"""The search finds the fastest setting that fits, fills the card, and is quick."""

import time
from dataclasses import replace

import pytest

from core.data.lengths import describe
from core.plan import search
from core.plan.advise import advise
from core.plan.cards import card_named, room
from core.plan.search import fastest
from core.plan.work import Setting, Work, bytes_of, rate_of, work_of
from tests.plan.boxes import GIB, box, model, report, spec

LLAMA = "meta-llama/Llama-3.1-8B"
DATA = report(rows=20_000, longest=2048, mean=1500.0)


def work(gib: float, method="lora", name: str = LLAMA, ram: float = 0, data=DATA, **keys):
    card = replace(card_named("h100"), memory_total=int(gib * GIB), memory_free=int(gib * GIB))
    return work_of(spec(name, **keys), model(name), replace(card, ram=int(ram * GIB)), data, method)


def every_setting(one: Work, optimizer: str):
    """All places of all batches, as the worker would carry them out."""
    for batch in (1, 2, 4, 8, 16):
        for place in search._places(one):
            yield search._at(one, optimizer, batch, place, True)


@pytest.mark.parametrize("ram", [0, 12, 24, 200])
@pytest.mark.parametrize(
    ("gib", "method"), [(20, "lora"), (24, "lora"), (48, "lora"), (12, "qlora"), (24, "qlora"), (80, "full")]
)
def test_nothing_that_fits_is_faster(gib, method, ram):
    one = work(gib, method, ram=ram)
    have = room(one.card)
    found = fastest(one, have)
    fits = [each for each, held in every_setting(one, found.setting.optimizer) if held.total <= have]
    assert found.fits == bool(fits)
    if found.fits:
        assert found.bytes.total <= have and found.bytes == bytes_of(one, found.setting)
        assert (rate_of(one, found.setting) or 0) >= 0.999 * max(rate_of(one, each) or 0 for each in fits)


def test_layers_wait_where_the_host_has_room_and_are_computed_again_where_not():
    """With little room in the host a place further on, without it, may be the one that fits."""
    found = {ram: fastest(work(24, ram=ram, batch=4), room(work(24).card)) for ram in (0, 9, 200)}
    assert found[200].setting.host and not found[0].setting.host
    assert all(one.fits for one in found.values())
    paces = [rate_of(work(24, ram=ram, batch=4), one.setting) for ram, one in found.items()]
    assert paces == sorted(paces), "room in the host never slows a run"  # type: ignore[type-var]


GEMMA, SETTING = "google/gemma-2-9b", Setting("adamw", 8, 0.0, compiled=True)
SHORT = {**report(rows=20_000), "lengths": describe([100] * 900 + [1000] * 100)}
ALIKE = {**SHORT, "lengths": describe([1000] * 990 + [960] * 10)}


def test_rows_that_are_padded_take_the_time_of_their_padding():
    """On one line a pass takes what its rows do; with a mask, as wide as the longest of its rows; on a card
    without bf16, as the longest of all."""

    def rate(name: str, data=SHORT, batch: int = 8, **changes) -> float:
        one = work(79, name=name, data=data, length=1024)
        found = rate_of(replace(one, **changes), replace(SETTING, batch=batch))
        assert found is not None
        return found

    a_hundred = rate(GEMMA, batch=16) / rate(GEMMA, ALIKE, batch=16)
    assert a_hundred < 0.25 < 0.8 < rate(LLAMA, batch=16) / rate(LLAMA, ALIKE, batch=16)
    old = {"card": replace(work(79).card, bf16=False)}
    assert rate(LLAMA, batch=32, **old) < 0.25 * rate(LLAMA, batch=32)
    assert rate(LLAMA, batch=32, **old) == pytest.approx(rate(LLAMA, batch=64, **old), rel=0.02)
    assert rate(GEMMA, batch=32) > 1.02 * rate(GEMMA, batch=64), "one of more rows is longer"
    assert rate(LLAMA, ALIKE, batch=32, **old) > 0.9 * rate(LLAMA, ALIKE, batch=32)


def test_passes_are_planned_as_recorded_only_where_they_have_few_widths():
    def recorded(name: str, data=SHORT, **keys) -> bool:
        one = work(79, name=name, data=data, length=1024, batch=1, compile=True, **keys)
        return fastest(one, room(one.card)).setting.recorded

    assert recorded(LLAMA) and recorded(GEMMA, {**SHORT, "lengths": describe([100] * 1000)})
    assert not recorded(GEMMA), "each pass is as wide as its longest row"
    assert work(79, name=GEMMA, data=SHORT, packing=True).widths_differ
    assert not work(79, data=SHORT, packing=True).widths_differ


def test_attention_of_packs_is_that_of_their_rows():
    def rate(lengths: list[int]) -> float:
        data = {**report(rows=20_000), "lengths": describe(lengths)}
        found = rate_of(work(79, data=data, length=8192, packing=True), replace(SETTING, batch=2))
        assert found is not None
        return found

    short, long = rate([256] * 1000), rate([8192] * 1000)
    assert 1.1 * long < short < 1.6 * long


def test_moments_lie_in_the_hosts_memory_where_that_has_room_or_is_not_known():
    name = "meta-llama/Llama-3.2-3B"
    found = {ram: fastest(work(18, "full", name, ram=ram), room(work(18).card)) for ram in (0, 8, 64)}
    assert [one.setting.optimizer for one in found.values()] == [
        "paged_adamw_8bit",
        "adamw_8bit",
        "paged_adamw_8bit",
    ]
    assert found[0].fits and found[64].fits and not found[8].fits


def test_a_card_that_limits_the_speed_is_used():
    for gib in (8, 12, 16, 24, 40, 48, 80):
        for name in ("meta-llama/Llama-3.2-1B", "Qwen/Qwen2.5-1.5B", LLAMA, "Qwen/Qwen2.5-14B"):
            for longest in (512, 2048, 8192):
                data = report(rows=20_000, longest=longest, mean=0.7 * longest)
                card = work(gib).card
                plan = advise(spec(name), box(), model(name), data, card=card)
                if plan.recommended is None:
                    continue
                one = plan.of(plan.recommended)
                asked = work_of(spec(name), model(name), card, data, one.method)
                more = rate_of(asked, fastest(asked, int(1.15 * gib * GIB)).setting) or 0
                limits = more > 1.04 * (one.tokens_per_second or 0)
                assert not limits or one.bytes.total >= 0.85 * gib * GIB, (gib, name, longest)


def test_batches_of_odd_sizes_keep_about_the_rows_of_a_step():
    seen = set()
    for gib in range(20, 80, 2):
        found = fastest(work(gib), room(work(gib).card)).setting
        rows = found.batch * work(gib).accumulate(found.batch)
        assert abs(rows - 16) <= 2
        seen.add(found.batch)
    assert fastest(work(40, batch=3), room(work(40).card)).setting.batch == 3
    assert fastest(work(40, accumulate=4), room(work(40).card)).setting.batch == 4


def test_the_smallest_is_the_smallest():
    one = work(10)
    setting, held = search.smallest(one, compiled=True)
    assert held.total <= min(taken.total for _, taken in every_setting(one, "adamw"))
    assert isinstance(setting, Setting)


def test_it_is_quick():
    from core.plan.card_names import known_cards
    from core.plan.cards import of_list

    shape, asked, machine = model("meta-llama/Llama-3.1-70B"), spec("meta-llama/Llama-3.1-70B"), box()
    begun = time.process_time()
    for one in known_cards():
        advise(asked, machine, shape, DATA, card=of_list(one))
    assert time.process_time() - begun < 0.02 * len(known_cards())
