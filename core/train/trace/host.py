"""The host's memory as a step without numbers sees it: what would wait there, and what is back."""

from typing import Any

import torch
from torch import Tensor

from core.train.engine.host import Host, Parked, _memory


class Waiting(Host):
    """As `Host`, by the same rules; what is moved is counted and not copied."""

    def __init__(self, weights: Any, widest: int):
        super().__init__((), widest, cuda=False)
        self._frozen = {one.untyped_storage()._cdata for one in weights}
        self.most = 0

    @property
    def bytes(self) -> int:
        """Of the host, at the end of the fullest pass."""
        return self.most

    def pack(self, tensor: Tensor) -> Tensor | Parked:
        size = tensor.numel() * tensor.element_size()
        known = tensor.untyped_storage()._cdata in self._frozen
        if known or not self._least <= size <= self._most or _memory(tensor) is None:
            return tensor
        parked = Parked(len(self._parked), torch.empty(0), tensor.shape, tensor.stride())
        parked.arrived = tensor.dtype
        self._parked.append(parked)
        self._used += -(-size // 512) * 512
        self.most = max(self.most, self._used)
        return parked

    def _fetch(self, parked: Parked) -> None:
        if parked.there is not None and parked.back is None:
            parked.back = torch.empty_strided(parked.size, parked.stride, dtype=parked.arrived)
