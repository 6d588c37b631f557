"""Two voices from one set of weights: whose forward pass it is, and the adapter on or off for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from core.chat.talk import Side


class Turns:
    """Lets answers of both sides stream at once from one model with an adapter.

    Every forward pass waits for its turn, first come first served, and switches the adapter on for
    "tuned" and off for "base" where the last pass was the other's. Switching costs no memory.
    """

    def __init__(self, peft_model: Any):
        self._peft = peft_model
        self._side: Side = "tuned"
        self._mine = threading.local()
        self._waiting: deque[object] = deque()
        self._change = threading.Condition()
        inner = peft_model.get_base_model()
        inner.register_forward_pre_hook(self._take)
        inner.register_forward_hook(self._give, always_call=True)

    @contextmanager
    def speaking(self, side: Side) -> Iterator[None]:
        """Forward passes of this thread are `side`'s until it ends."""
        self._mine.side = side
        try:
            yield
        finally:
            self._mine.side = "tuned"

    def reset(self) -> None:
        """The adapter was switched on from outside; nobody is speaking."""
        self._side = "tuned"

    def _take(self, *_: Any) -> None:
        ticket = object()
        with self._change:
            self._waiting.append(ticket)
            self._change.wait_for(lambda: self._waiting[0] is ticket)
        side: Side = getattr(self._mine, "side", "tuned")
        if side != self._side:
            if side == "tuned":
                self._peft.base_model.enable_adapter_layers()
            else:
                self._peft.base_model.disable_adapter_layers()
            self._side = side

    def _give(self, *_: Any) -> None:
        with self._change:
            self._waiting.popleft()
            self._change.notify_all()
