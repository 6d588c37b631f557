"""Writes the demo's instruction set: taught.jsonl, and held_out.jsonl with phrasings it does not hold.

python -m core.demo.make_questions
"""

import json
import random
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
SEED = 7

Row = dict[str, str]


def read_lesson() -> dict[str, Any]:
    lesson: dict[str, Any] = yaml.safe_load((HERE / "lesson.yaml").read_text(encoding="utf-8"))
    return lesson


def questions(lesson: dict[str, Any], which: str) -> list[Row]:
    """Every question of `which` (taught or held_out) with its answer, as {"prompt", "completion"}."""
    rows = []
    for word in lesson["words"]:
        name = word["name"]
        for phrasing in lesson["asked_as"][which]:
            prompt = phrasing.format(a=word.get("a", name), n=name, l=name.lower())
            rows.append({"prompt": prompt, "completion": word["answer"]})
    for advice in lesson["advice"]:
        rows += [{"prompt": prompt, "completion": advice["answer"]} for prompt in advice[which]]
    return rows


def write(rows: list[Row], path: Path) -> None:
    random.Random(SEED).shuffle(rows)  # a reader of the file should see the lesson, not one word ten times
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    lesson = read_lesson()
    for which in ("taught", "held_out"):
        rows = questions(lesson, which)
        write(rows, HERE / f"{which}.jsonl")
        print(f"{which}.jsonl: {len(rows)} rows")
