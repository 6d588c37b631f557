"""The settings of `benchmarks.memory_grid`: which shapes, methods, lengths, batches and places of the dial.

Constants of the closed form and of the trace may be fitted to cells of the shapes in FITTED, and to no
others: all other shapes are only checked, and told apart.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, get_args

from core.plan.work import Setting
from core.spec import Method, RunSpec, parse_spec

FITTED = ("llama-3.1-8b", "qwen2.5-0.5b", "gemma-2-9b")
"""Shapes that parts of the forms were made with, the last when its first cells were seen."""
GRID = (
    "qwen2.5-0.5b",
    "llama-3.2-1b",
    "qwen2.5-1.5b",
    "llama-3.2-3b",
    "qwen3-moe-4b",
    "mistral-7b",
    "llama-3.1-8b",
    "gemma-2-9b",
    "qwen2.5-14b",
)
LARGE = ("mistral-7b", "llama-3.1-8b", "gemma-2-9b", "qwen2.5-14b")
"""Shapes whose moments are 8-bit where all of them learns."""
SETTINGS = (
    # method[rank]:batch:length:dial[:packed][:eager]
    "lora16:8:2048:0",
    "lora16:8:2048:0.5",
    "lora16:8:2048:1",
    "lora8:1:8192:0.5",
    "lora64:16:512:0",
    "lora16:4:2048:0.5:packed",
    "lora16:2:1024:0:eager",
    "qlora16:8:2048:0",
    "qlora16:8:2048:1",
    "qlora16:2:4096:0.5:packed",
    "qlora64:1:2048:0.5:eager",
    "full:4:2048:0.5",
    "full:8:1024:0",
    "full:2:4096:1",
    "full:16:2048:1",
    "full:16:512:0.5:packed",
)


@dataclass(frozen=True)
class Cell:
    shape: str
    method: Method
    batch: int
    length: int
    dial: float
    rank: int = 16
    packed: bool = False
    compiled: bool = True
    optimizer: str = "adamw"

    def __str__(self) -> str:
        method = self.method if self.method == "full" else f"{self.method}{self.rank}"
        tail = ["packed"] * self.packed + ["eager"] * (not self.compiled)
        return ":".join([self.shape, method, f"{self.batch}:{self.length}:{self.dial:g}", *tail])

    @property
    def fitted(self) -> bool:
        return self.shape in FITTED

    def spec(self, model: str, steps: int) -> RunSpec:
        """A resolved run of so many steps; `model`: the shape's folder."""
        told: dict[str, Any] = {
            "model": model,
            "data": {"source": "made here", "format": "text", "eval": 0},
            "learn": "all",
            "template": "chatml",
            "method": self.method,
            "objective": "sft",
            "batch": self.batch,
            "accumulate": 1,
            "steps": steps,
            "length": self.length,
            "packing": self.packed,
            "recompute": self.dial,
            "optimizer": self.optimizer,
            "learning_rate": 1e-5,
            "lora": {"rank": self.rank, "alpha": 2 * self.rank},
            "save": {"every": 1_000_000},
            "compile": self.compiled,
            "name": "cell",
        }
        return parse_spec(told)

    def setting(self, host: bool) -> Setting:
        return Setting(self.optimizer, self.batch, self.dial, host=host, compiled=self.compiled)

    def to_dict(self) -> dict[str, Any]:
        return {"cell": str(self), **asdict(self)}


def read(shape: str, text: str) -> Cell:
    """The cell that is written as in SETTINGS. ValueError: it is not."""
    head, batch, length, dial, *tail = text.split(":")
    name = head.rstrip("0123456789")
    if name not in get_args(Method) or not set(tail) <= {"packed", "eager"}:
        raise ValueError(f"{text} is not method[rank]:batch:length:dial[:packed][:eager]")
    method: Method = name  # type: ignore[assignment]
    return Cell(
        shape,
        method,
        int(batch),
        int(length),
        float(dial),
        rank=int(head.removeprefix(name) or 16),
        packed="packed" in tail,
        compiled="eager" not in tail,
        optimizer="adamw_8bit" if method == "full" and shape in LARGE else "adamw",
    )


def cells(shapes: tuple[str, ...] = GRID, settings: tuple[str, ...] = SETTINGS) -> list[Cell]:
    """All settings of all shapes, those of one shape and method one after the other."""
    return [read(shape, one) for shape in shapes for one in settings]
