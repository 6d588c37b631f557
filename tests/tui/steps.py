"""Small frozen answers for the wizard's middle steps: a data report as the inspect job gives it."""

import copy
from typing import Any

MESSAGE = {
    "row": 1,
    "text": "<|im_start|>user\nWhat is a rank?<|im_end|>\n<|im_start|>assistant\nThe size of an adapter.<|im_end|>",
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
        {"severity": "info", "code": "empty-input", "message": "input is empty in 611 rows", "rows": [1, 2], "todo": ""},
        {
            "severity": "warn",
            "code": "duplicates",
            "message": "12 rows stand twice (rows 17, 44, 90 and 9 more)",
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
    "example": MESSAGE,
    "fingerprint": "0" * 64,
}  # fmt: skip


def report(**changed: Any) -> dict[str, Any]:
    """A fresh copy of the report with some keys changed."""
    return {**copy.deepcopy(REPORT), **changed}
