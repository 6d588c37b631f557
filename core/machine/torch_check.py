"""The installed torch, found without importing it, and which driver its CUDA needs. Standard library only."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

DRIVER_FOR_CUDA = {
    11: (450,),
    12: (525,),
    13: (580,),
}
"""CUDA major version -> oldest driver branch that runs programs built for it.

Source: NVIDIA, CUDA Compatibility, "Minor Version Compatibility", table 1 (11.x: >= 450, 12.x: >= 525,
13.x: >= 580): within a major version a newer toolkit runs on an older driver.
"""

CUDA_OF_TORCH_WHEELS = ((12, 6), (13, 0))
"""The CUDA versions for which torch 2.11 to 2.13 all have wheels at https://download.pytorch.org/whl/cuXYZ."""


@dataclass(frozen=True)
class Torch:
    version: str
    cuda: str | None
    """The CUDA it was built with, e.g. "12.8"."""
    built_for_cpu: bool


def find_torch() -> Torch | None:
    """The torch of this Python, or None. Reads its files only: importing it takes seconds."""
    try:
        version = importlib.metadata.version("torch")
        found = importlib.util.find_spec("torch")
    except (importlib.metadata.PackageNotFoundError, ValueError, ImportError):
        return None
    if found is None or not found.origin:
        return None
    try:
        source = (Path(found.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        source = ""
    return describe(version, source)


def describe(version: str, source: str) -> Torch:
    """From the package's version and the text of its torch/version.py."""
    built: dict[str, str] = {}
    for name in ("__version__", "cuda", "hip", "xpu"):
        match = re.search(rf"^{name}\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", source, re.MULTILINE)
        if match:
            built[name] = match[1]
    version = built.get("__version__", version)
    cuda = built.get("cuda")
    local = re.search(r"\+cu(\d+)(\d)$", version)
    if cuda is None and local:
        cuda = f"{local[1]}.{local[2]}"
    accelerated = cuda or built.get("hip") or built.get("xpu")
    return Torch(version, cuda, not accelerated)


def oldest_driver(cuda: str) -> str | None:
    """The oldest driver that runs a program built for this CUDA, e.g. "13.0" -> "580.65.06"."""
    numbers = DRIVER_FOR_CUDA.get(_numbers(cuda)[0]) if _numbers(cuda) else None
    return _written(numbers) if numbers else None


def driver_runs(driver: str, cuda: str) -> bool | None:
    """Whether this driver runs a torch built for this CUDA. None: not known."""
    needed = oldest_driver(cuda)
    if needed is None or not _numbers(driver):
        return None
    return _numbers(driver) >= _numbers(needed)


def torch_for_driver(driver: str) -> str | None:
    """The newest wheel tag whose torch this driver runs, e.g. "cu126"; None when it is too old for all."""
    fitting = [
        f"cu{major}{minor}"
        for major, minor in CUDA_OF_TORCH_WHEELS
        if driver_runs(driver, f"{major}.{minor}")
    ]
    return fitting[-1] if fitting else None


def wheel_index(tag: str) -> str:
    return f"https://download.pytorch.org/whl/{tag}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _written(numbers: tuple[int, ...]) -> str:
    return ".".join([str(numbers[0]), *(f"{part:02d}" for part in numbers[1:])])
