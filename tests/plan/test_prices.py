"""The user's prices: found by the names that --card takes, and what is wrong with the file is one line."""

from dataclasses import replace
from pathlib import Path

import pytest

from core.cli.life import _summary
from core.errors import UserError
from core.numbers import money
from core.plan.advise import advise
from core.plan.cards import card_here, card_named
from core.plan.prices import priced, read_prices
from core.prepare import finish
from tests.plan.boxes import box, gpu, model, report, spec


def written(folder: Path, text: str) -> Path:
    file = folder / "prices.yaml"
    file.write_text(text)
    return file


def test_prices_are_found_by_any_name_of_the_card(tmp_path):
    prices = read_prices(written(tmp_path, "currency: EUR\n4090: 0.42\na100 80gb: 2\n"))
    assert prices.there and prices.currency == "EUR"
    assert prices.of == {"RTX 4090": 0.42, "A100 80GB": 2.0}
    assert prices.on(card_named("RTX 4090")).price == 0.42
    assert prices.on(card_named("T4")).price is None


def test_no_file_and_an_empty_one(tmp_path):
    absent = read_prices(tmp_path / "prices.yaml")
    assert not absent.there and absent.of == {}
    assert read_prices(written(tmp_path, "# nothing yet\n")).there


def test_it_lies_beside_the_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("FINETUI_HOME", str(tmp_path))
    written(tmp_path, "T4: 0.1")
    assert read_prices().of == {"T4": 0.1}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("RTX 4900: 1\na100: 2\nT4: -1\nL4: yes", ["RTX 4090", "A100 40GB or A100 80GB", "T4: -1", "L4"]),
        ("T4: .nan", ["T4: nan is no price"]),
        ("T4: cheap", ["T4: cheap is no price"]),
        ("4090: 1\nRTX 4090: 2", ["RTX 4090, which has a price already"]),
        ("- T4", ["no list of names and prices"]),
        ("T4: [", ["is not understood", "line"]),
        ("\x00", ["is not understood"]),
    ],
)
def test_all_that_is_wrong_is_one_line(tmp_path, text, parts):
    with pytest.raises(UserError) as caught:
        read_prices(written(tmp_path, text))
    line = caught.value.line()
    assert "\n" not in line and str(tmp_path) in line and all(part in line for part in parts), line


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "prices.yaml").mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        read_prices(tmp_path / "prices.yaml")
    (tmp_path / "prices.yaml").rmdir()
    (tmp_path / "prices.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UserError, match=r"prices\.yaml"):
        read_prices(tmp_path / "prices.yaml")


def test_the_specs_own_price_is_this_machines(tmp_path):
    prices = read_prices(written(tmp_path, "4090: 1\n"))
    here = prices.on(card_here(spec(), box(replace(gpu(23.6), name="NVIDIA GeForce RTX 4090"))))
    away, unknown = prices.on(card_named("4090")), prices.on(card_named("h100"))

    def price(card, **keys):
        found = advise(spec(**keys), box(), model("Qwen/Qwen3-8B"), report(), card=card)
        return (found.card or {})["price"]

    assert price(here) == 1 and price(here, price_per_hour=3) == 3
    assert price(away, price_per_hour=3) == 1, "the file knows what a card elsewhere costs"
    assert price(unknown, price_per_hour=3) == 3 and price(unknown) is None


def test_a_wrong_file_costs_the_cost_and_not_the_run(finetui_home):
    here = card_here(spec(), box(replace(gpu(23.6), name="NVIDIA GeForce RTX 4090")))
    written(finetui_home, "4090: 0.42\n")
    assert priced(here)[0].price == 0.42 and priced(here)[1] == ()
    written(finetui_home, "4090: cheap\n")
    card, found = priced(here)
    assert card.price is None and [one.severity for one in found] == ["warn"]
    assert "cheap" in found[0].message and "\n" not in found[0].message


def test_a_run_that_is_put_together_has_the_files_price(finetui_home):
    written(finetui_home, "4090: 0.5\n")
    machine = box(replace(gpu(23.6), name="NVIDIA GeForce RTX 4090"))
    known = {**report(), "findings": [], "eval_rows": 0}
    made = finish(spec(), machine, model("Qwen/Qwen3-8B"), known)
    assert made.spec.price_per_hour == 0.5 and made.plan.of("lora").cost is not None
    assert f"and {money(made.plan.of(made.spec.method).cost)} to pay" in _summary(made), "as train begins"
    own = finish(spec(price_per_hour=2), machine, model("Qwen/Qwen3-8B"), known)
    assert own.spec.price_per_hour == 2
    assert own.plan.of("lora").cost == pytest.approx(4 * made.plan.of("lora").cost)
    written(finetui_home, "[]")
    wrong = finish(spec(), machine, model("Qwen/Qwen3-8B"), known)
    assert wrong.spec.price_per_hour is None
    assert [one["code"] for one in wrong.findings() if one["severity"] == "warn"] == ["prices"]
    assert "to pay" not in _summary(wrong)
