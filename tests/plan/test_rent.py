"""All known cards with what they could do: the best first, and in under a second."""

import json
import time
from pathlib import Path

from core.plan.advise import advise
from core.plan.card_names import known_cards
from core.plan.cards import card_named
from core.plan.prices import Prices
from core.plan.rent import offers
from tests.plan.boxes import GIB, box, model, report, spec

NAME = "Qwen/Qwen3-8B"
PRICES = Prices(
    Path("prices.yaml"), True, "EUR", {"RTX 4090": 0.4, "A100 80GB": 3.0, "RTX 4060 Ti 8GB": 0.01}
)


def found(data=None, ram=0, prices=None, name=NAME, **keys):
    return offers(spec(name, **keys), box(), model(name), data or report(), ram=ram, prices=prices)


def test_every_known_card_is_there_with_the_plan_that_it_would_get():
    rows = found()
    assert sorted(one.card.name for one in rows) == sorted(one.name for one in known_cards())
    for one in rows[::9]:
        alone = advise(spec(), box(), model(NAME), report(), card=card_named(one.card.name))
        assert alone.recommended == one.plan.recommended
        assert [m.bytes for m in alone.methods] == [m.bytes for m in one.plan.methods]
        for method in one.plan.methods:
            assert (one.short(method.method) == 0) == method.fits


def test_those_that_fit_come_first_the_quickest_first_and_then_the_least_short():
    rows = found()
    fits = [one.best.fits for one in rows]
    assert fits == sorted(fits, reverse=True) and True in fits and False in fits
    known = [one.best.seconds for one in rows if one.best.fits and one.best.seconds is not None]
    assert known == sorted(known)
    short = [one.short(one.best.method) for one in rows if not one.best.fits]
    assert short == sorted(short) and short[0] > 0


def test_the_cheapest_comes_first_where_prices_are_known():
    rows = found(prices=PRICES)
    assert [one.card.name for one in rows[:2]] == ["RTX 4090", "A100 80GB"]
    assert rows[0].best.cost and rows[1].best.cost and rows[0].best.cost < rows[1].best.cost
    assert rows[2].best.cost is None, "no price of theirs is made up"
    cheap = next(one for one in rows if one.card.name == "RTX 4060 Ti 8GB")
    assert not cheap.best.fits and rows.index(cheap) > 2, "a card that cannot is never cheap"


def test_the_price_of_this_machine_is_no_other_cards():
    assert all(one.best.cost is None for one in found(price_per_hour=9.0))


def test_the_method_that_was_asked_for_is_the_one_that_is_shown():
    rows = found(method="full")
    assert all(one.best.method == "full" for one in rows)
    assert rows[0].best.fits and rows[0].card.memory_total > 40 * GIB


def test_room_in_the_boxes_lets_layers_wait():
    tight = {one.card.name: one for one in found(ram=128 * GIB)}["RTX 3090"]
    assert tight.best.fits and tight.best.tokens_per_second
    none = {one.card.name: one for one in found()}["RTX 3090"]
    assert (none.best.tokens_per_second or 0) <= tight.best.tokens_per_second


def test_it_is_json_and_quick():
    begun = time.process_time()
    rows = found()
    assert time.process_time() - begun < 1.5
    said = json.loads(json.dumps([one.to_dict() for one in rows]))
    first = said[0]
    assert {"card", "fits", "method", "price", "cost", "seconds", "short", "plan"} <= set(first)
    assert set(first["short"]) == {"full", "lora", "qlora"}
