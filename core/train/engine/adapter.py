"""LoRA on a linear layer as two ops: what goes into the adapter, and the layer's output with it.

y = x W^T + s (x A^T) B^T (Hu et al. 2021, section 4). Written layer by layer, the small product makes a
second output as large as the first, and adding them reads and writes both; on a card that is a tenth of a
step. Here the small product is the start on which the large one is summed, in one pass, and the same
backward. An op is also what the dial can name: "keep this layer's output" (`core.train.engine.layers`).

Shapes: x (…, in), weight (out, in), a (rank, in), b (out, rank), low = s x A^T (tokens, rank), y (…, out).
What is computed has x's dtype; a and b may be fp32 and are rounded to it, as autocast would.
"""

from typing import Any

import torch
from torch import Tensor


@torch.library.custom_op("finetui::into_adapter", mutates_args=())
def into_adapter(x: Tensor, a: Tensor, scale: float) -> Tensor:
    return (_rows(x) @ a.to(x.dtype).t()).mul_(scale)


@into_adapter.register_fake
def _(x: Tensor, a: Tensor, scale: float) -> Tensor:
    return x.new_empty(x.numel() // x.shape[-1], a.shape[0])


@torch.library.custom_op("finetui::adapted", mutates_args=())
def adapted(
    x: Tensor, low: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float
) -> Tensor:
    up = b.to(x.dtype).t()
    y = low @ up if bias is None else torch.addmm(bias.to(x.dtype), low, up)
    y.addmm_(_rows(x), weight.t())
    return y.view(*x.shape[:-1], weight.shape[0])


@adapted.register_fake
def _(
    x: Tensor, low: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float
) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


@torch.library.custom_op("finetui::adapted_backward", mutates_args=())
def adapted_backward(
    grad: Tensor, x: Tensor, low: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    rows = _rows(grad)
    low_grad = (rows @ b.to(grad.dtype)).mul_(scale)
    x_grad = low_grad @ a.to(grad.dtype)
    x_grad.addmm_(rows, weight)
    a_grad = (low_grad.t() @ _rows(x)).to(a.dtype)
    b_grad = (rows.t() @ low).to(b.dtype)
    return x_grad.view(x.shape), a_grad, b_grad


@adapted_backward.register_fake
def _(
    grad: Tensor, x: Tensor, low: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), torch.empty_like(a), torch.empty_like(b)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, low, weight, _, a, b, scale = inputs
    ctx.save_for_backward(x, low, weight, a, b)
    ctx.scale = scale


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, low, weight, a, b = ctx.saved_tensors
    # the gradient of `low` is in that of x and a already: `low` was made of them
    x_grad, a_grad, b_grad = adapted_backward(grad.contiguous(), x, low, weight, a, b, ctx.scale)
    return x_grad, None, None, None, a_grad, b_grad, None


adapted.register_autograd(_backward, setup_context=_keep)


@torch.library.custom_op("finetui::dequantised", mutates_args=())
def dequantised(packed: Tensor, state: list[Tensor], shape: list[int], blocks: list[int]) -> Tensor:
    """The weight (out, in) of NF4 in `packed`, whose scales are 8 bit themselves.

    `state`: scales, their offset, the scales' scales, their code, and an empty tensor of the dtype to come.
    `blocks`: weights a scale, and scales a scale of scales.
    """
    from bitsandbytes import functional

    scales, offset, outer, code, like = state
    nested = functional.QuantState(absmax=outer, code=code, blocksize=blocks[1], dtype=torch.float32)
    told = functional.QuantState(
        absmax=scales,
        shape=torch.Size(shape),
        code=None,
        blocksize=blocks[0],
        quant_type="nf4",
        dtype=like.dtype,
        offset=offset,
        state2=nested,
    )
    return functional.dequantize_4bit(packed, told)


@dequantised.register_fake
def _(packed: Tensor, state: list[Tensor], shape: list[int], blocks: list[int]) -> Tensor:
    return state[-1].new_empty(shape)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """y, with gradients for x, a and b; weight and bias are frozen."""
    low = into_adapter(x.detach(), a.detach(), scale)
    return adapted(x, low, weight, bias, a, b, scale)


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])
