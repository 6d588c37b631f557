"""What a folder's weight files say of themselves, read from their headers without loading them."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST_HEADER = 100 << 20
"""Bytes; the limit of the safetensors format itself. More means that the file is something else."""

BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I64": 8,
    "I32": 4,
    "I8": 1,
    "U8": 1,
}
_FLOATS = ("F64", "F32", "F16", "BF16")
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight")
_BUFFERS = ("inv_freq", ".attn.bias", ".masked_bias", ".attention.bias")
"""Endings of tensors that older checkpoints carry and that are no parameters (masks, rotary frequencies)."""


@dataclass(frozen=True)
class Stored:
    parameters: int
    """Elements of all tensors that are parameters."""
    head: int
    """Elements of lm_head.weight where an embedding lies beside it (a copy, if they are tied), else 0."""
    dtype_bytes: int
    """Bytes of one parameter, of the type that most of them have."""
    bytes: int
    """Size of the files."""
    quantised: bool


def read_headers(folder: Path) -> Stored | None:
    """Exact counts from a folder's safetensors headers; None where there are none, or one cannot be read."""
    files = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, AttributeError):
            return None
        files = [folder / name for name in sorted(named)]
    elif (folder / "model.safetensors").is_file():
        files = [folder / "model.safetensors"]
    if not files:
        return None
    tensors: dict[str, dict[str, Any]] = {}
    try:
        for file in files:
            tensors.update(read_header(file))
        size = sum(file.stat().st_size for file in files)
    except (OSError, ValueError, struct.error):
        return None
    return _summed(tensors, size)


def read_header(file: Path) -> dict[str, dict[str, Any]]:
    """{tensor: {"dtype", "shape", …}} of one safetensors file: 8 bytes of length, then that much JSON."""
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        if length > LARGEST_HEADER:
            raise ValueError(f"{file} is no safetensors file")
        header: dict[str, dict[str, Any]] = json.loads(opened.read(length))
    header.pop("__metadata__", None)
    return header


def _summed(tensors: dict[str, dict[str, Any]], size: int) -> Stored:
    by_type: dict[str, int] = {}
    head, embedding = 0, False
    for name, tensor in tensors.items():
        if name.endswith(_BUFFERS):
            continue
        elements = math.prod(tensor["shape"])
        by_type[tensor["dtype"]] = by_type.get(tensor["dtype"], 0) + elements
        if name.endswith(_EMBEDDINGS):
            embedding = True
        if name.endswith("lm_head.weight"):
            head = elements
    most = max(by_type, key=lambda dtype: by_type[dtype], default="BF16")
    return Stored(
        parameters=sum(by_type.values()),
        head=head if embedding else 0,
        dtype_bytes=BYTES.get(most, 2),
        bytes=size,
        quantised=any(dtype not in _FLOATS for dtype in by_type),
    )


def pickled_size(folder: Path) -> int | None:
    """Bytes of weights in torch's older format, or None where there are none."""
    files = list(folder.glob("pytorch_model*.bin"))
    return sum(file.stat().st_size for file in files) if files else None


def has_template(folder: Path) -> bool:
    """Whether the tokenizer in this folder brings a chat template, in either of the places for one."""
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    try:
        return bool(
            json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template")
        )
    except (OSError, ValueError, AttributeError):
        return False
