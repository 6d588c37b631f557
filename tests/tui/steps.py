"""Small frozen answers for the wizard's middle steps: a data report as the inspect job gives it."""

import asyncio
import copy
import dataclasses
import time
from collections.abc import Callable
from typing import Any

from textual.css.query import NoMatches
from textual.pilot import Pilot

from core.errors import UserError
from core.machine import look
from core.machine.gpus import Gpu
from core.machine.look import Machine

GIB = 2**30
MODEL = "Qwen/Qwen3-8B"  # its shape is in the catalogue: no network is asked

MESSAGE = {
    "row": 1,
    "text": "<|im_start|>user\nWhat is a rank?<|im_end|>\n<|im_start|>assistant\nThe size …<|im_end|>",
    "tokens": [
        {"id": 1, "text": "<|im_start|>", "learned": False},
        {"id": 5, "text": "user\n", "learned": False},
        {"id": 6, "text": "What is a", "learned": False},
        {"id": 7, "text": " rank?", "learned": False},
        {"id": 2, "text": "<|im_end|>", "learned": False},
        {"id": 8, "text": "\n", "learned": False},
        {"id": 1, "text": "<|im_start|>", "learned": False},
        {"id": 9, "text": "assistant\n", "learned": False},
        {"id": 10, "text": "The size", "learned": True},
        {"id": 11, "text": " of an adapter.", "learned": True},
        {"id": 2, "text": "<|im_end|>", "learned": True},
    ],
}

REPORT: dict[str, Any] = {
    "source": "/data/alpaca.json",
    "format": "alpaca",
    "confidence": 0.98,
    "rows": 999,
    "columns": {"instruction": "prompt", "input": "input", "output": "completion", "id": None},
    "sample": [
        {"instruction": f"Question {n}?", "input": "", "output": f"Answer {n}. " * 12, "id": str(n)}
        for n in range(10)
    ],
    "findings": [
        {"severity": "info", "code": "empty", "message": "input is empty in 611 rows", "todo": ""},
        {
            "severity": "warn",
            "code": "duplicates",
            "message": "12 rows stand twice (rows 17, 44 and 10 more)",
            "rows": [17, 44, 90],
            "todo": "take them out, or they weigh double",
        },
    ],
    "train_rows": 949,
    "eval_rows": 50,
    "template": {
        "name": "chatml",
        "origin": "named",
        "end": "<|im_end|>",
        "end_learned": True,
        "why": "the model has no template of its own, and its tokenizer knows ChatML's tokens",
    },
    "lengths": {
        "count": 999,
        "min": 21,
        "max": 1022,
        "mean": 160.0,
        "p50": 131,
        "p90": 301,
        "p95": 412,
        "p99": 700,
        "histogram": {
            "edges": [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1100],
            "counts": [310, 402, 180, 54, 21, 12, 10, 4, 3, 2, 1],
        },
    },
    "tokens": 160_000,
    "learned_tokens": 96_000,
    "longer_than_length": 0,
    "length": None,
    "long": "cut",
    "example": MESSAGE,
    "fingerprint": "0" * 64,
}  # fmt: skip


def report(**changed: Any) -> dict[str, Any]:
    """A fresh copy of the report with some keys changed."""
    return {**copy.deepcopy(REPORT), **changed}


class InspectJob:
    """Stands where the child process is called: answers with reports, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: dict[str, Any] | UserError = report()
        self.head: dict[str, Any] | None = None
        """What a preview is answered with; None: the head is the whole, and so is its answer."""
        self.cancelled = 0
        self.gate = asyncio.Event()
        """The answer waits for this; set from the start, so that it waits only in tests that clear it."""
        self.gate.set()

    async def __call__(self, module: str, request: dict[str, Any], on_progress: Any = None) -> dict[str, Any]:
        assert module == "core.data.inspect"
        self.asked.append(request)
        if request.get("preview") and self.head is not None:
            return {**copy.deepcopy(self.head), "source": request["source"]}
        on_progress("tokenise", 450, 999)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.answer, UserError):
            raise self.answer
        return {**copy.deepcopy(self.answer), "source": request["source"]}


class Rows:
    """Stands where the process is that shows rows: any row is the one of the report, with its number."""

    def __init__(self) -> None:
        self.opened: list[dict[str, Any]] = []
        self.held_out: Any = None
        self.asked: list[int] = []
        self.told: dict[str, Any] = {}
        """What is said otherwise than usual of every row."""
        self.error: UserError | None = None
        self.closed = 0

    async def open(self, request: dict[str, Any], held_out: Any = None) -> list[int | None]:
        if self.error:
            raise self.error
        self.opened.append(request)
        self.held_out = held_out
        return [999]

    async def row(self, number: int, source: int = 0) -> dict[str, Any]:
        self.asked.append(number)
        usual = {"row": number, "source": source, "columns": {"q": "a"}, "refused": "", "held_out": False,
                 "example": {**copy.deepcopy(MESSAGE), "row": number, "source": source}, "findings": [],
                 "template": copy.deepcopy(REPORT["template"])}  # fmt: skip
        return {**usual, **self.told}

    async def pack(self, number: int, source: int = 0) -> dict[str, Any] | None:
        return {"rows": [17, number], "start": 512} if self.held_out else None

    async def close(self) -> None:
        self.closed += 1


async def until(pilot: Pilot[Any], condition: Callable[[], object], seconds: float = 20) -> None:
    """Waits until the condition holds; fails when it does not within the time."""
    deadline = time.monotonic() + seconds

    def holds() -> object:
        try:
            return condition()
        except NoMatches:  # a screen that is not composed yet
            return False

    while not holds():
        assert time.monotonic() < deadline, "it did not come to be"
        await pilot.pause(0.02)


def box(gib: float) -> Machine:
    """With one card that has so many GiB, all free."""
    free = int(gib * GIB)
    card = Gpu(0, "u", "NVIDIA GeForce RTX 4090", free, free, 0, (8, 9), True)
    return dataclasses.replace(look(), gpus=(card,), torch=None)
