"""A card is found by the name that a person or a driver gives it, and its memory is no more than is there."""

from dataclasses import replace

import pytest

from core.errors import UserError
from core.machine.gpus import Process
from core.plan.card_names import known_cards, of_driver
from core.plan.cards import card_here, card_named, card_of_size
from tests.plan.boxes import GIB, box, gpu, spec


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("4090", "RTX 4090"),
        ("rtx4090 24GB", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("4090 laptop", "RTX 4090 Laptop"),
        ("4090D", "RTX 4090 D"),
        ("3080", "RTX 3080"),
        ("3080 12", "RTX 3080 12GB"),
        ("4070tisuper", "RTX 4070 Ti Super"),
        ("h100", "H100"),
        ("H100 SXM5", "H100"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("a100 80gb", "A100 80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100 40GB"),
        ("A100-PCIE-40GB", "A100 40GB"),
        ("NVIDIA A100 80GB PCIe", "A100 80GB PCIe"),
        ("NVIDIA GH200 480GB", "GH200 96GB"),
        ("NVIDIA B300 SXM6 AC", "B300"),
        ("Tesla T4", "T4"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA RTX A6000", "RTX A6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("Quadro RTX 6000", "Quadro RTX 6000"),
        ("RTX 6000 Blackwell", "RTX PRO 6000 Blackwell"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000 Blackwell Server"),
    ],
)
def test_names(typed, name):
    assert card_named(typed).name == name


def refused(name: str) -> str:
    with pytest.raises(UserError) as caught:
        card_named(name)
    line = caught.value.line()
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("typed", "may_be"),
    [
        ("a100", ("A100 40GB", "A100 80GB")),
        ("a100 pcie", ("A100 40GB", "A100 80GB PCIe")),
        ("4060 ti", ("RTX 4060 Ti 8GB", "RTX 4060 Ti 16GB")),
        ("rtx 6000", ("Quadro RTX 6000", "RTX 6000 Ada", "RTX PRO 6000 Blackwell")),
    ],
)
def test_a_name_of_several_cards_is_not_guessed(typed, may_be):
    assert all(name in refused(typed) for name in may_be)


def test_an_unknown_card_names_the_nearest():
    assert "RTX 4090" in refused("RTX 4900") and "--vram" in refused("RTX 4900")
    assert "L40S" in refused("L40 s")
    assert "it has RTX 4090 (23.6 GiB)" in refused("rtx 4090 48gb") and "--vram 48" in refused("4090 48gb")
    assert "--cards" in refused("toaster")
    assert refused("  ").startswith("--card names no card")


@pytest.mark.parametrize("size", [0, -3, 0.5, 1e9, float("nan"), float("inf")])
def test_a_size_that_no_card_has(size):
    with pytest.raises(UserError):
        card_of_size(size)


def test_every_known_card_is_whole():
    for one in known_cards():
        card = card_named(one.name)
        assert card.name == one.name, "no name hides another"
        assert 5 * GIB < card.memory_total < 300 * GIB and not card.here and one.source
        assert card.precision == ("bf16" if one.capability >= (8, 0) else "fp16")
        assert card.tflops is None or 5 < card.tflops < 5000
        assert card.bandwidth is None or 100 < card.bandwidth < 10_000
    rates = {one.name: one.tflops for one in known_cards()}
    # sums in fp32: a GeForce does half of what the workstation card of the same chip does
    assert 1.8 < (rates["RTX A6000"] or 0) / (rates["RTX 3090 Ti"] or 1) < 2.1
    assert rates["RTX 4090 Laptop"] is None


def test_cards_of_one_name_are_told_apart_by_their_memory():
    def found(name: str, gib: float):
        one = of_driver(name, int(gib * GIB))
        return one and one.name

    assert found("NVIDIA GeForce RTX 4060 Ti", 16) == "RTX 4060 Ti 16GB"
    assert found("NVIDIA GeForce RTX 4060 Ti", 8) == "RTX 4060 Ti 8GB"
    assert found("NVIDIA GeForce RTX 3080", 12) == "RTX 3080 12GB"
    assert found("NVIDIA GeForce RTX 4090", 48) == "RTX 4090", "with more memory soldered on"
    assert found("NVIDIA GeForce RTX 3080 Laptop GPU", 16) == "RTX 3080 Laptop 16GB"
    assert found("NVIDIA GeForce RTX 9999", 16) is None
    assert found("NVIDIA GeForce RTX 2080 with Max-Q Design", 8) is None, "another card than the 2080"


def here(one, **keys):
    return card_here(spec(), box(one, **keys))


def test_a_gpu_that_shares_the_machines_memory():
    shared = replace(gpu(1), name="NVIDIA GB10", memory_total=None, memory_free=None, memory_used=None)
    card = here(shared, ram=128)
    assert card.kind == "gpu" and card.memory_total == 128 * GIB and card.memory_free < card.memory_total
    assert card.ram == 0, "it is counted once"


def test_the_card_here_is_known_by_its_name():
    assert here(replace(gpu(139.8), name="NVIDIA H200")).tflops == 989


def test_how_quick_the_hosts_cores_are_is_known_of_the_card_that_is_here():
    assert here(gpu(24), core_ms=0.8).core_ms == 0.8
    assert card_named("H200").core_ms is None and card_of_size(24).core_ms is None


def test_a_part_of_a_split_card_has_its_own_memory_and_a_share_of_the_rates():
    part = replace(gpu(39.5, capability=(8, 0)), name="NVIDIA A100-SXM4-80GB MIG 3g.40gb", mig=True)
    card = here(part)
    assert card.memory_total == int(39.5 * GIB) and card.tflops == 312 * 3 / 8
    assert card.bandwidth and card.bandwidth == pytest.approx(2039 / 2, rel=0.05)


def test_what_others_hold_is_not_free_even_where_nobody_is_named():
    assert here(gpu(24, held=10)).memory_free == 14 * GIB
    seen = (Process(7, None, None, 12 * GIB),)
    lying = replace(gpu(24), processes=seen)  # all of it free, says the driver
    card = here(lying)
    assert card.memory_free == 12 * GIB and "12.0 GiB in use" in card.doubt


@pytest.mark.parametrize("total", [None, 0])
def test_a_driver_that_does_not_tell_the_memory_of_a_known_card(total):
    silent = replace(gpu(24), name="NVIDIA GeForce RTX 3090", memory_total=total, memory_free=None)
    card = here(silent)
    assert card.memory_total == int(23.6 * GIB) and "does not tell" in card.doubt


def test_more_free_than_there_is():
    lying = replace(gpu(24, held=4), memory_free=80 * GIB)
    card = here(lying)
    assert card.memory_free == 20 * GIB and "cannot be" in card.doubt
    assert here(replace(gpu(24), memory_free=None)).memory_free == 24 * GIB
    assert here(replace(gpu(24), memory_used=30 * GIB)).memory_free == 0


def test_a_driver_that_answers_nothing_leaves_the_cpu():
    machine = box(nvml="the NVIDIA driver is installed but not loaded")
    assert card_here(spec(), machine).kind == "cpu"
