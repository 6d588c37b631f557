"""The wall: the screen and the light half of core must start, and stay, without the heavy libraries."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "transformers", "datasets", "peft", "trl", "pandas", "pyarrow", "numpy", "accelerate")
LIGHT = (
    *("core.errors", "core.spec", "core.job", "core.prepare", "core.numbers", "core.glossary"),
    *("core.machine", "core.models", "core.plan", "core.runs", "core.cli", "core.chat.client"),
    "core.data.formats.mapping",
    *("core.demo.demo", "tui"),
)


def modules(light: str) -> list[str]:
    """The module itself and, of a package, everything in it."""
    path = REPO / light.replace(".", "/")
    if not path.is_dir():
        return [light]
    files = [file.relative_to(REPO).with_suffix("") for file in sorted(path.rglob("*.py"))]
    names = [".".join(file.parts).removesuffix(".__init__") for file in files]
    return [name for name in names if not name.endswith("__main__")]


def heavy_after(code: str) -> list[str]:
    """The heavy libraries in `sys.modules` of a fresh process that ran `code`."""
    ask = f"import sys, json\n{code}\nprint(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", ask],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPO)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("light", LIGHT)
def test_importing_it_brings_nothing_heavy(light: str) -> None:
    names = modules(light)
    assert names
    assert heavy_after("import " + ", ".join(names)) == []


def test_looking_at_the_machine_brings_nothing_heavy() -> None:
    """What is imported late counts as well: the look finds torch without importing it."""
    assert heavy_after("from core.machine import look; look()") == []


def test_planning_brings_nothing_heavy() -> None:
    code = """
from core.machine import look
from core.models.catalogue import catalogue
from core.models.shape import read_shape
from core.plan.advise import advise
from core.spec import parse_spec
entry = catalogue()[0]
shape = read_shape(entry.id)
advise(parse_spec({"model": entry.id, "data": "rows.jsonl"}), look(), shape)
"""
    assert heavy_after(code) == []


def test_the_home_screen_brings_nothing_heavy(tmp_path: Path) -> None:
    """A run folder is listed, opened and left; whatever is read for that is read by light means."""
    code = f"""
import asyncio
from pathlib import Path
from core.runs.events import EventLog, Start, Step, End
from core.runs.folder import create
from core.spec import dump_spec, parse_spec
from tui.app import FinetuiApp
home = Path({str(tmp_path)!r})
run = create(home / "runs", "one")
run.spec_file.write_text(dump_spec(parse_spec({{"model": "m", "data": "d.jsonl"}})))
log = EventLog(run.events_file)
for event in (Start(1), Step(1, 2, 0.5, 2.0, 1e-4, 1.0, 10, 5.0), End("finished")):
    log.write(event)
async def walk():
    app = FinetuiApp(runs_dir=home / "runs", home=home)
    async with app.run_test(size=(120, 40)) as pilot:
        for key in ("enter", "escape", "n", "enter", "question_mark"):
            await app.workers.wait_for_complete()
            await pilot.press(key)
            await pilot.pause()
        assert app.screen.step == "machine", app.screen
asyncio.run(walk())
"""
    assert heavy_after(code) == []


def test_core_never_imports_the_screen() -> None:
    broken = [
        str(file.relative_to(REPO))
        for file in (REPO / "core").rglob("*.py")
        if re.search(r"^\s*(from|import) (tui|textual)\b", file.read_text(), re.MULTILINE)
    ]
    assert broken == []
