"""Every field of the middle steps has an entry in the glossary for `?` to show."""

import pytest
from textual.widget import Widget

from core.glossary import term
from tests.tui.steps import InspectJob, Rows, report, until
from tui import find_out, row_view
from tui.method_dials import DIALS
from tui.widgets.help import term_of


@pytest.mark.parametrize("key", sorted({dial[2] for dial in DIALS}))
def test_every_dial_is_explained(key):
    assert term(key) is not None


@pytest.mark.parametrize("step", ["data", "template"])
async def test_every_field_is_explained(app, step, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(find_out, "run_job_async", InspectJob())
    monkeypatch.setattr(row_view, "Viewer", Rows)
    app.journey.set("model", "/models/any")
    app.journey.set("data.source", "/data/train.jsonl")
    app.journey.report = report()
    async with app.run_test(size=(120, 40)) as pilot:
        app.goto(step)
        await until(pilot, lambda: app.screen.query_one("#body"))
        fields: list[Widget] = [one for one in app.screen.query("#body *") if one.can_focus]
        assert len(fields) >= 3
        for field in fields:
            assert term(term_of(field, step)) is not None, f"{field!r} names {term_of(field, step)}"
