"""Memory that others hold on the card: counted always, named where NVML names it."""

import pytest

from core.machine import others
from core.machine.gpus import Cards, Gpu, Process
from core.machine.others import GIB, card_in_use, others_on, own_bytes

ME = 77


def card(used: float | None, *processes: Process, index: int = 0, uuid: str = "GPU-a") -> Gpu:
    held = None if used is None else int(used * GIB)
    return Gpu(index, uuid, "a card", 24 * GIB, 0, held, (8, 0), True, processes)


def process(pid: int, gib: float | None, name: str | None = "python") -> Process:
    return Process(pid, name, "user", None if gib is None else int(gib * GIB))


def test_others_are_named_with_their_memory():
    gpu = card(10.5, process(ME, 6), process(8, 3), process(9, 1, "ollama"))
    found = others_on(gpu, pid=ME)
    assert found and found.bytes == 4 * GIB
    assert found.said == (
        "others hold 4.00 GiB of the card (python, pid 8: 3.00 GiB, ollama, pid 9: 1.00 GiB)"
    )
    assert own_bytes(gpu, ME) == 6 * GIB


@pytest.mark.parametrize("table", [(), (process(123456, 5, None), process(123457, 6, None))])
def test_in_a_container_they_are_others(table):
    found = others_on(card(11.5, *table), own=6 * GIB, pid=ME)
    assert found and found.who == "others" and found.bytes == int(5.5 * GIB)
    assert own_bytes(card(11.5, *table), ME) is None


def test_what_the_driver_takes_is_nobodys():
    assert others_on(card(6.6, process(ME, 6)), pid=ME) is None
    assert others_on(card(0.6), own=0, pid=ME) is None
    assert others_on(card(None), pid=ME) is None


def test_what_is_listed_and_what_is_hidden_are_added():
    found = others_on(card(12, process(ME, 6), process(8, 2)), pid=ME)
    assert found and found.bytes == 6 * GIB and "pid 8" in found.who


def test_a_process_whose_memory_is_not_told_is_counted_by_the_caller():
    found = others_on(card(9, process(ME, None)), own=6 * GIB, pid=ME)
    assert found and found.bytes == 3 * GIB and found.who == "others"


@pytest.mark.parametrize(("chosen", "index"), [("GPU-b", 1), ("1", 1), ("0", 0), ("", 0), ("GPU-b,GPU-a", 1)])
def test_the_card_in_use_is_the_first_that_cuda_sees(monkeypatch, chosen, index):
    both = (card(1), card(1, index=1, uuid="GPU-b"))
    monkeypatch.setattr(others, "read_gpus", lambda: Cards(both, None, None, None))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    found = card_in_use()
    assert found and found.index == index
    monkeypatch.setattr(others, "read_gpus", lambda: Cards((), None, None, "no NVIDIA driver"))
    assert card_in_use() is None
