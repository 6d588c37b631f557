"""Counts the bytes that are alive while a model runs on tensors without numbers."""

import weakref
from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_iter

from core.train.trace.card import workspace

BLOCK = 512
"""Bytes that CUDA's allocator rounds up to."""


class Live(FakeTensorMode):
    """Under it tensors have no numbers, and while `counting` each memory is counted until nobody has it.

    Every memory has a label: that which was current when it was made, or a later one (`is_now`).
    """

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.counting = False
        self.label = "kept"
        self.now: Counter[str] = Counter()
        self.most = 0
        self.at_most: dict[str, int] = {}
        """Bytes by label when there were most."""
        self._sizes: dict[int, tuple[int, str]] = {}
        self._summed: Tensor | None = None
        """Of two gradients of one tensor. Torch sums real ones in the place of the first, and not these: it
        is counted when they are gone."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._summed is not None:
            self.add(self._summed, self.label)
            self._summed = None
            self.look()
        made = super().__torch_dispatch__(function, types, args, kwargs)
        if self.counting and _sums_gradients(function, args):
            self._summed = made
        elif self.counting:
            for one in tree_iter(made):
                if isinstance(one, Tensor):
                    self.add(one, self.label)
            self.look(workspace(function, args))
        return made

    def add(self, tensor: Tensor, label: str) -> None:
        """Counts the tensor's memory, if it is not yet."""
        storage = tensor.untyped_storage()
        if storage._cdata in self._sizes:
            return
        size = -(-storage.nbytes() // BLOCK) * BLOCK
        self._sizes[storage._cdata] = size, label
        self.now[label] += size
        weakref.finalize(storage, self._drop, storage._cdata).atexit = False

    def name(self, tensor: Tensor) -> int | None:
        """What names the tensor's memory while it is counted; None: it is not."""
        key: int = tensor.untyped_storage()._cdata
        return key if key in self._sizes else None

    def has(self, name: int) -> bool:
        """Whether that memory is still alive."""
        return name in self._sizes

    def is_now(self, tensors: Iterable[Tensor | None], label: str) -> None:
        """From here on these tensors' memory has this label; what was not counted is."""
        for one in tensors:
            if one is None:
                continue
            self.add(one, label)
            key = one.untyped_storage()._cdata
            size, before = self._sizes[key]
            self.now[before] -= size
            self.now[label] += size
            self._sizes[key] = size, label

    def look(self, more: int = 0, label: str = "live") -> None:
        """Notes the highest mark; `more` bytes are there only for a moment."""
        total = sum(self.now.values()) + more
        if total > self.most:
            self.most = total
            self.at_most = dict(self.now)
            self.at_most[label] = self.at_most.get(label, 0) + more

    def afresh(self) -> None:
        """Forgets the highest mark."""
        self.most, self.at_most = 0, {}
        self.look()

    def _drop(self, key: int) -> None:
        size, label = self._sizes.pop(key, (0, ""))
        self.now[label] -= size


def _sums_gradients(function: Any, args: Any) -> bool:
    """Whether torch's autograd adds what came to one tensor by two ways."""
    if function is not torch.ops.aten.add.Tensor or torch.is_grad_enabled() or len(args) != 2:
        return False
    if torch._C._current_autograd_node() is None:
        return False
    one, other = args
    return isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape


def replaced(module: torch.nn.Module, mode: Live) -> None:
    """Puts tensors of `mode` in the place of those on the meta device, in the module and in its children."""
    known: dict[int, Tensor] = {}

    def fake(one: Tensor) -> Tensor:
        if id(one) not in known:
            with mode:
                made = torch.empty(one.shape, dtype=one.dtype)
            if isinstance(one, torch.nn.Parameter):
                made = torch.nn.Parameter(made, requires_grad=one.requires_grad)
            known[id(one)] = made
        return known[id(one)]

    for one in module.modules():
        for held in (one._parameters, one._buffers):
            for name, tensor in list(held.items()):
                if tensor is not None:
                    held[name] = fake(tensor)
