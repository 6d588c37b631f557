"""bitsandbytes' AdamW of 8 bits with its update compiled, where that is quicker here and comes to the same.

All but the update of whole blocks is bitsandbytes' own: what is kept and in which form, which weights are
kept in 32 bits, what a checkpoint holds. bitsandbytes waits for the card after every weight; here nothing is
waited for.
"""

from __future__ import annotations

import gc
import time
import traceback
from typing import Any

import torch
from bitsandbytes.optim import AdamW
from torch import nn

from core.train.engine.moments import BLOCK, Kept, Told, told, update

QUICKER = 0.9
"""The compiled update stays where it takes at most this share of the other's time."""
SAME = 0.99
"""Of the places that must agree: a moment half-way between two values may go to either."""
NEAR = 2**-7
"""How far a weight may be from the other's, as a share of it: a rounding in bf16."""
SMALL = 4096
"""Weights of fewer numbers are kept in 32 bits."""
TRIED = (0.05, 2**28)
"""Weights that it is tried with: a share of all, and how many at most."""


class CompiledAdamW(AdamW):
    """As its base with 8 bits, not paged."""

    initialized: bool

    def __init__(self, groups: Any, backend: Any = "inductor") -> None:
        """`groups`: as the `param_groups` of any optimiser. `backend`: of torch.compile."""
        super().__init__(groups, optim_bits=8)
        # rows of a block keep their length, so that one kernel sees whole ones; their number is left open
        # once it has differed
        unsaid: Any = {"assert_indirect_indexing": False} if backend == "inductor" else None
        self._update = torch.compile(update, backend=backend, options=unsaid)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        if not self.initialized:
            self.check_overrides()
            self.to_gpu()
            self.initialized = True
        for place, group in enumerate(self.param_groups):
            known: dict[tuple[int, torch.device], Told] = {}
            for at, weight in enumerate(group["params"]):
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    self.init_state(group, weight, place, at)
                if not _whole(weight, state):
                    self.update_step(group, weight, place, at)
                    continue
                state["step"] += 1
                now = state["step"], weight.device
                if now not in known:
                    known[now] = told(group, *now)
                self._update(_kept(weight, state), (state["qmap1"], state["qmap2"]), known[now])


def _whole(weight: Any, state: dict[str, Any]) -> bool:
    """Whether it is kept in whole blocks of 8 bits that lie as they are counted."""
    in_order = weight.is_contiguous() and weight.grad.is_contiguous()
    return state["state1"].dtype == torch.uint8 and weight.numel() % BLOCK == 0 and in_order


def _kept(weight: Any, state: dict[str, Any]) -> Kept:
    return Kept(
        weight.data.view(-1, BLOCK),
        weight.grad.view(-1, BLOCK),
        (state["state1"].view(-1, BLOCK), state["state2"].view(-1, BLOCK)),
        (state["absmax1"], state["absmax2"]),
    )


def quicken(tuner: Any) -> str:
    """Gives the trainer the compiled update if it is the better one here; says what was found.

    It takes bytes for a moment, about twelve a weight that is tried with.
    """
    tuner.create_optimizer()
    if not tried_with(tuner.model):
        return "not compiled: no weight is large enough"
    try:
        better, said = _compared(tuner.model)
    except torch.OutOfMemoryError:
        better, said = False, "there was no memory to try it"
    except Exception as error:
        traceback.print_exc()
        better, said = False, f"that failed ({(str(error).splitlines() or [type(error).__name__])[0][:160]})"
    gc.collect()  # what was tried stands in no one's account
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if better:
        tuner.optimizer = CompiledAdamW(tuner.optimizer.param_groups)
    return f"{'compiled' if better else 'not compiled'}: {said}"


def _compared(model: nn.Module) -> tuple[bool, str]:
    """Whether the compiled update is the better one, and what was seen."""
    (theirs, slow), (ours, quick) = (_tried(make, model) for make in (_plain, CompiledAdamW))
    if differs := _differs(theirs, ours):
        return False, f"it came to {differs}"
    count = sum(weight.numel() for weight in ours.state) / 1e6
    took = f"{1000 * quick:.1f} ms for {count:.0f} M weights, {1000 * slow:.1f} by bitsandbytes' kernel"
    return quick <= QUICKER * slow, took


def _plain(groups: Any) -> AdamW:
    return AdamW(groups, optim_bits=8)


def _tried(make: Any, model: nn.Module) -> tuple[AdamW, float]:
    """An optimiser after some steps on copies of some weights, and the seconds of its quickest step."""
    random = torch.Generator().manual_seed(0)
    copies = []
    for weight in tried_with(model):
        copy = nn.Parameter(weight.detach().clone())
        spread = torch.randn(BLOCK, generator=random).to(weight)
        copy.grad = spread.repeat(weight.numel() // BLOCK).view_as(weight) * weight.detach()
        copies.append(copy)
    optimizer, seconds = make([{"params": copies, "lr": 1e-4, "weight_decay": 0.01}]), []
    for _ in range(4):
        _wait()
        begun = time.perf_counter()
        optimizer.step()
        _wait()
        seconds.append(time.perf_counter() - begun)
    return optimizer, min(seconds[1:])


def tried_with(model: nn.Module) -> list[nn.Parameter]:
    """Weights that learn, from the first layer on; embeddings are kept in 32 bits."""
    seldom = {id(one.weight) for one in model.modules() if isinstance(one, nn.Embedding)}
    learned = [one for one in model.parameters() if one.requires_grad]
    most = min(TRIED[0] * sum(one.numel() for one in learned), TRIED[1])
    found: list[nn.Parameter] = []
    for one in learned:
        if id(one) in seldom or one.numel() % BLOCK or one.numel() < SMALL:
            continue
        if found and sum(other.numel() for other in found) + one.numel() > most:
            break
        found.append(one)
    return found


def _differs(theirs: AdamW, ours: AdamW) -> str:
    """In what two optimisers came to different ends, or nothing."""
    for one, other in zip(theirs.param_groups[0]["params"], ours.param_groups[0]["params"], strict=True):
        far = (one.float() - other.float()).abs() > NEAR * one.float().abs() + 1e-6
        if far.float().mean() > 1 - SAME:
            return "other weights"
        for name in ("state1", "state2"):
            kept, made = theirs.state[one][name], ours.state[other][name]
            if kept.dtype == torch.uint8 and (kept != made).float().mean() > 1 - SAME:
                return "other moments"
    return ""


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
