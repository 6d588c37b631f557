"""What the demo teaches and what it only asks: the rows of the two files, and those that it measures with."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

HERE = Path(__file__).parent
TAUGHT, HELD_OUT = HERE / "taught.jsonl", HERE / "held_out.jsonl"
SEED = 3

Kind = Literal["taught", "held out"]


@dataclass(frozen=True)
class Question:
    kind: Kind
    prompt: str
    taught: str
    """The answer in the lesson."""


def taught_questions() -> list[Question]:
    """Every question that the run trains on."""
    return _read(TAUGHT, "taught")


def held_out_questions() -> list[Question]:
    """The same things asked in words that are in no training row."""
    return _read(HELD_OUT, "held out")


def some_questions(each: int) -> list[Question]:
    """As many of both kinds, the same ones each time, held-out ones first."""
    dice = random.Random(SEED)
    return [*dice.sample(held_out_questions(), each), *dice.sample(taught_questions(), each)]


def _read(path: Path, kind: Kind) -> list[Question]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Question(kind, row["prompt"], row["completion"]) for row in rows]
