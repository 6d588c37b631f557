"""What is said to make a method fit makes it fit, and nothing smaller would."""

import time
from dataclasses import replace

import pytest

from core.plan.advise import advise
from core.plan.cards import card_named, room
from core.plan.ways_out import STEP, _with, ways_out
from tests.plan.boxes import GIB, box, gpu, model, report, spec

LLAMA = "meta-llama/Llama-3.1-8B"
DATA = report(rows=2000, longest=4000, mean=1200.0)
DATA["lengths"]["table"] = [[300, 900], [1500, 800], [4000, 300]]


def planned(gib: float, name: str = LLAMA, **keys):
    return advise(spec(name, **keys), box(gpu(gib)), model(name), DATA)


CELLS = [
    (LLAMA, 8, {}),
    (LLAMA, 20, {"lora": {"rank": 256, "dora": True}}),
    (LLAMA, 24, {"batch": 8, "recompute": 0}),
    (LLAMA, 24, {"batch": 16, "accumulate": 4, "length": 8192, "recompute": 0.2}),
    (LLAMA, 36, {"optimizer": "adamw"}),
    (LLAMA, 40, {"compile": False, "length": 16384, "batch": 2}),
    ("Qwen/Qwen3-32B", 24, {}),
    ("Qwen/Qwen3-0.6B", 4, {"precision": "fp32"}),
    ("google/gemma-2-9b", 10, {}),
]


@pytest.mark.parametrize(("name", "gib", "keys"), CELLS)
def test_every_way_that_is_named_leads_out(name, gib, keys):
    found = planned(gib, name, **keys)
    asked = spec(name, **keys)
    for one in found.methods:
        assert (one.out is None) == one.fits
        if one.out is None:
            continue
        assert one.out.short == one.peak - room_of(gib) > 0
        for way in one.out.ways:
            changed = advise(_with(asked, way.changes), box(gpu(gib)), model(name), DATA).of(one.method)
            assert changed.fits and changed.peak == way.bytes, way
        if one.out.card:
            card = card_named(one.out.card)
            assert advise(asked, box(), model(name), DATA, card=card).of(one.method).fits
        assert "\n" not in one.out.line


def room_of(gib: float) -> int:
    return int(gib * GIB - 0.05 * int(gib * GIB))


def test_the_length_is_the_longest_that_fits_and_what_it_cuts_is_said():
    qlora = planned(8).of("qlora").out
    assert qlora
    (way,) = [one for one in qlora.ways if "length" in one.changes]
    longer = spec(LLAMA, length=way.changes["length"] + STEP)
    assert not advise(longer, box(gpu(8)), model(LLAMA), DATA).of("qlora").fits
    assert "of rows)" in way.words and way.words in qlora.line


def test_what_costs_nothing_of_what_is_learned_comes_first():
    lora = planned(24, batch=8, recompute=0.2, length=2048).of("lora").out
    assert lora and lora.ways[0].words.startswith(("batch", "recompute"))
    full = planned(60, "Qwen/Qwen3-8B", optimizer="adamw").of("full").out
    assert full and full.ways[0].words == "8-bit Adam" and "8-bit Adam" in full.line


def test_a_length_beyond_the_rows_is_cut_first():
    padded = report(rows=2000, longest=500, mean=300.0)
    asked = spec(LLAMA, length=8192, batch=2)
    found = advise(asked, box(gpu(20), ram=8), model(LLAMA), padded).of("lora").out
    assert found is not None
    assert any("cuts no row" in one.words and one.changes == {"length": 512} for one in found.ways)


def test_the_smallest_card_and_none():
    out = planned(8).of("lora").out
    assert out and out.card and out.card_memory
    smaller = replace(card_named(out.card), memory_total=int(0.85 * out.card_memory))
    smaller = replace(smaller, memory_free=smaller.memory_total)
    assert not advise(spec(LLAMA), box(), model(LLAMA), DATA, card=smaller).of("lora").fits
    huge = planned(80, "meta-llama/Llama-3.1-70B").of("full").out
    assert huge and huge.card is None and "any known card" in huge.line


def test_it_is_quick_and_left_out_where_nobody_asks():
    asked, machine, shape = spec("Qwen/Qwen3-8B"), box(gpu(8)), model("Qwen/Qwen3-8B")
    begun = time.process_time()
    for _ in range(5):
        advise(asked, machine, shape, DATA)
    assert time.process_time() - begun < 5 * 0.05
    none = advise(asked, machine, shape, DATA, ways=False)
    assert all(one.out is None for one in none.methods) and none.recommended is None


def test_by_itself():
    card = card_named("RTX 4090")
    out = ways_out(spec(), model("Qwen/Qwen3-8B"), card, None, "full", 10 * GIB)
    assert out.short == 10 * GIB and room(card) < card.memory_free


def test_what_the_hosts_memory_is_short_of_is_named():
    name, card = "meta-llama/Llama-3.2-3B", card_named("RTX A4500")
    found = {
        ram: advise(spec(name), box(), model(name), DATA, card=replace(card, ram=ram * GIB)).of("full")
        for ram in (8, 16)
    }
    assert found[16].fits and not found[8].fits
    assert found[8].out and found[8].out.line.split(": ")[1].startswith("13.9 GiB of free RAM instead of 8.0")
    asked = spec(name, optimizer="adamw")
    short = advise(asked, box(), model(name), DATA, card=replace(card, ram=8 * GIB)).of("full").out
    assert short and "paged" not in short.line
