"""Tensors that wait for the backward pass in the host's memory: copied out and back beside the computing.

As a hook on what autograd saves. A tensor leaves on one stream as soon as it is made and comes back on
another before its layer is reached: when a layer's tensors are wanted, the next layer's are already on their
way. The host's memory is page-locked once, in slabs, and used again by every pass.

What has left is the allocator's again only when its copy is done, and the host starts work long before that.
So it waits at each layer for all but the last `AHEAD` bytes: else torch's pool would grow by much of what
moving tensors was meant to save, and under a full card the allocator would wait for everything.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SLAB = 2**30
"""Bytes page-locked at a time; a power of two, since torch rounds up to one."""
SMALL = 8
"""Tensors under this fraction of the layer's input stay: moving them saves nothing."""
AHEAD = 2**29
"""Bytes of layers that may be on their way while the host goes on; one layer's always may."""


@dataclass
class Parked:
    """A tensor in the host's memory."""

    place: int
    there: Tensor | None
    size: torch.Size
    stride: tuple[int, ...]
    back: Tensor | None = None
    arrived: Any = None


class Near:
    """Holds the host back, so that at most so many bytes are on their way."""

    def __init__(self, ahead: int):
        self._ahead = ahead
        self._marks: deque[tuple[Any, int]] = deque()

    def reached(self, mark: Any, size: int) -> None:
        """`mark`: a CUDA event behind all that was started so far, `size` bytes of it since the last one."""
        self._marks.append((mark, size))
        while len(self._marks) > 1 and sum(size for _, size in self._marks) > self._ahead:
            self._marks.popleft()[0].synchronize()


class Host:
    """Hooks for `torch.autograd.graph.saved_tensors_hooks`; one for all layers of a model."""

    def __init__(self, weights: Iterable[Tensor], widest: int, cuda: bool = True):
        """`weights` are never moved, nor is what has more than `widest` features a token.

        Without `cuda` the same is done with plain memory, one thing after the other: for tests.
        """
        self._widest, self._cuda = widest, cuda
        self._weights = {one.data_ptr() for one in weights}
        self._slabs: list[Tensor] = []
        self._used = 0
        self._parked: list[Parked] = []
        self._layers: list[int] = []
        """Where each layer's tensors begin in `_parked`."""
        self._least = self._most = 0
        self._near = Near(AHEAD)
        self._moved = 0
        """Bytes that were sent on their way since the last mark."""
        self._at = -1
        """The layer whose tensors are wanted, in a backward pass."""
        self._out: Any = None
        self._in: Any = None

    @property
    def bytes(self) -> int:
        """Host memory taken so far."""
        return len(self._slabs) * SLAB

    def layer(self, hidden: Tensor, first: bool) -> Any:
        """A context in which the layer whose input is `hidden` runs forward; the `first` begins a pass."""
        if self._cuda and self._out is None:
            self._out, self._in = torch.cuda.Stream(), torch.cuda.Stream()
        if first and self._parked:  # of a pass that never went backward, as when memory ran out in it
            self._all_back()
        self._stay_near(self._out)
        size = hidden.numel() * hidden.element_size()
        self._least, self._most = size // SMALL, size * self._widest // hidden.shape[-1]
        self._layers.append(len(self._parked))
        return torch.autograd.graph.saved_tensors_hooks(self.pack, self.unpack)

    def pack(self, tensor: Tensor) -> Tensor | Parked:
        size = tensor.numel() * tensor.element_size()
        if not self._least <= size <= self._most or tensor.data_ptr() in self._weights:
            return tensor
        flat = _memory(tensor)
        if flat is None or tensor.is_cuda is not self._cuda:
            return tensor
        there = self._room(size).view(tensor.dtype)[: flat.numel()]
        if self._cuda:
            self._out.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._out):
                there.copy_(flat, non_blocking=True)
            tensor.record_stream(self._out)
        else:
            there.copy_(flat)
        self._moved += size
        parked = Parked(len(self._parked), there, tensor.shape, tensor.stride())
        self._parked.append(parked)
        return parked

    def unpack(self, held: Tensor | Parked) -> Tensor:
        if isinstance(held, Tensor):
            return held
        if self._parked:  # else all are on their way already
            self._want(held.place)
        tensor, held.back, held.there = held.back, None, None
        assert tensor is not None, "autograd asks for a tensor once"
        if self._cuda:
            now = torch.cuda.current_stream()
            now.wait_event(held.arrived)
            tensor.record_stream(now)
        if held.place == 0:
            self._all_back()
        return tensor

    def _want(self, place: int) -> None:
        """Where the layer is another one now: fetches all of it, then of the layer before."""
        layer = bisect_right(self._layers, place) - 1
        if layer == self._at:
            return
        self._at = layer
        self._stay_near(torch.cuda.current_stream() if self._cuda else None)
        begins = [*self._layers, len(self._parked)]
        for one in (layer, max(0, layer - 1)):
            for other in self._parked[begins[one] : begins[one + 1]]:
                self._fetch(other)

    def _stay_near(self, stream: Any) -> None:
        """Waits where the host is too far ahead of what this stream does."""
        if self._cuda:
            mark = torch.cuda.Event()
            mark.record(stream)
            self._near.reached(mark, self._moved)
        self._moved = 0

    def _fetch(self, parked: Parked) -> None:
        if parked.there is None or parked.back is not None:
            return
        if self._cuda:
            self._in.wait_stream(self._out)
            with torch.cuda.stream(self._in):
                flat = parked.there.to("cuda", non_blocking=True)
                parked.arrived = torch.cuda.Event()
                parked.arrived.record()
        else:
            flat = parked.there.clone()
        parked.back = flat.as_strided(parked.size, parked.stride)
        self._moved += flat.numel() * flat.element_size()

    def _room(self, size: int) -> Tensor:
        """So many bytes of page-locked memory, as uint8."""
        size = -(-size // 512) * 512
        if size > SLAB:
            return torch.empty(size, dtype=torch.uint8, pin_memory=self._cuda)
        begin = self._used
        if begin % SLAB + size > SLAB:
            begin += SLAB - begin % SLAB
        if begin // SLAB >= len(self._slabs):
            self._slabs.append(torch.empty(SLAB, dtype=torch.uint8, pin_memory=self._cuda))
        self._used = begin + size
        return self._slabs[begin // SLAB][begin % SLAB : begin % SLAB + size]

    def _all_back(self) -> None:
        """The pass is over: its room is used again, but not before what is read from it has been read."""
        if self._cuda:
            self._out.wait_stream(self._in)
        self._parked.clear()
        self._layers.clear()
        self._used, self._at = 0, -1


def _memory(tensor: Tensor) -> Tensor | None:
    """The tensor's own memory as one line; None where it has gaps or is seen twice."""
    order = sorted(range(tensor.dim()), key=lambda axis: -tensor.stride(axis))
    line = tensor.permute(order)
    return line.reshape(-1) if line.is_contiguous() else None
