"""Enter through Model, Data, Template, Method and Review, with the real jobs, on what ships with finetui."""

import json
import os
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]

WALK = """
import asyncio, json, sys
from pathlib import Path

import core.machine
import core.runs.start
from core.runs.folder import create
from core.spec import dump_spec
from tests.tui.steps import until
from tui.app import FinetuiApp

home = Path(sys.argv[1])
started = []


def start(spec, where, *, anyway=False):
    started.append(spec)
    run = create(where, spec.name)
    run.spec_file.write_text(dump_spec(spec, full=True))
    return run


core.runs.start.start = start  # everything but the worker itself


async def walk():
    app = FinetuiApp(runs_dir=home / "runs", home=home)
    seen = []
    async with app.run_test(size=(80, 24)) as pilot:
        app.journey.set("aim", "chat")
        app.goto("model")
        await until(pilot, lambda: app.screen.query_one("#models").option_count)
        model = app.screen.marked.model
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.step == "data")
        await until(pilot, lambda: app.screen.query_one("#near").option_count)
        await pilot.press("enter")
        await until(pilot, lambda: app.journey.report, 120)
        await until(pilot, lambda: app.screen.focused.id == "next")
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.step == "template")
        await until(pilot, lambda: app.screen.query_one("#example Static").content.plain.strip())
        seen.append(app.screen.query_one("#example Static").content.plain)
        await pilot.press("n")
        await until(pilot, lambda: app.screen.query_one("#example Static").content.plain != seen[0], 120)
        seen.append(app.screen.query_one("#example Static").content.plain)
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.step == "method")
        await until(pilot, lambda: app.screen.query_one("#methods").option_count == 3)
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.step == "review" and app.screen._prepared, 120)
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.step == "train")
    heavy = {"torch", "transformers", "datasets", "peft", "trl", "pandas", "pyarrow", "numpy"}
    heavy &= set(sys.modules)
    spec = started[0]
    print(json.dumps({
        "heavy": sorted(heavy), "model": model, "seen": seen,
        "spec": spec.model_dump(mode="json"),
    }))


asyncio.run(walk())
"""


def test_enter_all_the_way_is_a_sound_run_and_the_screen_stays_light(tmp_path, finetui_home):
    """No GPU is asked for: the recommended model is the demo's, on the demo's data, in an empty folder."""
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", WALK, str(finetui_home)],
        cwd=tmp_path / "empty",
        env={**os.environ, "PYTHONPATH": str(REPO), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["heavy"] == []
    spec = told["spec"]
    assert spec["model"] == told["model"] and Path(spec["data"]["source"]).is_file()
    assert spec["method"] != "auto" and spec["template"] != "auto" and spec["batch"] and spec["epochs"]
    assert all("◀ learned: the answer ends here" in example for example in told["seen"])
    assert told["seen"][0] != told["seen"][1], "the key n shows another row"
