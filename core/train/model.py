"""The model as a run trains it: loaded in a stated dtype, whole, with LoRA, or in four bits with LoRA.

What lies in memory, in bytes a parameter (`core.plan.memory` counts the same):

- full: weights and gradients in the weights' dtype (bf16: 2 + 2; fp32: 4 + 4, also for fp16 on older
  cards, whose scaler wants fp32, and for preferences, whose steps of 1e-6 would round away), and the
  optimiser's two moments in that dtype too (AdamW on bf16: 2 + 2; on fp32: 4 + 4; 8-bit AdamW: 1 + 1,
  tensors under 4,096 elements as fp32).
- LoRA and QLoRA: adapters, their gradients and moments in fp32 (4 + 4 + 4 + 4; 8-bit AdamW:
  4 + 4 + 1 + 1), whatever the base is in. bf16 has eight bits of mantissa: a step of 1e-4 on a
  weight of 0.02 would round away. They are small, so the exactness is cheap.
- The base under LoRA: 2 (bf16, fp16) or 4 (fp32). Under QLoRA, linear weights as NF4 with double
  quantisation, 0.5 + 1/64 + 4/64/256 bytes, and embeddings, head and norms as they were, in the
  compute dtype. They are not cast to fp32 as `prepare_model_for_kbit_training` does (4 GiB on a
  large vocabulary): norms compute in fp32 inside, and the head's loss is taken in fp32.
- PEFT casts each layer's input to the adapter's dtype. Under autocast the product is taken in the
  half format anyway, so that copy is only cost (12 % of a step, 14 % of the activations), and is off.
"""

import re
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.models.quantised import MXFP4, stored_as
from core.models.shape import read_config
from core.plan.scores import in_plain_steps
from core.spec import RunSpec
from core.train.device import Device


def load(spec: RunSpec, folder: Path, device: Device, *, small_steps: bool = False) -> Any:
    """The causal LM of `folder` on `device`, ready to be trained by the spec's method.

    `small_steps`: they would round away in bf16, so that a full run's weights are fp32.

    Returns a transformers model (full) or a PEFT model. UserError for what is no causal LM.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config = read_config(folder / "config.json")
    options: dict[str, Any] = {"dtype": base_dtype(spec.method, device, small_steps)}
    options |= in_plain_steps(str(config.get("model_type")))
    if spec.method == "qlora":
        options |= {"quantization_config": four_bits(device)}
    elif stored_as(spec.model, config) == MXFP4:
        from transformers import Mxfp4Config

        options |= {"quantization_config": Mxfp4Config(dequantize=True)}
    try:
        # device_map puts each weight where it belongs as it is read: no second copy in RAM
        model = AutoModelForCausalLM.from_pretrained(
            folder, device_map={"": 0 if device.kind == "cuda" else "cpu"}, **options
        )
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{spec.model} cannot be loaded as a language model",
            str(error).splitlines()[0],
            "give a folder or Hub id with config.json and safetensors weights of a causal LM",
            code=1,
        ) from error
    if spec.method == "full":
        return model
    if spec.method == "qlora" and device.kind == "cpu":
        keep_unpacked(model)
    return with_adapters(model, spec, device)


def base_dtype(method: str, device: Device, small_steps: bool = False) -> Any:
    """The dtype of the weights that are loaded; see the module's docstring."""
    import torch

    wide = method == "full" and (device.precision == "fp16" or small_steps)
    return torch.float32 if wide else device.dtype


def four_bits(device: Device) -> Any:
    """NF4 with double quantisation, computing in the device's precision (Dettmers et al. 2023, QLoRA)."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=device.dtype,
        bnb_4bit_quant_storage="uint8",
    )


def keep_unpacked(model: Any) -> None:
    """Keeps bitsandbytes from repacking four-bit weights when they are evaluated on a CPU with bf16.

    Its packed form is for inference: it rounds the scales, needs widths that 32 divides, and the training
    that goes on after the evaluation would get it too.
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def with_adapters(model: Any, spec: RunSpec, device: Device) -> Any:
    """The model with fp32 LoRA adapters on its linear layers; all else is frozen."""
    from peft import LoraConfig, get_peft_model

    from core.train.engine.peft_layers import layers_for

    lora = spec.lora
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=int(spec.alpha) if spec.alpha.is_integer() else spec.alpha,
        lora_dropout=lora.dropout,
        target_modules=all_linear(model) if isinstance(lora.targets, str) else list(lora.targets),
        use_rslora=lora.rslora,
        use_dora=lora.dora,
    )
    config._register_custom_module(layers_for(spec.method, device.kind))
    try:
        tuned = get_peft_model(model, config)
    except ValueError as error:
        raise UserError(
            f"LoRA cannot be put on {lora.targets}",
            str(error).splitlines()[0],
            "name linear layers of the model in lora.targets, or leave it at all-linear",
            code=1,
        ) from error
    if device.precision != "fp32":
        cast_inputs(tuned, False)
    return tuned


def all_linear(model: Any) -> str | list[str]:
    """What PEFT takes for all linear layers of the language model, beside a mixture's experts.

    Of most mixtures PEFT 0.21 would adapt the experts' fused tensors and the router too (peft's
    transformers_weight_conversion): the rank once for each expert, twice that for gate and up. Of
    Qwen3-30B-A3B at rank 16 that is 996 M parameters where the attention has 13 M, and all experts' weights
    made anew in each pass. Of models that also see it would adapt what sees, which no text teaches.
    """
    from peft.utils import transformers_weight_conversion as conversion
    from torch.nn import Linear

    head = model.get_output_embeddings()
    linear = [name for name, one in model.named_modules() if isinstance(one, Linear) and one is not head]
    decoder = next((name for name, one in model.named_modules() if one is model.get_decoder()), "")
    own = [name for name in linear if name.startswith(f"{decoder}.")] if decoder else linear
    words = {name.rsplit(".", 1)[-1] for name in own}
    family = getattr(conversion, "_MODEL_TO_CONVERSION_PATTERN", {}).get(model.config.model_type)
    reaching = getattr(conversion, "_MOE_TARGET_MODULE_MAPPING", {}).get(family)
    if reaching:
        return sorted(words - set(reaching))
    if len(own) < len(linear):
        return rf"{re.escape(decoder)}\..*\.({'|'.join(sorted(words))})"
    return "all-linear"


def cast_inputs(model: Any, cast: bool) -> None:
    """Whether LoRA layers copy their input in the adapter's dtype. Without it, call them under autocast."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = cast


def adapters_in_fp32(model: Any) -> None:
    """TRL casts the adapters of a four-bit model to bf16 as it takes it; this brings fp32 back."""
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.is_floating_point():
            parameter.data = parameter.data.float()


def is_finite(model: Any) -> bool:
    """Whether every trained weight is a number."""
    import torch

    return all(bool(torch.isfinite(weight).all()) for weight in model.parameters() if weight.requires_grad)


def trained_parameters(model: Any) -> int:
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
