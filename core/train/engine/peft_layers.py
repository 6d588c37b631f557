"""PEFT's LoRA layers, computed by `core.train.engine.adapter` where they are plain LoRA that learns.

PEFT takes them through its own door for custom layers, so names, saved files, merging and switching adapters
off are PEFT's. Whatever else an adapter does (dropout, DoRA, several at once, merged) PEFT computes itself.
"""

from typing import Any

import torch
from peft.tuners import lora
from torch import Tensor, nn

from core.train.engine import adapter


class Linear(lora.Linear):
    """LoRA on a linear layer."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        dtype = computed_in(x)
        base = self.base_layer
        if args or kwargs or self.fan_in_fan_out or base.weight.dtype != dtype or not learns_plainly(self):
            return super().forward(x, *args, **kwargs)
        return with_adapter(self, x.to(dtype), base.weight, base.bias)


def layers_for(method: str, kind: str) -> dict[type[nn.Module], type[nn.Module]]:
    """Layer type -> that of its adapter, for `LoraConfig._register_custom_module`. `kind`: cuda or cpu."""
    if method != "qlora":
        return {nn.Linear: Linear}
    from bitsandbytes.nn import Linear4bit as Packed

    # the order counts: a four-bit layer is a linear layer too
    return {Packed: four_bit_layer() if kind == "cuda" else lora.Linear4bit, nn.Linear: Linear}


def four_bit_layer() -> type[nn.Module]:
    """LoRA on a layer of NF4 whose scales are quantised too; made here since it needs bitsandbytes."""

    class Linear4bit(lora.Linear4bit):
        def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            packed = self.base_layer.weight
            state = packed.quant_state
            known = state.nested and state.quant_type == "nf4"
            if args or kwargs or not known or not learns_plainly(self):
                return super().forward(x, *args, **kwargs)
            x = x.to(computed_in(x))
            nested = state.state2
            scales = [state.absmax, state.offset, nested.absmax, nested.code, x.new_empty(0)]
            weight = torch.ops.finetui.dequantised(
                packed.data, scales, list(state.shape), [state.blocksize, nested.blocksize]
            )
            return with_adapter(self, x, weight, self.base_layer.bias)

    return Linear4bit


def learns_plainly(layer: Any) -> bool:
    """Whether the layer has one adapter that learns now and is LoRA without anything."""
    if not (layer.training and torch.is_grad_enabled()) or layer.disable_adapters or layer.merged:
        return False
    names = layer.active_adapters
    if len(names) != 1 or names[0] not in layer.lora_A or names[0] in layer.lora_variant:
        return False
    return not layer.lora_bias.get(names[0]) and isinstance(layer.lora_dropout[names[0]], nn.Identity)


def computed_in(x: Tensor) -> torch.dtype:
    """The dtype that a linear layer would take x in."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def with_adapter(layer: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    name = layer.active_adapters[0]
    own = (layer.lora_A[name].weight, layer.lora_B[name].weight)
    kept = (getattr(layer, "rounded_a", own[0]), getattr(layer, "rounded_b", own[1]))
    rounded = (kept[0].detach().to(x.dtype), kept[1].detach().to(x.dtype))
    return adapter.linear(x, weight, bias, rounded, own, layer.scaling[name])


class Rounded:
    """Copies of all adapters in the dtype that is computed in, made at once before each pass that learns.

    Each layer rounding its own would be hundreds of kernels a pass. Whether an adapter has changed cannot be
    asked: fused optimisers do not count up a tensor's version.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype):
        self._own: list[Tensor] = []
        self._copies: list[Tensor] = []
        for layer in model.modules():
            if not isinstance(layer, lora.LoraLayer) or not isinstance(layer, nn.Module):
                continue
            for name, factor in (("rounded_a", layer.lora_A), ("rounded_b", layer.lora_B)):
                if len(factor) != 1:
                    continue
                own = next(iter(factor.values())).weight
                if own.dtype == dtype:
                    continue
                copy = own.detach().to(dtype)
                layer.register_buffer(name, copy, persistent=False)
                self._own.append(own)
                self._copies.append(copy)

    def refresh(self, *_: Any) -> None:
        """As a hook before a pass: rounds anew if the pass learns."""
        if self._own and torch.is_grad_enabled():
            torch._foreach_copy_(self._copies, [one.detach() for one in self._own])
