"""The picture of speed over memory: one line a method, others in grey, nothing on top of anything."""

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from benchmarks.curve import Labels, lines_of, picture, ticks
from core.errors import UserError

HEAD = {"model": "m<8b", "card": "a card"}
SVG = "{http://www.w3.org/2000/svg}"


def row(method: str, dial: float, gib: float, rate: float, **more: Any) -> dict[str, Any]:
    known = {"method": method, "by": "finetui", "batch": 8, "length": 2048, "recompute": dial, "rows": "full"}
    return {**known, "peak": gib * 2**30, "tokens_per_second": rate, **more}


ROWS = [
    row("lora", 1, 18, 11_000),
    row("lora", 0, 66, 17_000),
    row("lora", 0.5, 37, 14_500),
    row("lora", 0, 90, 18_000, length=8192),
    row("lora", 0, 66, 9_000, by="plain"),
    row("qlora", 1, 9, 10_900),
    {"cell": "full:8:2048:0", "method": "full", "by": "finetui", "rows": "full", "error": "out of memory"},
]


def test_a_line_joins_the_dial_of_one_length_in_order() -> None:
    lines = lines_of(ROWS)
    assert set(lines) == {"lora", "qlora"}
    said, points = lines["lora"]
    assert said == "LoRA, batch 8 × 2,048"
    assert [point.label for point in points] == ["0", "0.5", "1"]


def test_every_point_and_mark_is_drawn() -> None:
    others = [{"name": "another trainer", "gib": 20, "tokens_per_second": 10_900}]
    root = ET.fromstring(picture(HEAD, ROWS, others))
    texts = [one.text for one in root.iter(f"{SVG}text")]
    assert "another trainer" in texts and "0.5" in texts and "Speed over memory: m<8b on a card" in texts
    dots = [one for one in root.iter(f"{SVG}circle") if one.get("class") == "lora"]
    assert len(dots) == 3 + 1, "its points, and one before its name"
    places = [(float(one.get("cx", 0)), float(one.get("cy", 0))) for one in dots[:3]]
    assert places == sorted(places, key=lambda place: (-place[0], place[1])), "more memory, more speed"


def test_without_a_peak_there_is_nothing_to_draw() -> None:
    with pytest.raises(UserError, match="nothing to draw"):
        picture(HEAD, [{**ROWS[0], "peak": None}], [])


def test_ticks_are_round_and_hold_both_ends() -> None:
    assert ticks(0, 123.5, 7) == [0, 20, 40, 60, 80, 100, 120, 140]
    found = ticks(7_200, 17_400)
    assert found[0] <= 7_200 and found[-1] >= 17_400 and len(found) <= 9


def test_a_second_label_at_a_point_takes_another_place() -> None:
    labels = Labels()
    assert labels.place(300, 300, "same", "text") != labels.place(300, 300, "same", "text")
