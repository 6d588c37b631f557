"""LoRA on a linear layer as two ops: what goes into the adapter, and the layer's output with it.

y = x W^T + s (x A^T) B^T (Hu et al. 2021, section 4). Written layer by layer, the small product makes a
second output as large as the first, and adding them reads and writes both; on a card that is a tenth of a
step. Here the small product is the start on which the large one is summed, in one pass, and the same
backward. An op is also what the dial can name: "keep this layer's output" (`core.train.engine.layers`).

Shapes: x (…, in), weight (out, in), a (rank, in), b (out, rank), low = s x A^T (tokens, rank), y (…, out).
All have one dtype. The adapter that learns may be fp32; then a and b are its rounded copies, and it gets its
gradients in fp32.
"""

from typing import Any

import torch
from torch import Tensor

LIBRARY = torch.library.Library("finetui", "FRAGMENT")
LIBRARY.define("into_adapter(Tensor x, Tensor a, float scale) -> Tensor")
LIBRARY.define("adapted(Tensor x, Tensor low, Tensor weight, Tensor? bias, Tensor b) -> Tensor")
LIBRARY.define(
    "adapted_backward(Tensor grad, Tensor x, Tensor low, Tensor weight, Tensor a, Tensor b, float scale, "
    "ScalarType learned) -> (Tensor, Tensor, Tensor)"
)
LIBRARY.define("dequantised(Tensor packed, Tensor[] state, int[] shape, int[] blocks) -> Tensor")
"""Plain definitions: those of `torch.library.custom_op` check each call for what these do not do."""


def into_adapter(x: Tensor, a: Tensor, scale: float) -> Tensor:
    return _product(_rows(x), a.t(), scale)


def adapted(x: Tensor, low: Tensor, weight: Tensor, bias: Tensor | None, b: Tensor) -> Tensor:
    y = low @ b.t() if bias is None else torch.addmm(bias.to(x.dtype), low, b.t())
    y.addmm_(_rows(x), weight.t())
    return y.view(*x.shape[:-1], weight.shape[0])


def adapted_backward(
    grad: Tensor, x: Tensor, low: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float, learned: Any
) -> tuple[Tensor, Tensor, Tensor]:
    rows = _rows(grad)
    low_grad = _product(rows, b, scale)
    x_grad = low_grad @ a
    x_grad.addmm_(rows, weight)
    a_grad = _learned(low_grad.t(), _rows(x), learned)
    b_grad = _learned(rows.t(), low, learned)
    return x_grad.view(x.shape), a_grad, b_grad


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


for op in (into_adapter, adapted, adapted_backward, dequantised):
    LIBRARY.impl(op.__name__, op, "CompositeExplicitAutograd")


@torch.library.register_fake("finetui::into_adapter")
def _(x: Tensor, a: Tensor, scale: float) -> Tensor:
    return x.new_empty(x.numel() // x.shape[-1], a.shape[0])


@torch.library.register_fake("finetui::adapted")
def _(x: Tensor, low: Tensor, weight: Tensor, bias: Tensor | None, b: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


@torch.library.register_fake("finetui::adapted_backward")
def _(
    grad: Tensor, x: Tensor, low: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float, learned: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), a.new_empty(a.shape, dtype=learned), b.new_empty(b.shape, dtype=learned)


@torch.library.register_fake("finetui::dequantised")
def _(packed: Tensor, state: list[Tensor], shape: list[int], blocks: list[int]) -> Tensor:
    return state[-1].new_empty(shape)


class _Linear(torch.autograd.Function):
    """Of x and of the adapter's own a and b (`learns_a`, `learns_b`) there are gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        low: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        learns_a: Tensor,
        learns_b: Tensor,
        scale: float,
    ) -> Tensor:
        ctx.save_for_backward(x, low, weight, a, b)
        ctx.scale, ctx.learned = scale, learns_a.dtype
        return torch.ops.finetui.adapted(x, low, weight, bias, b)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, low, weight, a, b = ctx.saved_tensors
        # the gradient of `low` is in that of x and of the adapter: `low` was made of them
        x_grad, a_grad, b_grad = torch.ops.finetui.adapted_backward(
            grad.contiguous(), x, low, weight, a, b, ctx.scale, ctx.learned
        )
        return x_grad, None, None, None, None, None, a_grad, b_grad, None


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    rounded: tuple[Tensor, Tensor],
    learns: tuple[Tensor, Tensor],
    scale: float,
) -> Tensor:
    """y, with gradients for x and the adapter (a, b) that `learns`; weight and bias are frozen."""
    low = torch.ops.finetui.into_adapter(x.detach(), rounded[0], scale)
    return _Linear.apply(x, low, weight, bias, *rounded, *learns, scale)


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def _product(left: Tensor, right: Tensor, scale: float) -> Tensor:
    """scale x left @ right, in one kernel."""
    return torch.addmm(left.new_empty(()), left, right, beta=0, alpha=scale)


def _learned(left: Tensor, right: Tensor, dtype: Any) -> Tensor:
    if left.is_cuda and dtype is torch.float32 and left.dtype is not dtype:
        return torch.mm(left, right, out_dtype=dtype)
    return (left @ right).to(dtype)
