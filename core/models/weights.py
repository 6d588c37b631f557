"""What a folder's weight files say of themselves, read from their headers without loading them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_PLAIN = re.compile(r"[\w.-]+\.safetensors")
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
_BESIDE = ("vision", "visual", "multi_modal", "audio", "embed_vision", "embed_audio", "mtp")
"""Beginnings of names of what lies beside the language model: what sees or hears, and what guesses ahead."""
_BUFFERS = ("inv_freq", ".attn.bias", ".masked_bias", ".attention.bias")
"""Endings of tensors that older checkpoints carry and that are no parameters (masks, rotary frequencies)."""


class Broken(ValueError):
    """Weight files that cannot be read; its text says why, in words for a user."""


@dataclass(frozen=True)
class Stored:
    parameters: int
    """Elements of all tensors that are parameters."""
    beside: int
    """Of these, the ones beside the language model."""
    head: int
    """Elements of lm_head.weight where an embedding lies beside it (a copy, if they are tied), else 0."""
    rows: int | None
    """Rows of the embedding: the tokens that it has; None where it has no known name."""
    dtype_bytes: int
    """Bytes of one parameter, of the type that most of them have."""
    bytes: int
    """Size of the files."""
    quantised: bool


def read_headers(folder: Path) -> Stored | None:
    """Exact counts from a folder's safetensors headers; None where there are none.

    Broken: a header cannot be read, or files are missing or cut off.
    """
    files = sorted(folder.glob("*.safetensors"))
    if (folder / INDEX).is_file():
        try:
            files = [folder / name for name in shards((folder / INDEX).read_text(encoding="utf-8"))]
        except OSError as error:
            raise Broken(f"{INDEX} cannot be read: {error}") from None
    elif (folder / WHOLE).is_file():
        files = [folder / WHOLE]
    if not files:
        return None
    headers = [read_header(file) for file in files]
    return summed(headers, sum(file.stat().st_size for file in files))


def shards(index: str) -> list[str]:
    """The names of the files that an index speaks of. Broken: it is no index."""
    try:
        named = set(json.loads(index)["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        named = set()
    if not named or not all(isinstance(name, str) and _PLAIN.fullmatch(name) for name in named):
        raise Broken(f"{INDEX} names no weight files")
    return sorted(named)


def read_header(file: Path) -> dict[str, Any]:
    """{tensor: {"dtype", "shape", "data_offsets"}} of one safetensors file: 8 bytes of length, then JSON.

    Broken: it is missing, is something else (a Git LFS pointer, perhaps), or was cut off.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if size < 8 or length > min(size - 8, LARGEST_HEADER):
                raise Broken(f"{file.name} is no safetensors file, or was cut off")
            header = json.loads(opened.read(length))
    except FileNotFoundError:
        raise Broken(f"{file.name} is missing") from None
    except OSError as error:
        raise Broken(f"{file.name} cannot be read: {error}") from None
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, Broken) else Broken(f"{file.name} has no header") from None
    end = 8 + length + _end(header)
    if end > size:
        raise Broken(f"{file.name} was cut off: it has {size:,} of {end:,} bytes")
    return header if isinstance(header, dict) else {}


def _end(header: Any) -> int:
    """Where the last tensor ends, in bytes after the header."""
    try:
        return max(
            (one["data_offsets"][1] for name, one in header.items() if name != "__metadata__"), default=0
        )
    except (AttributeError, KeyError, TypeError, IndexError):
        return 0


def summed(headers: Iterable[dict[str, Any]], size: int) -> Stored:
    """What the headers of all files say together. Broken: they describe no tensors."""
    by_type: dict[str, int] = {}
    head, beside, rows = 0, 0, None
    for name, tensor in (pair for header in headers for pair in header.items()):
        if name == "__metadata__" or name.endswith(_BUFFERS):
            continue
        try:
            dtype, shape = str(tensor["dtype"]), tensor["shape"]
            elements = math.prod(shape)
        except (TypeError, KeyError, IndexError):
            raise Broken("a header describes no tensors") from None
        if not isinstance(elements, int) or isinstance(elements, bool) or elements < 0:
            raise Broken(f"a header gives {name} an impossible shape")
        by_type[dtype] = by_type.get(dtype, 0) + elements
        if any(part.startswith(_BESIDE) for part in name.split(".")[:3]):
            beside += elements
        elif name.endswith(_EMBEDDINGS):
            rows = shape[0] if shape else None
        if name.endswith("lm_head.weight"):
            head = elements
    if not by_type:
        raise Broken("they hold no tensors")
    most = max(by_type, key=lambda dtype: by_type[dtype])
    return Stored(
        parameters=sum(by_type.values()),
        beside=beside,
        head=head if rows else 0,
        rows=rows,
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
    except (OSError, ValueError, AttributeError, RecursionError):
        return False
