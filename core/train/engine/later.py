"""A step's figures, read when the next step is under way, so that the card never waits to be asked."""

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch

NO_NORM = -1.0
"""Where none was taken; a norm that is not a number must be told as it is."""


@dataclass
class Figures:
    """What is told of a step; `loss` and `norm` are on their way until `ready` has happened."""

    step: int
    steps: int
    """Of the optimiser since the last that was told."""
    epoch: float
    rate: float
    tokens: int
    numbers: Any
    """(2,) in fp64: the sum of the losses, and the gradient's norm or `NO_NORM`."""
    begun: Any
    ready: Any
    """Moments: events of the card, or seconds of the clock."""


class Later:
    """The figures of the steps that were not told yet, oldest first."""

    def __init__(self) -> None:
        self._waiting: deque[Figures] = deque()
        self._begun: Any = None

    def begin(self, cuda: bool) -> None:
        """A step begins, if none was under way: from here its seconds are counted."""
        self._begun = _now(cuda) if self._begun is None else self._begun

    def pause(self) -> None:
        """What comes now is no training, until a step begins."""
        self._begun = None

    def put(
        self, step: int, steps: int, epoch: float, rate: float, tokens: int, loss: Any, norm: Any
    ) -> None:
        norm = loss.new_full((), NO_NORM) if norm is None else torch.as_tensor(norm, device=loss.device)
        numbers = torch.stack([loss.detach().double(), norm.detach().double()])
        if loss.is_cuda:
            there = torch.empty(2, dtype=torch.float64, pin_memory=True)
            numbers = there.copy_(numbers, non_blocking=True)
        begun, self._begun = self._begun, _now(loss.is_cuda)
        self._waiting.append(Figures(step, steps, epoch, rate, tokens, numbers, begun, self._begun))

    def take(self, leave: int) -> list[dict[str, float]]:
        """As a trainer logs them, but for the newest `leave`; waits for those that are not there yet."""
        taken = []
        while len(self._waiting) > leave:
            one = self._waiting.popleft()
            if not isinstance(one.ready, float):
                one.ready.synchronize()
            loss, norm = one.numbers.tolist()
            told = {"loss": loss / one.steps, "learning_rate": one.rate, "num_tokens": one.tokens}
            told |= {"step": one.step, "epoch": one.epoch, "seconds": _between(one.begun, one.ready)}
            taken.append(told if norm == NO_NORM else told | {"grad_norm": norm})
        return taken


def _now(cuda: bool) -> Any:
    if not cuda:
        return time.monotonic()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _between(begun: Any, ready: Any) -> float:
    """Seconds; both moments are over."""
    return ready - begun if isinstance(ready, float) else begun.elapsed_time(ready) / 1000
