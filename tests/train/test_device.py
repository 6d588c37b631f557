"""Torch's pool grows where it is, where the driver can and the user did not say otherwise."""

from typing import Any

import pytest
import torch

from core.train import device

GROWS, PIECES = "expandable_segments:True", "expandable_segments:False"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What torch's allocator is told; its memory is plain memory."""
    said: list[str] = []
    for name in device.ALLOCATOR:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch._C, "_accelerator_setAllocatorSettings", said.append, raising=False)
    real = torch.empty
    monkeypatch.setattr(torch, "empty", lambda size, dtype, device: real(size, dtype=dtype))
    return said


def test_the_pool_grows_in_place(told: list[str]) -> None:
    device.keep_memory_whole()
    assert told == [GROWS]


@pytest.mark.parametrize("name", device.ALLOCATOR)
def test_what_the_user_told_torch_stands(name: str, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "max_split_size_mb:256")
    device.keep_memory_whole()
    assert not told


def test_where_the_driver_cannot_all_stays_as_it_is(told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA driver error: operation not supported")

    monkeypatch.setattr(torch, "empty", refuse)
    device.keep_memory_whole()
    assert told == [GROWS, PIECES]


def test_a_torch_without_that_setting_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch._C, "_accelerator_setAllocatorSettings", raising=False)
    device.keep_memory_whole()
