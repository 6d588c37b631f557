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
        name = plain_adapter(self)
        dtype = computed_in(x)
        if name is None or args or kwargs or self.fan_in_fan_out or self.base_layer.weight.dtype != dtype:
            return super().forward(x, *args, **kwargs)
        a, b, scale = self.lora_A[name].weight, self.lora_B[name].weight, self.scaling[name]
        return adapter.linear(x.to(dtype), self.base_layer.weight, self.base_layer.bias, a, b, scale)


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
            name = plain_adapter(self)
            packed = self.base_layer.weight
            state = packed.quant_state
            if name is None or args or kwargs or not state.nested or state.quant_type != "nf4":
                return super().forward(x, *args, **kwargs)
            dtype = computed_in(x)
            told = [
                state.absmax,
                state.offset,
                state.state2.absmax,
                state.state2.code,
                x.new_empty(0, dtype=dtype),
            ]
            weight = adapter.dequantised(
                packed.data, told, list(state.shape), [state.blocksize, state.state2.blocksize]
            )
            a, b, scale = self.lora_A[name].weight, self.lora_B[name].weight, self.scaling[name]
            return adapter.linear(x.to(dtype), weight, self.base_layer.bias, a, b, scale)

    return Linear4bit


def plain_adapter(layer: Any) -> str | None:
    """The layer's one adapter, where it learns and is LoRA without anything; else None."""
    if layer.disable_adapters or layer.merged or len(layer.active_adapters) != 1:
        return None
    name = layer.active_adapters[0]
    if name not in layer.lora_A or name in layer.lora_variant or layer.lora_bias.get(name):
        return None
    learns = layer.training and torch.is_grad_enabled()
    return name if learns and isinstance(layer.lora_dropout[name], nn.Identity) else None


def computed_in(x: Tensor) -> torch.dtype:
    """The dtype that a linear layer would take x in."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
