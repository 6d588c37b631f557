"""All layers of a pass as two graphs of the card's work, one forward and one backward, started at once.

A small model, or a step of few tokens, leaves a quick card waiting: the host starts each kernel by itself,
and that takes longer than the kernel. A CUDA graph is recorded once for passes of one shape and then started
as a whole (`torch.cuda.make_graphed_callables`). It replays what was recorded, bit by bit the same work, on
the same addresses: so what goes in is copied to where it was then, weights and adapters must stay where they
are, and all passes of one shape have the same borders in number.

What a graph's layers hold stands in a pool of its own from its recording on. So at its fullest a pass has
that pool and the loss side by side, where without graphs one comes after the other.
"""

import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
from torch.utils._pytree import tree_flatten, tree_unflatten

GIVES_UP = (TorchDynamoException, FailOnRecompileLimitHit)
"""What the compiler raises where it makes nothing of a layer."""
MOST = 12
"""Shapes that are recorded; passes of others go kernel by kernel."""
WARM = 2
"""Passes before a recording, on the same side stream: torch wants some."""

ROOM = 2.2
"""Times what a pass takes that must be free for its recording: once for the passes before it, once for its
own pool, and some."""

Call = Callable[..., Any]


class Stack(nn.Module):
    """The layers one after the other, as a module of what learns in them: a graph gives gradients of that."""

    def __init__(self, calls: Sequence[Call], learned: Sequence[nn.Parameter], inputs: "Inputs"):
        super().__init__()
        self.learned = nn.ParameterList(learned)
        self._calls, self._inputs = calls, inputs

    def forward(self, hidden: Tensor, *others: Tensor) -> Tensor:
        for place, call in enumerate(self._calls):
            args, kwargs = self._inputs.of(place, others)
            hidden = call(hidden, *args, **kwargs)
        return hidden

    def forget(self) -> None:
        """Once recorded, nothing of the pass it was recorded with is wanted."""
        self._calls, self._inputs = [], Inputs([])


class Inputs:
    """What the layers are given beside the hidden states: each tensor once, and all else as it is."""

    def __init__(self, given: Sequence[Any]):
        leaves, self._form = tree_flatten(list(given))
        at: dict[int, int] = {}
        self.tensors: list[Tensor] = []
        self._leaves: list[Any] = []
        for leaf in leaves:
            if isinstance(leaf, Tensor):
                if id(leaf) not in at:
                    at[id(leaf)] = len(self.tensors)
                    self.tensors.append(leaf)
                self._leaves.append((True, at[id(leaf)]))
            else:
                self._leaves.append((False, leaf))
        self._placed: tuple[tuple[int, ...], list[Any]] | None = None

    def key(self, hidden: Tensor) -> Any:
        """The same for passes that one recording serves."""
        sizes = tuple((one.shape, one.dtype, one.stride()) for one in (hidden, *self.tensors))
        return sizes, repr(self._leaves), str(self._form)

    def of(self, place: int, tensors: Sequence[Tensor]) -> Any:
        """(args, kwargs) of the layer, with these tensors."""
        seen = tuple(map(id, tensors))
        if self._placed is None or self._placed[0] != seen:
            leaves = [tensors[one] if is_tensor else one for is_tensor, one in self._leaves]
            self._placed = (seen, tree_unflatten(leaves, self._form))
        return self._placed[1][place]


class Graphs:
    """Stands between a model and its layers: takes their calls, and does them together at the last one."""

    def __init__(self, learned: Sequence[nn.Parameter], dtype: torch.dtype):
        """`learned`: the weights of the layers that learn; `dtype`: what is computed in (autocast)."""
        self.on = False
        self.recording = False
        self.bytes = 0
        """Of the pool, those that torch does not count as allocated: they are free between recordings."""
        self.token_bytes = 0.0
        """What a pass takes for each of its tokens, as far as it was seen."""
        self._peak = 0
        self._learned, self._dtype = list(learned), dtype
        self._calls: list[Call] = []
        self._given: list[Any] = []
        self._first: Tensor | None = None
        self._recorded: dict[Any, Call] = {}
        self._pool: Any = None
        self._owned = False

    def layer(self, call: Call) -> Call:
        """What is to be called in place of a layer's forward pass; layers must be given in order."""
        place = len(self._calls)
        self._calls.append(call)

        def taken(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
            if not self.on:
                return call(hidden, *args, **kwargs)
            if place == 0:
                self._given, self._first = [], hidden
            self._given.append((args, kwargs))
            return self._all() if place == len(self._calls) - 1 else hidden

        return taken

    def _all(self) -> Tensor:
        hidden, inputs = self._first, Inputs(self._given)
        assert hidden is not None, "the first layer comes first"
        self._first, self._given = None, []
        ends = [one.data_ptr() for one in (*self._learned[:1], *self._learned[-1:])]
        key = (inputs.key(hidden), *ends)  # what is recorded knows the weights by their places
        if key not in self._recorded and len(self._recorded) < MOST and self.has_room(hidden):
            try:
                self.recording = True
                self._recorded[key] = self._record(hidden, inputs)
            except (RuntimeError, *GIVES_UP):  # out of memory is a RuntimeError too
                if not self._recorded:
                    raise
                traceback.print_exc()
                self.drop()
            finally:
                self.recording = False
        if key not in self._recorded:
            return Stack(self._calls, [], inputs)(hidden, *inputs.tensors)
        self._own()
        return self._recorded[key](hidden, *inputs.tensors)

    def has_room(self, hidden: Tensor) -> bool:
        """Whether a pass with this hidden state, (lines, tokens, width), could be recorded now."""
        return ROOM * self.token_bytes * hidden.shape[0] * hidden.shape[1] <= free_bytes()

    def _record(self, hidden: Tensor, inputs: Inputs) -> Call:
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        torch.cuda.empty_cache()
        self._peak = max(self._peak, torch.cuda.max_memory_allocated())
        before = _spare()
        places = [one.detach().clone() for one in (hidden, *inputs.tensors)]
        places[0].requires_grad_()
        stack = Stack(self._calls, self._learned, inputs)
        with torch.autocast("cuda", dtype=self._dtype, cache_enabled=False):
            graphed: Any = torch.cuda.make_graphed_callables(
                stack, tuple(places), num_warmup_iters=WARM, allow_unused_input=True, pool=self._pool
            )
        stack.forget()
        torch.cuda.empty_cache()
        self.bytes += max(0, _spare() - before)
        torch.cuda.reset_peak_memory_stats()  # what a recording takes for itself is in `bytes`
        return graphed

    def drop(self) -> None:
        """Passes go kernel by kernel again, and the pool is given back."""
        self.on, self.bytes = False, 0
        self._recorded.clear()

    def peak(self) -> int:
        """Bytes of the card at the fullest moment since `begin`, the pool among them."""
        return max(self._peak, torch.cuda.max_memory_allocated()) + self.bytes

    def begin(self) -> None:
        self._peak = 0

    def _own(self) -> None:
        """Before a further pass of a step: the gradients so far leave the graph's memory, which is used anew.

        Autograd takes a first gradient as it is, without a copy, so after one pass it lies there.
        """
        there = [one for one in self._learned if one.grad is not None]
        if there and not self._owned:
            copies = torch._foreach_mul([one.grad for one in there], 1.0)
            for weight, copy in zip(there, copies, strict=True):
                weight.grad = copy
        self._owned = bool(there)


def free_bytes() -> int:
    """Of the card, what this process could have more than it has allocated: it may have been told to take
    less than there is, as where it stands for a smaller card (`core.train.measure`)."""
    if not torch.cuda.is_available():
        return sys.maxsize
    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    allowed = int(torch.cuda.get_per_process_memory_fraction() * total) - torch.cuda.memory_reserved()
    return max(0, min(int(torch.cuda.mem_get_info()[0]), allowed)) + _spare()


def _spare() -> int:
    """Bytes that the allocator has and does not count as allocated."""
    return int(torch.cuda.memory_reserved() - torch.cuda.memory_allocated())
