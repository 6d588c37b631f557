"""Attention over rows that lie end to end on one line and do not see each other; no mask is made.

Three kinds (`core.train.batches.Layout`):

- `lines`: all rows of a pass on one line, nothing is padding; torch's own kernels for many lengths
  (`torch.nn.attention.varlen`).
- `rows`: rows of nearly one length side by side, padded at the right. Causal attention never looks to the
  right, so that padding needs no mask either, and the quickest kernels can be used.
- `blocks`: a mask for each pass, for models whose attention is not plain (soft caps, sinks), other number
  formats, older cards and the CPU.
"""

from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from core.plan.scores import writes_scores
from core.plan.work import WIDEST_HEAD

NAME = "finetui"
"""Under which transformers knows the attention of this module."""
CAPABILITY = (8, 0)
HANDING_ON = {"conv", "linear_attention", "hybrid", "hybrid_sliding"}
"""Kinds of layers, as transformers names them, that no border between rows is told to."""


def takes_lines(model: Any, dtype: torch.dtype) -> tuple[bool, str]:
    """Whether `lines` can be used on this card for this model, and if not, why."""
    config = model.config.get_text_config()
    if not torch.cuda.is_available() or torch.cuda.get_device_capability() < CAPABILITY:
        return False, "it needs a card of compute capability 8.0"
    if dtype not in (torch.bfloat16, torch.float16):
        return False, "its kernels take bf16 and fp16 alone"
    odd = [name for name in ("attn_logit_softcapping", "attention_sink") if getattr(config, name, None)]
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    if odd or writes_scores(config.model_type):
        return False, f"the attention of {config.model_type} is not a plain one"
    handing_on = set(getattr(config, "layer_types", None) or ()) & HANDING_ON
    if handing_on:
        return False, f"its layers of kind {min(handing_on)} hand on what they read from row to row"
    if width > WIDEST_HEAD or width % 8:
        return False, f"heads {width} wide are not among those of its kernels"
    if not getattr(model, "_supports_sdpa", True) or config._attn_implementation not in ("sdpa", NAME):
        return False, f"the attention of {config.model_type} is its own"
    return True, ""


def use(model: Any) -> None:
    """Lets the model's attention be computed here. Passes without borders are computed as before."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """(lines, tokens, heads, width) of queries (lines, heads, tokens, width), as transformers wants it.

    `cu_seq_lens_q`: int32, where each row of the one line begins, and where the last ends.
    """
    if cu_seq_lens_q is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    window = (sliding_window - 1 if sliding_window else -1, 0)
    assert max_length_q is not None
    out = varlen_attn(
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        cu_seq_lens_q,
        cu_seq_lens_q,
        max_length_q,
        max_length_q,
        scale=scaling,
        window_size=window,
        **_GROUPED,
    )
    return out[None], None


def _grouped() -> dict[str, bool]:
    # torch 2.11 takes fewer keys than queries as they are, later ones want to be told
    return {"enable_gqa": True} if "enable_gqa" in signature(varlen_attn).parameters else {}


_GROUPED = _grouped()
