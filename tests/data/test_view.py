"""Any row by its number, as the report would show it, from a process that stays; refused rows say why."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from core.data.inspect import answer
from core.data.view import View
from core.data.viewer import Viewer
from core.errors import UserError
from core.prepare import inspect_request
from core.spec import parse_spec
from tests.data.conftest import REPO, write_jsonl

DEMO = str(REPO / "core" / "demo" / "model")
ROWS = [{"prompt": f"What is {n}?", "completion": f"It is {n}, which follows {n - 1}."} for n in range(60)]
ROWS[6] = {"prompt": "What is nothing?", "completion": ""}
ROWS[9] = {"prompt": "What is long?", "completion": "word " * 80}


@pytest.fixture
def request_of(tmp_path: Path) -> Any:
    source = write_jsonl(tmp_path / "rows.jsonl", ROWS)

    def make(row: int = 0, **keys: Any) -> dict[str, Any]:
        data = {"source": str(source), "eval": 0.2, **keys.pop("data", {})}
        return inspect_request(parse_spec({"model": DEMO, "data": data, "length": 64, **keys}), row=row)

    return make


def report(request: dict[str, Any]) -> dict[str, Any]:
    return answer(request, lambda *_: None)


def test_a_row_is_shown_as_the_report_shows_it(request_of: Any) -> None:
    view, whole = View(request_of()), report(request_of(row=12))
    shown = view.row(13)
    assert shown["example"] == whole["example"] and shown["template"] == whole["template"]
    assert shown["refused"] == "" and shown["columns"] == ROWS[12]


def test_rows_that_are_left_out_say_why(request_of: Any) -> None:
    view = View(request_of(data={"long": "drop"}))
    assert view.row(7)["example"] is None and "answer is empty" in view.row(7)["refused"]
    dropped = view.row(10)
    assert "longer" in dropped["refused"] and all(token["cut"] for token in dropped["example"]["tokens"])
    assert view.row(61) == {"row": 61, "source": 0, "columns": None, "example": None, "refused": None}


def test_the_pack_of_any_row_is_the_one_of_the_report(request_of: Any) -> None:
    told = report(request_of(packing=True))
    view = View(request_of(packing=True), told["held_out"])
    held = [number for number in range(1, 61) if view.row(number)["held_out"]]
    assert len(held) == told["eval_rows"] == 12
    for row in (1, 25, 58):
        whole = report(request_of(row=row - 1, packing=True))["example"]
        assert whole["pack"] == view.pack(row) and (whole["pack"] is None) == (row in held)
    packed = [view.pack(number) for number in range(1, 61) if number not in {*held, 7}]
    assert all(packed) and max(len(pack["rows"]) for pack in packed if pack) > 1
    assert all(not set(pack["rows"]) & set(held) for pack in packed if pack)


def test_the_process_answers_quickly_and_leaves(request_of: Any) -> None:
    async def walk() -> None:
        async with Viewer() as viewer:
            with pytest.raises(UserError, match="process has left"):
                await viewer.row(1)
            with pytest.raises(UserError, match="is not there"):
                await viewer.open({**request_of(), "source": "/nowhere/rows.jsonl"})
            await viewer.open(request_of())
            await viewer.row(1)
            begun = time.monotonic()
            shown = [await viewer.row(number) for number in range(2, 12)]
            assert (time.monotonic() - begun) / 10 < 0.1
            assert [one["row"] for one in shown] == list(range(2, 12))
            child = viewer._child
        assert child is not None and child.returncode == 0

    asyncio.run(walk())
