"""Two voices from one set of weights: whose forward pass it is, and the adapter on or off for it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from core.chat.talk import Side

PASSES = 4
"""Passes that a side may take while the other waits: switching the adapter of 32 layers takes 10 ms."""


class Turns:
    """Lets answers of both sides stream at once from one model with an adapter.

    Every forward pass waits for its turn, and switches the adapter on for "tuned" and off for "base"
    where the last pass was the other's. Switching costs no memory.
    """

    def __init__(self, peft_model: Any):
        self._peft = peft_model
        self._side: Side = "tuned"
        """Whose adapter state the model is in."""
        self._streak = 0
        self._busy = False
        self._speakers: Counter[Side] = Counter()
        self._waiting: Counter[Side] = Counter()
        self._mine = threading.local()
        self._change = threading.Condition()
        inner = peft_model.get_base_model()
        inner.register_forward_pre_hook(self._take)
        inner.register_forward_hook(self._give, always_call=True)

    @contextmanager
    def speaking(self, side: Side) -> Iterator[None]:
        """Forward passes of this thread are `side`'s until it ends."""
        self._mine.side = side
        with self._change:
            self._speakers[side] += 1
        try:
            yield
        finally:
            with self._change:
                self._speakers[side] -= 1
                self._change.notify_all()

    def reset(self) -> None:
        """The adapter was switched on from outside; nobody is speaking."""
        self._side, self._streak = "tuned", 0

    def _may(self, side: Side) -> bool:
        if self._busy:
            return False
        if side == self._side:
            other: Side = "base" if side == "tuned" else "tuned"
            return self._streak < PASSES or not self._waiting[other]
        return self._streak >= PASSES or not self._speakers[self._side]

    def _take(self, *_: Any) -> None:
        side: Side = self._mine.side
        with self._change:
            self._waiting[side] += 1
            self._change.wait_for(lambda: self._may(side))
            self._waiting[side] -= 1
            self._busy = True
        if side != self._side:
            if side == "tuned":
                self._peft.base_model.enable_adapter_layers()
            else:
                self._peft.base_model.disable_adapter_layers()
            self._side, self._streak = side, 0
        self._streak += 1

    def _give(self, *_: Any) -> None:
        with self._change:
            self._busy = False
            self._change.notify_all()
