"""NVML as a test describes it."""

import sys
from collections.abc import Callable

import pytest

from tests.machine.fake_nvml import Card, FakeNvml


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeNvml]:
    """Puts a driver with these cards on this machine."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def install(*cards: Card, **driver: object) -> FakeNvml:
        fake = FakeNvml(*cards, **driver)  # type: ignore[arg-type]
        monkeypatch.setitem(sys.modules, "pynvml", fake)  # type: ignore[arg-type]
        return fake

    return install
