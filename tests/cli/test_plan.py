"""The plan command for one card, for all of them, and for what cannot be."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from core.plan.card_names import known_cards
from tests.cli.conftest import Called

Call = Callable[..., Called]
LLAMA = ("plan", "--model", "meta-llama/Llama-3.1-8B")  # its shape is in the catalogue
SMALL = ("plan", "--model", "Qwen/Qwen3-0.6B")  # and is not gated


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--card", "RTX 4900"], ["no card is called", "RTX 4090"]),
        (["--card", "a100"], ["more than one card", "A100 40GB or A100 80GB"]),
        (["--card", ""], ["names no card"]),
        (["--vram", "0"], ["--vram 0 is no card", "24"]),
        (["--vram", "-8"], ["--vram -8 is no card"]),
        (["--vram", "nan"], ["--vram nan is no card"]),
        (["--vram", "0.5"], ["CUDA itself takes 0.7"]),
        (["--vram", "24", "--card", "4090"], ["both name a card"]),
        (["--cards", "--card", "4090"], ["--cards looks at every card"]),
        (["--all"], ["--all is for --cards"]),
        (["--ram", "64"], ["--ram is for a card that is not here"]),
        (["--card", "4090", "--ram", "0"], ["--ram 0 is no box"]),
        (["--cards", "--ram", "nan"], ["--ram nan is no box"]),
    ],
)
def test_a_card_that_cannot_be_is_one_line(call: Call, words: list[str], parts: list[str]) -> None:
    called = call(*LLAMA, *words)
    assert called.code == 2
    assert all(part in called.line for part in parts), called.line


def test_what_would_make_it_fit_is_said_and_is_in_the_json(call: Call) -> None:
    called = call(*LLAMA, "--vram", "8")
    assert called.code == 1
    assert "QLoRA needs 0." in called.out and "more: length" in called.out
    assert "LoRA needs" in called.out and "a card such as" in called.out
    said = json.loads(call(*LLAMA, "--vram", "8", "--json").out)
    out = said["methods"][2]["out"]
    assert out["short"] > 0 and out["ways"][0]["changes"]["length"] and out["card"] and out["card_memory"]
    assert {"first_step", "compile_why", "kept"} <= set(said["methods"][0])


def test_all_cards_in_80_columns_the_best_first(call: Call, finetui_home: Path) -> None:
    called = call(*SMALL, "--set", "steps=200000", "--cards", "--all")
    assert called.code == 0
    lines = called.out.splitlines()
    assert all(len(line) <= 80 for line in lines if str(finetui_home) not in line)
    names = [one.name.replace(" Blackwell", "") for one in known_cards()]
    assert sorted(line.split("  ")[0] for line in lines[1 : 1 + len(names)]) == sorted(names)
    assert str(finetui_home / "prices.yaml") in "".join(lines), "where prices go is said"
    assert "--ram" in called.out
    short = call(*SMALL, "--cards").out.splitlines()
    assert len(short) < 45 and "--all" in "".join(short)


def test_the_users_prices_decide_the_order(call: Call, finetui_home: Path) -> None:
    finetui_home.mkdir(exist_ok=True)
    (finetui_home / "prices.yaml").write_text("currency: EUR\nRTX 3090: 0.2\nH100: 2.5\n")
    words = [*LLAMA, "--set", "steps=200", "--cards"]
    called = call(*words, "--ram", "64")
    assert called.code == 0 and "Cost in EUR" in called.out and "--ram" not in called.out
    assert {line.split("  ")[0] for line in called.out.splitlines()[1:3]} == {"RTX 3090", "H100"}
    said = json.loads(call(*words, "--json").out)
    assert said["prices"]["cards"] == {"RTX 3090": 0.2, "H100": 2.5} and len(said["cards"]) == len(
        known_cards()
    )
    costs = [one["cost"] for one in said["cards"] if one["cost"] is not None and one["fits"]]
    assert len(costs) == 2 and costs == sorted(costs)
    one = json.loads(call(*LLAMA, "--set", "steps=200", "--card", "3090", "--json").out)
    assert one["card"]["price"] == 0.2 and one["methods"][1]["cost"] > 0


def test_where_a_price_goes_is_said_where_none_is_known(call: Call, finetui_home: Path) -> None:
    assert str(finetui_home / "prices.yaml") in call(*SMALL, "--card", "4090").out
    assert "prices.yaml" not in call(*SMALL, "--card", "4090", "--set", "price_per_hour=1").out
    assert "prices.yaml" not in call(*SMALL, "--vram", "24").out, "a size is no card to name"


def test_prices_that_are_wrong_stop_the_plan_in_one_line(call: Call, finetui_home: Path) -> None:
    finetui_home.mkdir(exist_ok=True)
    (finetui_home / "prices.yaml").write_text("RTX 4900: 1\n")
    called = call(*SMALL, "--card", "4090")
    assert called.code == 2 and "prices.yaml" in called.line and "RTX 4090" in called.line


def test_no_card_for_it_is_a_no(call: Call) -> None:
    called = call(*LLAMA, "--cards", "--set", "length=8192", "--set", "batch=512", "--set", "recompute=0")
    assert called.code == 1
    assert "GB" in called.out and "+" in called.out
