"""How the Data and Template steps look, with frozen data, in a small window and a large one."""

from typing import Any

import pytest

from tests.tui import machines
from tests.tui.steps import InspectJob, Rows, report, until
from tui import find_out, row_view
from tui.app import FinetuiApp
from tui.widgets.finding_pane import FindingPane
from tui.widgets.mapping import MappingScreen

SIZES = [(80, 24), (120, 40)]
FINDINGS = [
    *report()["findings"],
    {"severity": "warn", "code": "secrets", "message": "3 rows (rows 5, 8 and 13) hold what looks like a key",
     "rows": [5, 8, 13], "count": 3, "todo": "look at them", "source": 0, "remedies": [
         {"label": "leave them out", "change": {"data.drop": ["secrets"]}},
         {"label": "put a neutral word in its place", "change": {"data.mend": ["secrets"]}}]},
]  # fmt: skip
TABLE = [[100, 700], [300, 200], [700, 90], [1022, 9]]
DATA = report(
    findings=FINDINGS,
    lengths={**report()["lengths"], "table": TABLE},
    head=[
        {"instruction": f"Question {n}?", "input": "", "output": f"Answer {n} for {{{{name}}}}.", "id": n}
        for n in range(4)
    ],
)


@pytest.fixture(params=SIZES, ids=["80x24", "120x40"])
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    given: tuple[int, int] = request.param
    return given


@pytest.fixture
def job(app: FinetuiApp, monkeypatch: pytest.MonkeyPatch) -> InspectJob:
    job = InspectJob()
    job.answer = DATA
    monkeypatch.setattr(find_out, "run_job_async", job)
    monkeypatch.setattr(row_view, "Viewer", Rows)
    app.journey.set("model", "Qwen/Qwen3-0.6B")  # its shape is in the catalogue
    app.journey.set("data.source", "/data/alpaca.json")
    app.journey.machine = machines.TWO
    app.journey.done = {"aim", "machine", "model"}
    return job


def looks(snap_compare: Any, app: FinetuiApp, size: tuple[int, int], step: str, *keys: str) -> bool:
    async def walk(pilot: Any) -> None:
        await until(pilot, lambda: app.screen.has_class("-some") or app.screen.has_class("-none"))
        app.goto(step)
        await until(pilot, lambda: app.screen.step == step)
        await app.workers.wait_for_complete()
        await pilot.pause()
        await pilot.press(*keys)
        await app.workers.wait_for_complete()
        await pilot.pause()

    same: bool = snap_compare(app, terminal_size=size, run_before=walk)
    return same


def test_data(snap_compare: Any, app: FinetuiApp, size: tuple[int, int], job: InspectJob) -> None:
    app.journey.set("length", 512)
    assert looks(snap_compare, app, size, "data")


def test_several_sources(snap_compare: Any, app: FinetuiApp, size: tuple[int, int], job: InspectJob) -> None:
    about = {"confidence": 1.0, "why": "", "weight": 1.0}
    kinds = [("alpaca", 999), ("sharegpt", 1234), ("text", 17)]
    job.answer = {**DATA, "sources": [{**about, "format": kind, "rows": rows} for kind, rows in kinds]}
    more = [
        {"source": "owner/conversations", "weight": 2},
        {"source": "/data/a-long-name-of-a-folder/book.txt"},
    ]
    app.journey.set("data.more", more)
    app.journey.set("data.drop", ["duplicate"])
    assert looks(snap_compare, app, size, "data")


def test_a_finding(snap_compare: Any, app: FinetuiApp, size: tuple[int, int]) -> None:
    async def walk(pilot: Any) -> None:
        app.push_screen(FindingPane(FINDINGS[-1]))
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=walk)


def test_the_mapping(snap_compare: Any, app: FinetuiApp, size: tuple[int, int]) -> None:
    async def walk(pilot: Any) -> None:
        columns, chosen = DATA["columns"], {"fill": {"name": "Ada"}}
        app.push_screen(MappingScreen("alpaca.json", columns, DATA["head"], "alpaca", chosen))
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=walk)


def test_template(snap_compare: Any, app: FinetuiApp, size: tuple[int, int], job: InspectJob) -> None:
    app.journey.report = report(held_out={"way": "asked", "bins": []})
    assert looks(snap_compare, app, size, "template")


def test_template_by_tokens(
    snap_compare: Any,
    app: FinetuiApp,
    size: tuple[int, int],
    job: InspectJob,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cut = [{"id": 40 + n, "text": f" more{n}", "learned": True, "cut": True} for n in range(9)]
    example = {**report()["example"], "cut": 9, "fate": "cut"}
    example["tokens"] = [
        *({**one, "special": one["text"].startswith("<|")} for one in example["tokens"]),
        *cut,
    ]
    rows = Rows()
    rows.told = {"example": example, "findings": [{"code": "cut", "severity": "warn"}], "held_out": True}
    monkeypatch.setattr(row_view, "Viewer", lambda: rows)
    app.journey.set("length", 11)
    assert looks(snap_compare, app, size, "template", "t")
