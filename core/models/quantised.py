"""Models whose files hold weights in fewer bits: which, and what can be tuned on them.

By transformers 5.23: four bits of bitsandbytes load as QLoRA wants them and refuse anything else; MXFP4 (the
experts of gpt-oss) is for inference, and is turned into 16 bits as it is loaded. GPTQ, AWQ, FP8 and the like
want packages of their own and are not tuned here: the 16-bit model that they were made from is.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

from core.errors import UserError
from core.models.sizes import shown

ALL = ("full", "lora", "qlora")
FOUR_BITS, MXFP4 = "bitsandbytes in 4 bits", "MXFP4"
TUNABLE = {None: ALL, FOUR_BITS: ("qlora",), MXFP4: ("full", "lora")}
"""How the weights are stored -> the methods that can be used on them."""
NOTES = {
    FOUR_BITS: "its weights are stored in 4 bits already: QLoRA alone can be used on it",
    MXFP4: "its experts are stored in MXFP4, which cannot be tuned: they are loaded in 16 bits",
}
_SAID = re.compile(
    r"[-_.](?:unsloth[-_])?(?:gptq|awq|fp8|nvfp4|int[48]|bnb|w[48]a(?:16|8)|[48]bits?|quantized|dynamic).*$",
    re.IGNORECASE,
)


def stored_as(name: str, config: dict[str, Any]) -> str | None:
    """FOUR_BITS, MXFP4, or None for whole weights. UserError: anything else, which cannot be tuned here."""
    told = config.get("quantization_config", config.get("compression_config"))
    if not told:
        return None
    if not isinstance(told, dict):
        _refuse(name, f"its config.json says quantization_config: {shown(told)}")
    method = str(told.get("quant_method") or "").lower()
    if told.get("load_in_4bit") or told.get("_load_in_4bit"):
        return FOUR_BITS
    if told.get("load_in_8bit") or told.get("_load_in_8bit"):
        _refuse(name, "its weights are stored in 8 bits of bitsandbytes")
    if method == "mxfp4":
        return MXFP4
    bits = told.get("bits")
    of = f" in {bits} bits" if isinstance(bits, int) else ""
    _refuse(name, f"its weights are stored as {method.upper() or 'some quantised form'}{of}")


def _refuse(name: str, why: str) -> NoReturn:
    from core.models.catalogue import nearest_model

    bare = _SAID.sub("", name)
    whole = nearest_model(bare) if bare != name else None
    like = f", such as {whole}" if whole and whole.lower() != name.lower() else ""
    raise UserError(
        f"{name} cannot be tuned here",
        why,
        f"give the 16-bit model that it was made from{like}; QLoRA packs it itself",
    )
