"""What `benchmarks.train` measures: cells, the presets made of them, and the rows that each trains on."""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from core.data.pack import WINDOW, best_fit
from core.spec import Method

Rows = Literal["full", "alpaca", "packed"]
"""Rows all as long as the length; short ones of an Alpaca-like mix; the same mix, packed."""
By = Literal["finetui", "bare", "plain"]
"""The worker; the same without what it puts around the trainer; TRL at its defaults, where recompute,
optimizer and compile mean nothing."""
GRAMMAR = "method:batch:length:recompute[:optimizer][:compile=true|false][:packed|:alpaca]"
OPTIMIZERS = ("auto", "adamw", "adamw_8bit", "paged_adamw_8bit", "adafactor")
MEDIAN, SPREAD, LEAST = 170, 0.6, 16
"""Of the short rows' lengths in tokens: a log-normal whose mean is near 200."""
WORDS = ("the", "run", "a", "and", "of", "to", "in", "is", "it", "that", "on", "for", "was", "with", "at")


@dataclass(frozen=True)
class Cell:
    """One process to be measured."""

    method: Method
    batch: int
    length: int
    recompute: float | Literal["auto"]
    optimizer: str = "auto"
    compile: bool | None = None
    """None: compiled on a GPU; on a CPU as the worker decides."""
    rows: Rows = "full"
    by: By = "finetui"

    def __str__(self) -> str:
        head = f"{self.method}:{self.batch}:{self.length}"
        rows = [] if self.rows == "full" else [self.rows]
        by = [] if self.by == "finetui" else [self.by]
        if self.by == "plain":
            return ":".join([*by, head, *rows])
        dial = self.recompute if isinstance(self.recompute, str) else f"{self.recompute:g}"
        optimizer = [] if self.optimizer == "auto" else [self.optimizer]
        compiled = [] if self.compile is None else [f"compile={str(self.compile).lower()}"]
        return ":".join([*by, head, dial, *optimizer, *compiled, *rows])


def read(text: str) -> Cell:
    """The cell that is written as GRAMMAR says. ArgumentTypeError says what is wrong with it."""
    method, *numbers = text.split(":")
    if method not in get_args(Method) or len(numbers) < 3:
        raise argparse.ArgumentTypeError(f"{text} is not {GRAMMAR}")
    try:
        batch, length = int(numbers[0]), int(numbers[1])
        dial: Any = "auto" if numbers[2] == "auto" else float(numbers[2])
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None
    if batch < 1 or length < LEAST or not (dial == "auto" or 0 <= dial <= 1):
        raise argparse.ArgumentTypeError(
            f"{text}: batch is 1 or more, length {LEAST} or more, recompute auto or 0 to 1"
        )
    cell = Cell(method, batch, length, dial)  # type: ignore[arg-type]
    for part in numbers[3:]:
        if part in OPTIMIZERS:
            cell = replace(cell, optimizer=part)
        elif part in ("compile=true", "compile=false"):
            cell = replace(cell, compile=part == "compile=true")
        elif part in get_args(Rows):
            cell = replace(cell, rows=part)  # type: ignore[arg-type]
        else:
            raise argparse.ArgumentTypeError(f"{text}: {part} is no part of {GRAMMAR}")
    return cell


def plain_of(cell: Cell) -> Cell:
    """The same rows and method by TRL at its defaults; it does not pack, so packed rows are loose there."""
    rows: Rows = "alpaca" if cell.rows == "packed" else cell.rows
    return Cell(cell.method, cell.batch, cell.length, "auto", rows=rows, by="plain")


GOALS: dict[str, tuple[float | None, float | None]] = {
    # of an 8 B shape on one H200: at most so many GiB, at least so many tokens a second
    "lora:8:2048:1": (18.2, 10_900),
    "lora:8:2048:0.8125": (31, 12_800),
    "lora:8:2048:0": (75, 16_500),
    "qlora:8:2048:1": (8.8, 10_800),
    "qlora:8:2048:0": (60, 15_000),
    "full:8:2048:0:adamw_8bit": (84, 11_000),
    "lora:8:2048:0:packed": (None, None),
}
PRESETS: dict[str, tuple[str, ...]] = {
    "goals": tuple(GOALS),
    "dial": (
        *(f"lora:8:2048:{eighth / 8:g}" for eighth in range(9)),
        *(f"qlora:8:2048:{quarter / 4:g}" for quarter in range(5)),
        *(f"full:8:2048:{quarter / 4:g}:adamw_8bit" for quarter in range(5)),
    ),
    "grid": tuple(
        f"{method}:{batch}:{length}:{dial}{':adamw_8bit' if method == 'full' else ''}"
        for method in get_args(Method)
        for batch, length in ((32, 512), (8, 2048), (2, 8192))
        for dial in ("0", "0.5", "1")
    ),
    "packed": (
        "lora:8:2048:0.5",
        "lora:8:2048:0.5:packed",
        "lora:8:2048:0.5:alpaca",
        "lora:64:2048:0.5:alpaca",
    ),
    "small": (
        "full:8:1024:0",
        "lora:8:1024:0",
        "full:8:1024:0:packed",
        "lora:8:1024:0:packed",
    ),
}
"""What runs where a preset is named; `small` is for a model under a billion parameters, with `--plain`."""


def count_of(cell: Cell, steps: int) -> int:
    """Rows that so many steps take; of packs some more, so that none is half empty."""
    if cell.rows != "packed":
        return steps * cell.batch
    mean = MEDIAN * 1.197  # exp(SPREAD ** 2 / 2)
    return int(1.2 * steps * cell.batch * cell.length / mean) + 50


def wanted(cell: Cell, count: int) -> list[int]:
    """Tokens of each row, the same every time."""
    if cell.rows == "full":
        return [cell.length] * count
    chance = random.Random(1)
    drawn = (chance.lognormvariate(0, SPREAD) * MEDIAN for _ in range(count))
    return [min(cell.length, max(LEAST, round(one))) for one in drawn]


def write(file: Path, lengths: list[int], tokenizer: Any) -> None:
    """Rows of plain text that have exactly so many tokens with what the tokenizer begins and ends them."""
    from core.data.chat_template.mask import render
    from core.data.conversation import Conversation

    def tokens(text: str) -> int:
        return len(render(Conversation(1, text=text), tokenizer, None, "all").ids)  # type: ignore[union-attr]

    base = tokens("a")
    words = [word for word in WORDS if tokens(f"a {word} {word}") == base + 2]
    if not words:
        raise SystemExit("this tokenizer has no token for any of the words that rows are made of")
    chance = random.Random(0)
    with file.open("w", encoding="utf-8") as out:
        for length in lengths:
            text = " ".join(["a", *chance.choices(words, k=length - base)])
            out.write(json.dumps({"text": text}) + "\n")


def padded(cell: Cell, lengths: list[int], end_to_end: bool = False) -> float:
    """Share of padding (0 to 1) where rows come in any order, each pass as long as its longest row.

    `end_to_end`: or laid on one line, where only packs are filled up.
    """
    if end_to_end and cell.rows != "packed":
        return 0.0
    if cell.rows == "packed":
        windows = [lengths[at : at + WINDOW] for at in range(0, len(lengths), WINDOW)]
        packs = sum(len(best_fit(rows, cell.length)) for rows in windows)
        return 1 - sum(lengths) / (packs * cell.length)
    order = random.Random(2).sample(lengths, len(lengths))
    passes = [order[at : at + cell.batch] for at in range(0, len(order), cell.batch)]
    return 1 - sum(lengths) / sum(len(one) * max(one) for one in passes)
