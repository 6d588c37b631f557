"""A card that is not there: the kernels that it would choose, where a process without one takes others."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional

from core.train.engine import head

NEWEST = (9, 0)
"""Compute capability of a card that does not tell its own: it is taken to have all kernels."""
ALIGNED = 16
"""Rows of an attention's bias are padded to a multiple of so many numbers."""


BACKWARD = {"_varlen_attn_backward": 1, "_scaled_dot_product_flash_attention_backward": 1}
"""Attentions whose backward pass takes memory of its own, and at which place they are given the queries."""


def workspace(function: Any, args: Any) -> int:
    """Bytes that a kernel takes for itself while it runs.

    The backward pass of an attention sums the gradient of its queries in fp32 in blocks, with a sum a row,
    and where several queries share a key makes the gradients of keys and values once a query first (Dao 2023,
    FlashAttention-2, 3.1.2, and its code in torch).
    """
    place = BACKWARD.get(function._schema.name.split("::")[-1])
    if place is None:
        return 0
    query, key = args[place], args[place + 1]
    width, numbers = int(query.shape[-1]), int(query.numel())
    summed = 4 * (numbers // width) * (-(-width // 32) * 32 + 1)
    spread = 0 if query.numel() == key.numel() else 2 * query.element_size() * numbers
    return summed + spread


@contextmanager
def here(capability: Sequence[int]) -> Iterator[None]:
    """Torch says that it sees a card; only for questions, nothing can be computed on it."""
    found = tuple(capability)
    with (
        mock.patch.object(torch.cuda, "is_available", lambda: True),
        mock.patch.object(torch.cuda, "get_device_capability", lambda *_: found),
    ):
        yield


@contextmanager
def kernels() -> Iterator[None]:
    """While it is open: attention as a card's kernels do it, and products that are summed in one kernel."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(functional, "scaled_dot_product_attention", attention))
        stack.enter_context(mock.patch.object(head, "_add_product", _summed))
        stack.enter_context(mock.patch.object(functional, "layer_norm", _wide_norm(functional.layer_norm)))
        yield


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """torch's attention: the kernel without a mask, which takes fewer keys than queries as they are, or the
    one with a mask as numbers, which does not."""
    if attn_mask is None:
        found = torch.ops.aten._scaled_dot_product_flash_attention.default(
            query, key, value, dropout_p, is_causal, False, scale=scale
        )
        return found[0]
    if enable_gqa and key.shape[1] != query.shape[1]:
        times = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(times, 1), value.repeat_interleave(times, 1)
    bias = attn_mask
    if bias.dtype == torch.bool:
        bias = torch.where(bias, 0.0, float("-inf")).to(query.dtype)
    if bias.shape[-1] % ALIGNED:
        bias = functional.pad(bias, (0, -bias.shape[-1] % ALIGNED))[..., : bias.shape[-1]]
    bias = bias.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    found = torch.ops.aten._scaled_dot_product_efficient_attention.default(
        query, key, value, bias, torch.is_grad_enabled(), dropout_p, is_causal, scale=scale
    )
    return found[0]


def _summed(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right: one kernel, without copies of the factors."""
    total.add_(0)


def _wide_norm(norm: Any) -> Any:
    """Autocast on a card takes these norms in fp32, and on a CPU it does not."""

    def layer_norm(x: Tensor, size: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            x, weight, bias = (one if one is None else one.float() for one in (x, weight, bias))
        return norm(x, size, weight, bias, eps)

    return layer_norm
