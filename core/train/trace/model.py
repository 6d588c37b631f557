"""The run's model from its config alone, on tensors without numbers, as `core.train.model` would load it."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.errors import UserError
from core.models.catalogue import entry
from core.models.hub import cached_folder
from core.plan.scores import in_plain_steps
from core.spec import RunSpec
from core.train.device import Device
from core.train.model import base_dtype, four_bits, keep_unpacked, with_adapters
from core.train.trace.live import Live, replaced

BLOCK, OUTER = 64, 256
"""Weights that share a scale, and scales that share one (bitsandbytes' NF4)."""


def build(spec: RunSpec, device: Device, mode: Live, small_steps: bool) -> Any:
    """The model with its adapters; nothing of it is counted yet. UserError: no causal language model."""
    from transformers import AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    config = config_of(spec.model, spec.revision)
    config.use_cache = False
    try:
        with torch.device("meta"), no_init_weights():
            dtype = base_dtype(spec.method, device, small_steps)
            model = AutoModelForCausalLM.from_config(config, dtype=dtype, **in_plain_steps(config.model_type))
            model.tie_weights()
            if spec.method == "qlora":
                packed(model, device)
            if spec.method != "full":
                model = with_adapters(model, spec, device)
    except (ValueError, KeyError, AttributeError) as error:
        raise UserError(
            f"{spec.model} cannot be traced",
            f"transformers does not make a causal language model of its config: {str(error).splitlines()[0]}",
            "take the closed form: plan without --trace",
            code=1,
        ) from error
    replaced(model, mode)
    if spec.method == "qlora":
        scaled(model, device, mode)
        keep_unpacked(model)
    return model


def config_of(model: str, revision: str | None) -> Any:
    """From a folder, the Hub's cache, the catalogue, or the Hub, in this order, as the model's shape is."""
    from transformers import AutoConfig

    folder = Path(model).expanduser()
    here = folder if folder.is_dir() else cached_folder(model, revision)
    known = None if here else entry(model)
    try:
        if known and revision is None:
            keys = {key: value for key, value in known.config.items() if key != "other_parameters"}
            return AutoConfig.for_model(keys.pop("model_type"), **keys)
        return AutoConfig.from_pretrained(str(here or model), revision=None if here else revision)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{model} cannot be traced",
            str(error).strip().splitlines()[0],
            "give a folder with config.json, or take the closed form: plan without --trace",
            code=1,
        ) from error


def packed(model: nn.Module, device: Device) -> None:
    """Puts bitsandbytes' layers where the quantiser of transformers would."""
    from transformers.integrations import replace_with_bnb_linear
    from transformers.quantizers.base import get_keys_to_not_convert

    replace_with_bnb_linear(
        model,
        modules_to_not_convert=get_keys_to_not_convert(model),
        quantization_config=four_bits(device),
    )
    model.is_loaded_in_4bit = True


def scaled(model: nn.Module, device: Device, mode: Live) -> None:
    """Gives four-bit layers their packed weights and scales."""
    from bitsandbytes.functional import QuantState
    from bitsandbytes.nn import Linear4bit

    for one in model.modules():
        if not isinstance(one, Linear4bit):
            continue
        shape, count = one.weight.shape, one.weight.numel()
        scales = -(-count // BLOCK)
        with mode:
            bits = torch.empty(-(-count // 2), 1, dtype=torch.uint8)
            outer = torch.empty(-(-scales // OUTER))
            nested = QuantState(absmax=outer, code=torch.empty(256), blocksize=OUTER, dtype=torch.float32)
            state = QuantState(
                absmax=torch.empty(scales, dtype=torch.uint8),
                shape=shape,
                code=torch.empty(16),
                blocksize=BLOCK,
                quant_type="nf4",
                dtype=device.dtype,
                offset=torch.empty(()),
                state2=nested,
            )
            weight = nn.Parameter(bits, requires_grad=False)
        # a plain parameter with what its readers ask of it: the library's own class is no tensor of `mode`
        weight.quant_state, weight.bnb_quantized = state, True
        one.weight, one.quant_state = weight, state


def scales_of(model: nn.Module) -> list[torch.Tensor]:
    """All tensors that stand beside four-bit weights."""
    found = []
    for one in model.modules():
        state = getattr(getattr(one, "weight", None), "quant_state", None)
        if state is not None:
            inner = state.state2
            found += [state.absmax, state.code, state.offset, inner.absmax, inner.code]
    return found
