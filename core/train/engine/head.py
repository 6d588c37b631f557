"""The loss of the learned tokens, with its gradient made in the same pass; logits never stand whole.

A piece of the tokens at a time: logits, their softmax, and at once the gradient of the hidden states, so that
the largest matrix is not multiplied a second time on the way back (Hsu et al. 2024, Liger Kernel, 3.2, do the
same). Each piece takes the whole vocabulary, so sums over it are rounded once. The gradient of a head that
learns is summed in fp32 over the pieces.
"""

from typing import Any

import torch
from torch import Tensor

PIECE = {True: 2**29, False: 2**27}
"""Bytes of one piece's logits where the softmax is one kernel, and where fp32 copies come on top."""
MOST_TOKENS = 8192


CAPPED = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")


def is_plain(model: Any) -> bool:
    """Whether the model's logits are its last hidden states times its output weights, tried with 8 tokens.

    Some families scale, cap or mask them. A cap shows only where logits are large, so those known go by name.
    """
    head, config = model.get_output_embeddings(), model.config.get_text_config()
    if type(head) is not torch.nn.Linear or any(getattr(config, name, None) for name in CAPPED):
        return False
    ids = torch.arange(8, device=head.weight.device)[None] % head.weight.shape[0]
    training, dtype = model.training, head.weight.dtype
    model.eval()
    with torch.no_grad():
        hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        said, plain = model(input_ids=ids, use_cache=False).logits, head(hidden.to(dtype))
    model.train(training)
    return said.shape == plain.shape and torch.allclose(said.float(), plain.float(), rtol=1e-2, atol=1e-2)


class Head:
    """Sums the loss over tokens; its softmax is compiled where `compiled`."""

    def __init__(self, compiled: bool):
        self._piece = PIECE[compiled]
        self._soften: Any = torch.compile(_soften, dynamic=True) if compiled else _soften

    def uncompile(self) -> None:
        self._piece, self._soften = PIECE[False], _soften

    def __call__(
        self,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        at: Tensor,
        targets: Tensor,
        weights: Tensor | None,
        count: Tensor | float,
    ) -> Tensor:
        """Nats, as a scalar in fp32: sum of weights x -log p(target) / count.

        hidden (tokens, width); at (n,): the tokens after which a learned one comes; targets (n,): that one;
        weights (n,) or None.
        """
        shares = torch.ones_like(at, dtype=torch.float32) if weights is None else weights.float()
        how = (self._piece, self._soften, torch.is_grad_enabled())
        return _Summed.apply(hidden, weight, bias, at, targets, shares / count, *how)


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        at: Tensor,
        targets: Tensor,
        shares: Tensor,
        piece: int,
        soften: Any,
        learns: bool,
    ) -> Tensor:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
        learns_hidden, learns_weight, learns_bias = (learns and one for one in ctx.needs_input_grad[:3])
        table = weight.to(dtype)
        most = max(64, min(MOST_TOKENS, piece // (table.shape[0] * table.element_size())))
        total = hidden.new_zeros((), dtype=torch.float32)
        hidden_grad = torch.zeros_like(hidden) if learns_hidden else None
        weight_grad = torch.zeros_like(weight, dtype=torch.float32) if learns_weight else None
        bias_grad = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and learns_bias else None
        for begin in range(0, at.shape[0], most):
            places = at[begin : begin + most]
            rows = hidden.index_select(0, places).to(dtype)
            logits = rows @ table.t() if bias is None else torch.addmm(bias.to(dtype), rows, table.t())
            nats, logits = soften(logits, targets[begin : begin + most], shares[begin : begin + most])
            total += nats.sum()
            if hidden_grad is not None:
                hidden_grad.index_copy_(0, places, (logits @ table).to(hidden.dtype))
            if weight_grad is not None:
                _add_product(weight_grad, logits.t(), rows)
            if bias_grad is not None:
                bias_grad += logits.sum(0, dtype=torch.float32)
        ctx.save_for_backward(
            hidden_grad,
            None if weight_grad is None else weight_grad.to(weight.dtype),
            None if bias_grad is None or bias is None else bias_grad.to(bias.dtype),
        )
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grads = [None if one is None else one.mul_(grad.to(one.dtype)) for one in ctx.saved_tensors]
        return (*grads, None, None, None, None, None, None)


def _soften(logits: Tensor, targets: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """(-log p of the targets times their shares, its gradient for the logits in their dtype)."""
    wide = logits.float()
    most = wide.amax(-1, keepdim=True)
    total = (wide - most).exp().sum(-1, keepdim=True).log() + most
    hit = torch.arange(logits.shape[1], device=logits.device) == targets[:, None]
    grad = ((wide - total).exp() - hit.float()) * shares[:, None]
    nats = (total[:, 0] - wide.gather(1, targets[:, None])[:, 0]) * shares
    return nats, grad.to(logits.dtype)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right in fp32, whatever the factors are in."""
    if total.is_cuda and left.dtype != torch.float32:
        torch.addmm(total, left, right, out_dtype=torch.float32, out=total)
    else:
        total.addmm_(left.float(), right.float())
