"""What a measurement reads of the card, which others may use meanwhile."""

import os
from typing import Any

import pytest

from core.machine.gpus import Gpu, Process
from core.runs.events import Stage
from core.train import measure_gauge
from core.train.measure_gauge import Gauge

GIB = 2**30


def card(used: float, own: float | None) -> Gpu:
    mine = () if own is None else (Process(os.getpid(), "python", "user", int(own * GIB)),)
    return Gpu(0, "GPU-a", "a card", 80 * GIB, 0, int(used * GIB), (9, 0), True, mine)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Takes cards as NVML shows them one after the other, and says what a measurement makes of them."""

    def process(*shown: Gpu) -> int:
        left = [shown[0], *shown]
        monkeypatch.setattr(measure_gauge, "card_in_use", lambda: left.pop(0))
        monkeypatch.setattr(measure_gauge, "_has_card", lambda: True)
        monkeypatch.setattr(measure_gauge, "_of_torch", lambda _: (0, 0))
        gauge = Gauge(lambda *_: None)
        for _ in shown:
            gauge.close()
        return max(peak.process for peak in gauge.phases.values()) // GIB

    return process


def test_what_others_take_meanwhile_is_not_this_process_s(seen: Any) -> None:
    """NVML does not name a process at once."""
    assert seen(card(1, None), card(30, None), card(36, 6), card(50, 5)) == 6


def test_where_it_is_never_named_it_is_what_the_card_lost(seen: Any) -> None:
    assert seen(card(1, None), card(7, None), card(5, None)) == 6


def test_what_compiling_takes_is_not_the_step_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels are tried beside a buffer as large as the card's cache; what torch then has, it keeps."""
    peaks = {"load": (900, 950), "compile": (500, 600), "first step": (300, 600), "train": (310, 600)}
    gauge = Gauge(lambda *_: None)
    monkeypatch.setattr(measure_gauge, "_of_torch", lambda _: peaks.get(gauge._stage, (0, 0)))
    for name in peaks:
        gauge.write(Stage(name))
    gauge.close()
    assert (gauge.phases["step"].allocated, gauge.phases["step"].reserved) == (310, 600)
    assert gauge.phases["load"].allocated == 900
