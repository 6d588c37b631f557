"""A card is found by the name that a person or NVML gives it."""

import pytest

from core.errors import UserError
from core.plan.cards import card_here, card_named, card_of_size, known_cards
from tests.plan.boxes import GIB, box, gpu, spec


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("4090", "RTX 4090"),
        ("rtx 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("h100", "H100"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H200", "H200"),
        ("a100 80gb", "A100 80GB"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100 40GB"),
        ("Tesla T4", "T4"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA RTX A6000", "RTX A6000"),
    ],
)
def test_names(typed, name):
    assert card_named(typed).name == name


def test_an_unknown_card_names_the_nearest():
    with pytest.raises(UserError) as caught:
        card_named("RTX 4900")
    assert "RTX 4090" in caught.value.line() and "--vram" in caught.value.line()
    with pytest.raises(UserError) as caught:
        card_named("toaster")
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize("size", [0, -3, 0.5, 1e9])
def test_a_size_that_no_card_has(size):
    with pytest.raises(UserError):
        card_of_size(size)


def test_every_known_card_is_whole():
    for one in known_cards():
        card = card_named(one["name"])
        assert card.name == one["name"], "no name hides another"
        assert 8 * GIB < card.memory_total < 300 * GIB and (card.tflops or 0) > 10 and not card.here
        assert card.precision == ("bf16" if one["capability"] >= [8, 0] else "fp16")


def test_a_gpu_that_shares_the_machines_memory():
    from dataclasses import replace

    shared = replace(gpu(1), name="NVIDIA GB10", memory_total=None, memory_free=None, memory_used=None)
    card = card_here(spec(), box(shared, ram=128))
    assert card.kind == "gpu" and card.memory_total == 128 * GIB and card.memory_free < card.memory_total


def test_the_card_here_is_known_by_its_name():
    from dataclasses import replace

    machine = box(replace(gpu(139.8), name="NVIDIA H200"))
    assert card_here(spec(), machine).tflops == 989
