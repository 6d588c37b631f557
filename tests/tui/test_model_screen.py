"""The Model step: what fits, what is recommended and why, typing, folders, the Hub, and refusals."""

import dataclasses
import json
from pathlib import Path

import pytest
from textual.widgets import Input, OptionList, Static

from core.errors import UserError
from core.machine import look
from core.machine.gpus import Gpu
from core.models import hub
from core.plan.cards import room
from tests.tui.steps import until
from tui.model_list import Offer, card_of, catalogue_offers, demo_model, matches, recommended
from tui.screens import model as model_screen
from tui.widgets.progress_line import ProgressLine

GIB = 2**30
LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 256,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
}


def machine(gib: float | None):
    """This box with one card of so many GiB free, or none."""
    free = int((gib or 0) * GIB)
    card = Gpu(0, "u", "NVIDIA Card", free, free, 0, (8, 9), True) if free else None
    box = look()
    hub = dataclasses.replace(box.hub, token_found=False)
    return dataclasses.replace(box, gpus=(card,) if card else (), ram_available=16 * GIB, hub=hub, torch=None)


@pytest.fixture
def at_model(app, tmp_path, monkeypatch):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(LLAMA))
    (tmp_path / "tiny" / "tokenizer.json").write_text("{}")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text(json.dumps(LLAMA))
    monkeypatch.chdir(tmp_path)

    async def no_hub(module, request, on_progress=None):
        raise UserError("the Hub cannot be searched", "no network")

    monkeypatch.setattr(model_screen, "run_job_async", no_hub)
    monkeypatch.setattr(hub, "read_remote", lambda model, revision=None: None)  # the Hub has it
    app.journey.machine = machine(24)
    return app


def listed(app) -> list[str]:
    return [str(option.id) for option in app.screen.query_one("#models", OptionList).options]


async def paste(pilot, text: str) -> None:
    """The text into the focused field at once, then Enter."""
    pilot.app.screen.query_one("#search", Input).value = text
    await pilot.pause()
    await pilot.press("enter")


def about(app) -> str:
    return str(app.screen.query_one("#about Static", Static).content)


def said(app) -> str:
    return str(app.screen.query_one("#progress", ProgressLine).content)


@pytest.mark.parametrize("gib", [8, 24, 80])
def test_a_badge_means_that_its_least_memory_is_free(gib):
    offers = catalogue_offers(card_of(machine(gib)))
    assert len(offers) > 20
    for offer in offers:
        assert offer.fits == {
            method for method, need in offer.needs.items() if need <= room(card_of(machine(gib)))
        }
    small = next(offer for offer in offers if offer.model == "Qwen/Qwen3-0.6B")
    assert {"lora", "qlora"} <= small.fits


def test_more_memory_never_takes_a_badge_away():
    for less, more in zip(
        catalogue_offers(card_of(machine(12))), catalogue_offers(card_of(machine(48))), strict=True
    ):
        assert less.fits <= more.fits


def test_the_recommended_one_grows_with_the_card_and_says_why():
    sizes = []
    for gib in (6, 12, 80):
        box = card_of(machine(gib))
        offers = catalogue_offers(box)
        name, why = recommended(offers, box, "manner")
        chosen = next(offer for offer in offers if offer.model == name)
        assert "lora" in chosen.fits and not chosen.gated and why
        sizes.append(chosen.parameters)
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
    box = card_of(machine(80))
    assert recommended(catalogue_offers(box), box, "chat")[0].endswith("-Base")


def test_without_a_gpu_the_demo_is_recommended():
    box = card_of(machine(None))
    demo = Offer(demo_model(), "demo", "the demo")
    name, why = recommended([demo, *catalogue_offers(box)], box, None)
    assert name == demo_model() and "no GPU" in why


def test_words_filter_in_any_order():
    offer = Offer("meta-llama/Llama-3.1-8B", "x", "Llama 3.1", chat=False)
    assert matches(offer, "8b llama") and matches(offer, "BASE") and not matches(offer, "qwen")


async def test_enter_takes_the_recommended_one(at_model):
    async with at_model.run_test(size=(80, 24)) as pilot:
        at_model.goto("model")
        await until(pilot, lambda: listed(at_model))
        assert "★ recommended" in about(at_model)
        first = listed(at_model)[0]
        await pilot.press("enter")
        await until(pilot, lambda: at_model.screen.step == "data")
        assert at_model.journey.get("model") == first
        assert at_model.journey.shape.name == first


async def test_arrows_move_in_the_list_while_typing(at_model):
    async with at_model.run_test(size=(120, 40)) as pilot:
        at_model.goto("model")
        await until(pilot, lambda: listed(at_model))
        await pilot.press(*"llama 8b")
        await until(pilot, lambda: all("llama" in name.lower() for name in listed(at_model)))
        await pilot.press("down")
        assert at_model.screen.marked.model == listed(at_model)[1]
        assert "gated" in about(at_model) and "hf auth login" in about(at_model)


async def test_a_folder_found_here_is_offered_and_used(at_model, tmp_path):
    async with at_model.run_test(size=(80, 24)) as pilot:
        at_model.goto("model")
        await until(pilot, lambda: str(tmp_path / "tiny") in listed(at_model))
        await pilot.press(*"./tiny")
        await pilot.press("enter")
        await until(pilot, lambda: at_model.screen.step == "data")
        assert at_model.journey.get("model") == str(tmp_path / "tiny")
        assert at_model.journey.shape.layers == 2


async def test_a_folder_without_a_tokenizer_is_refused_in_one_line(at_model, tmp_path):
    async with at_model.run_test(size=(80, 24)) as pilot:
        at_model.goto("model")
        await until(pilot, lambda: listed(at_model))
        await paste(pilot, str(tmp_path / "bare"))
        await until(pilot, lambda: "no tokenizer" in said(at_model))
        assert at_model.screen.step == "model"


async def test_a_folder_that_is_no_model_is_refused_in_one_line(at_model, tmp_path):
    (tmp_path / "empty").mkdir()
    async with at_model.run_test(size=(80, 24)) as pilot:
        at_model.goto("model")
        await until(pilot, lambda: listed(at_model))
        await paste(pilot, str(tmp_path / "empty"))
        await until(pilot, lambda: "no config.json" in said(at_model))
        assert at_model.screen.step == "model"


async def test_a_gated_model_is_asked_for_at_the_hub_and_its_refusal_shown(at_model, monkeypatch):
    def refuse(model, revision=None):
        raise UserError(f"{model} is gated", "your account has not accepted its licence", "accept it")

    monkeypatch.setattr(hub, "read_remote", refuse)
    async with at_model.run_test(size=(80, 24)) as pilot:
        at_model.goto("model")
        await until(pilot, lambda: listed(at_model))
        await paste(pilot, "meta-llama/Llama-3.1-8B")
        await until(pilot, lambda: "not accepted its licence" in said(at_model))
        assert at_model.screen.step == "model"


async def test_the_hub_is_searched_and_its_silence_is_not_mentioned(at_model, monkeypatch):
    asked = []

    async def found(module, request, on_progress=None):
        asked.append(request)
        return {"models": [{"id": "some/zebra-1b", "downloads": 5, "gated": False}]}

    monkeypatch.setattr(model_screen, "run_job_async", found)
    monkeypatch.setattr(model_screen, "SEARCH_AFTER", 0.01)
    async with at_model.run_test(size=(80, 24)) as pilot:
        at_model.goto("model")
        await until(pilot, lambda: listed(at_model))
        await pilot.press(*"zebra")
        await until(pilot, lambda: "some/zebra-1b" in listed(at_model))
        assert asked[-1] == {"text": "zebra"}


async def test_without_a_network_the_search_is_silent(at_model, monkeypatch):
    monkeypatch.setattr(model_screen, "SEARCH_AFTER", 0.01)
    async with at_model.run_test(size=(80, 24)) as pilot:
        at_model.goto("model")
        await until(pilot, lambda: listed(at_model))
        await pilot.press(*"zebra")
        await until(pilot, lambda: not at_model.screen._hub_answers)
        assert said(at_model) == ""
        assert listed(at_model) == ["zebra"], "what is typed may be an id of its own"


async def test_coming_back_marks_what_was_chosen(at_model, tmp_path):
    at_model.journey.set("model", str(tmp_path / "tiny"))
    async with at_model.run_test(size=(80, 24)) as pilot:
        at_model.goto("model")
        await until(pilot, lambda: listed(at_model) and at_model.screen.marked)
        assert at_model.screen.marked.model == str(tmp_path / "tiny")


def test_the_search_job_answers_with_names_or_a_refusal(monkeypatch):
    import huggingface_hub

    from core.models.search import answer

    class Api:
        def list_models(self, **asked):
            assert asked["search"] == "qwen"
            return [huggingface_hub.ModelInfo(id="Qwen/x", downloads=3, gated="auto")]

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    assert answer({"text": "qwen"}, lambda *_: None) == {
        "models": [{"id": "Qwen/x", "downloads": 3, "gated": True}]
    }
    monkeypatch.setattr(Api, "list_models", lambda self, **asked: 1 / 0)
    with pytest.raises(UserError, match="cannot be searched"):
        answer({"text": "qwen"}, lambda *_: None)


def test_just_trying_takes_a_small_one():
    box = card_of(machine(80))
    offers = catalogue_offers(box)
    small, large = (recommended(offers, box, aim)[0] for aim in ("try", "manner"))
    by_name = {offer.model: offer.parameters for offer in offers}
    assert by_name[small] < by_name[large]


async def test_without_a_network_one_that_is_here_is_marked_instead(at_model, monkeypatch, tmp_path):
    def silent(model, revision=None):
        raise UserError(f"{model} cannot be fetched", "no network: the Hub does not answer", "give a folder")

    monkeypatch.setattr(hub, "read_remote", silent)
    async with at_model.run_test(size=(80, 24)) as pilot:
        at_model.goto("model")
        await until(pilot, lambda: listed(at_model))
        await pilot.press("enter")
        await until(pilot, lambda: at_model.screen.marked.here)
        assert "no network" in said(at_model) and "cannot be reached" in about(at_model)
        assert at_model.screen.step == "model"
        await pilot.press("enter")
        await until(pilot, lambda: at_model.screen.step == "data")
        assert Path(at_model.journey.get("model")).is_dir()
