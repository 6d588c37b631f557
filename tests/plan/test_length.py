"""The choice of a length, from the table of lengths and the memory of a step at each."""

import math
from typing import Any

import pytest

from core.data.lengths import describe, fitted, longer_than
from core.models.shape import ModelShape
from core.plan.advise import advise
from core.plan.cards import card_named, card_of_size, room
from core.plan.length import at_length
from tests.plan import boxes

SHORT, LONG = 4_783, 217
LENGTHS = {100: SHORT, 3_900: LONG - 30, 5_000: 30}


def report(**changed: Any) -> dict[str, Any]:
    rows = SHORT + LONG
    known = {"lengths": describe(LENGTHS), "train_rows": rows, "eval_rows": 0, "length": None, "long": "cut"}
    return {**boxes.report(rows), **known, **changed}


def asked(shape: ModelShape, data: dict[str, Any], **keys: Any) -> dict[str, Any]:
    spec = boxes.spec(method="lora", batch=1, **keys)
    return at_length(spec, boxes.box(boxes.gpu(24)), shape, data, card=card_of_size(24))


@pytest.fixture(scope="module")
def shape() -> ModelShape:
    return boxes.model("Qwen/Qwen3-0.6B")


def test_longer_rows_are_counted_exactly() -> None:
    assert longer_than(report(), 2_048) == (217, 217 / 5_000)
    assert longer_than(report(), 3_900) == (30, 30 / 5_000)
    assert longer_than(report(), 5_000) == (0, 0.0) == longer_than({"lengths": None}, 10)


def test_each_way_says_what_it_does_in_rows_and_tokens() -> None:
    total = sum(length * rows for length, rows in LENGTHS.items())
    assert fitted(report(), 2_048, "cut") == (5_000, 100 * SHORT + 2_048 * LONG)
    assert fitted(report(), 2_048, "drop") == (SHORT, 100 * SHORT)
    assert fitted(report(), 2_048, "split") == (SHORT + 2 * 187 + 3 * 30, total)
    assert fitted(report(format="text"), 2_048, "cut") == fitted(report(), 2_048, "split")


def test_the_sentence_names_rows_share_p99_and_memory(shape: ModelShape) -> None:
    found = asked(shape, report(), length=2_048)
    assert found["sentence"].startswith("217 of 5,000 rows (4.3 %) are longer than 2,048; p99 is 3,900; ")
    assert found["sentence"].endswith(" GiB more") and found["bytes_to_keep_all"] > 0
    ways = {one["long"]: one for one in found["choices"]}
    assert list(ways) == ["cut", "drop", "split", "raise"]
    assert ways["raise"]["length"] == 5_000 and ways["raise"]["tokens_lost"] == 0
    assert ways["raise"]["bytes"] == found["bytes_to_keep_all"]
    assert ways["cut"]["tokens_lost"] == 187 * (3_900 - 2_048) + 30 * (5_000 - 2_048)
    whole = asked(shape, report(), length=5_000)
    assert whole["bytes_to_keep_all"] == 0 and "every row fits" in whole["sentence"]
    assert [one["long"] for one in whole["choices"]] == ["cut", "drop", "split"]
    assert asked(shape, {**report(), "lengths": None})["rows_longer"] == 0


def test_packs_are_planned_full_and_in_their_number(shape: ModelShape) -> None:
    machine, card = boxes.box(boxes.gpu(24)), card_of_size(24)

    def plan(on: Any = card, **keys: Any) -> Any:
        return advise(boxes.spec(method="lora", **keys), machine, shape, report(), card=on).of("lora")

    plain, packed = plan(length=2_048, batch=1, epochs=1), plan(length=2_048, batch=1, epochs=1, packing=True)
    tokens = fitted(report(), 2_048, "cut")[1]
    steps = math.ceil(math.ceil(tokens / (0.97 * 2_048)) / packed.accumulate)
    assert packed.steps == pytest.approx(steps, abs=1) and packed.steps < plain.steps
    old = card_named("T4")
    assert (
        plan(old, length=2_048, batch=1, epochs=1, packing=True).bytes.total
        > plan(old, length=2_048, batch=1, epochs=1).bytes.total
    ), "packs come with a mask there"
    assert packed.bytes.total <= room(card)
    # a length of the rows' own would leave no room for several
    assert plan(packing=True, data={"source": "rows.jsonl"}).length >= 2_048
    split = plan(length=2_048, batch=1, epochs=1, data={"source": "rows.jsonl", "long": "split"})
    dropped = plan(length=2_048, batch=1, epochs=1, data={"source": "rows.jsonl", "long": "drop"})
    assert dropped.steps < plain.steps < split.steps
