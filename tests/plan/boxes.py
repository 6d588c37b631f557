"""Boxes, models and data reports that plans are made for."""

from typing import Any

from core.machine import Machine
from core.machine.gpus import Gpu
from core.machine.host import Disk, Hub
from core.machine.torch_check import Torch
from core.models.catalogue import entry
from core.models.shape import ModelShape, shape_from_config
from core.spec import RunSpec, parse_spec

GIB = 1 << 30


def box(*gpus: Gpu, ram: float = 64, **changes: Any) -> Machine:
    torch = Torch("2.11.0+cu130", "13.0", False) if gpus else Torch("2.13.0+cpu", None, True)
    parts: dict[str, Any] = {
        "gpus": gpus,
        "driver": "580.65.06" if gpus else None,
        "cuda_driver": (13, 0) if gpus else None,
        "nvml": None if gpus else "no NVIDIA driver",
        "cpu_name": "a processor",
        "cpus": 2,
        "ram_total": int(ram * GIB),
        "ram_available": int(0.9 * ram * GIB),
        "disks": (Disk("/runs", "runs", 500 * GIB, 400 * GIB),),
        "torch": torch,
        "hub": Hub(True, "HF_TOKEN", None),
    }
    return Machine(**{**parts, **changes})


def gpu(gib: float, *, index: int = 0, held: float = 0.0, capability: tuple[int, int] = (8, 6)) -> Gpu:
    total, used = int(gib * GIB), int(held * GIB)
    bf16 = capability >= (8, 0)
    return Gpu(index, f"GPU-{index}", f"a card of {gib:g}", total, total - used, used, capability, bf16)


def model(name: str) -> ModelShape:
    known = entry(name)
    assert known is not None
    return shape_from_config(name, known.config, hub=True)


def spec(name: str = "Qwen/Qwen3-8B", /, **keys: Any) -> RunSpec:
    return parse_spec({"model": name, "data": {"source": "rows.jsonl"}, **keys})


def report(
    rows: int = 1800, longest: int = 900, mean: float = 300.0, learned: int = 200_000
) -> dict[str, Any]:
    """What `core.data.inspect` says, as far as a plan looks."""
    middle = int(mean)
    lengths = {
        "count": rows,
        "min": 10,
        "max": longest,
        "mean": mean,
        "p50": middle,
        "p90": (middle + longest) // 2,
        "p95": (middle + 3 * longest) // 4,
        "p99": longest - longest // 50,
        "histogram": {"edges": [], "counts": []},
    }
    return {
        "rows": rows,
        "train_rows": rows,
        "eval_rows": 0,
        "format": "completion",
        "lengths": lengths,
        "tokens": int(rows * mean),
        "learned_tokens": learned,
        "template": {"name": "chatml", "origin": "named"},
        "findings": [],
    }
