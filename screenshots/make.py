"""`make screenshots`: pictures of every step, through the real app, from the runs in tests/recorded.

    python screenshots/make.py [NAME …]

SVG always, PNG beside it where rsvg-convert is. A picture of a run in flight is the recorded run up to some
step, its times moved so that the last event came just now. The wizard is shown with the recorded machine,
model and data report. Only the chat's answers are played from a recording; all else is worked out as ever.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPO = HERE.parent
sys.path.insert(0, str(REPO))

from pydantic import TypeAdapter  # noqa: E402
from textual.pilot import Pilot  # noqa: E402

import core.chat.client  # noqa: E402
import core.machine  # noqa: E402
import core.prepare  # noqa: E402
from core.machine import Machine  # noqa: E402
from core.models.shape import ModelShape  # noqa: E402
from core.runs.events import Start, Step, decode, encode  # noqa: E402
from core.runs.folder import RunFolder  # noqa: E402
from core.runs.lock import write_facts  # noqa: E402
from core.spec import load_spec  # noqa: E402
from screenshots.svg import redraw  # noqa: E402
from tui.app import FinetuiApp  # noqa: E402

RECORDED = REPO / "tests" / "recorded"
LARGE, SMALL = (120, 40), (80, 24)
WIZARD = ("aim", "machine", "model", "data", "template", "method", "review")
TRAIN = {
    "train": ("8b-qlora-h200", LARGE),
    "train-80x24": ("8b-qlora-h200", SMALL),
    "train-base-28m": ("base-28m-wwdc25-h200", LARGE),
    "train-demo": ("demo-h200", LARGE),
    "train-preference": ("preference-h200", LARGE),
}
CHAT = {"chat": ("demo-h200", LARGE), "chat-base-28m": ("base-28m-wwdc25-h200", LARGE)}
"""Picture -> the recorded run that it shows, and its size."""
WIZARD_OF = "demo-h200"
SHOWN_SHARE = 0.6
"""How far a run is in its picture in flight."""


def copied(name: str, where: Path, share: float = 1.0) -> RunFolder:
    """A recorded run in a folder of our own; with `share` below 1 it runs, at that share of its steps."""
    run = RunFolder(where / name)
    run.path.mkdir(parents=True)
    shutil.copy(RECORDED / name / "run.yaml", run.spec_file)
    logged = (RECORDED / name / "worker.log").read_text().splitlines(keepends=True)
    run.log.write_text("".join(logged[: int(len(logged) * share)]))
    records = [
        r for line in (RECORDED / name / "events.jsonl").read_bytes().splitlines() if (r := decode(line))
    ]
    if share < 1:
        last = max(r.event.step for r in records if isinstance(r.event, Step))
        cut = next(
            i for i, r in enumerate(records) if isinstance(r.event, Step) and r.event.step >= last * share
        )
        records = records[: cut + 1]
        write_facts(run, os.getpid())
        run.lock_file.touch()
        # the worker that is said to live is this process
        records = [
            r._replace(event=replace(r.event, pid=os.getpid())) if isinstance(r.event, Start) else r
            for r in records
        ]
    moved = time.time() - records[-1].time
    run.events_file.write_bytes(b"".join(encode(r.event, r.seq, r.time + moved) for r in records))
    if share == 1:
        run.adapter.mkdir()
        (run.adapter / "adapter_config.json").write_text("{}")
    return run


async def picture(
    name: str, size: tuple[int, int], app: FinetuiApp, show: Callable[[Pilot[None]], Awaitable[None]]
) -> None:
    async with app.run_test(size=size) as pilot:
        await show(pilot)
        await pilot.pause(0.2)
        svg = redraw(app.export_screenshot(title="finetui"))
    (HERE / f"{name}.svg").write_text(svg)
    if shutil.which("rsvg-convert"):
        subprocess.run(["rsvg-convert", HERE / f"{name}.svg", "-o", HERE / f"{name}.png"], check=True)
    print(name, flush=True)


async def until(pilot: Pilot[None], holds: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"not shown in {seconds} s on {pilot.app.screen}")
        await pilot.pause(0.05)


async def quiet(pilot: Pilot[None]) -> None:
    """Waits until nothing works in the background and the picture stands still."""
    before = ""
    await pilot.pause(0.3)
    while before != (before := pilot.app.export_screenshot(title="")) or any(
        worker.is_running for worker in pilot.app.workers
    ):
        await pilot.pause(0.4)


async def train(name: str, size: tuple[int, int], shot: str, home: Path, keys: tuple[str, ...] = ()) -> None:
    run = copied(name, home / shot / "runs", SHOWN_SHARE)

    async def show(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: getattr(pilot.app.screen, "_painted", 0))
        await pilot.press(*keys)
        await quiet(pilot)

    app = FinetuiApp(runs_dir=run.path.parent, home=home / shot, attach=run.path)
    await picture(shot, size, app, show)


async def chat(name: str, size: tuple[int, int], shot: str, home: Path) -> None:
    recorded = RECORDED / name / "chat.json"
    run = copied(name, home / shot / "runs")
    os.environ["FINETUI_RECORDED_CHAT"] = str(recorded)
    core.chat.client.SERVER = "screenshots.speaker"
    questions = list(json.loads(recorded.read_text())["answers"]["tuned"])

    async def show(pilot: Pilot[None]) -> None:
        screen: Any = pilot.app.screen
        pilot.app.open_chat(run)  # type: ignore[attr-defined]
        await until(
            pilot,
            lambda: (screen := pilot.app.screen) and getattr(screen, "chat", None) and screen.chat.ready,
        )
        screen = pilot.app.screen
        screen.query_one("#field-max-tokens").load("160")  # as many as were asked for when it was recorded
        for question in questions:
            screen.query_one("#ask").value = question
            await pilot.press("enter")
            await until(pilot, lambda: screen.chat.exchanges and not screen._answers)

    await picture(shot, size, FinetuiApp(runs_dir=run.path.parent, home=home / shot), show)


async def home_screen(names: list[str], home: Path) -> None:
    runs = home / "home" / "runs"
    for place, name in enumerate(names):
        copied(name, runs, SHOWN_SHARE if place == 0 else 1.0)
    await picture("home", LARGE, FinetuiApp(runs_dir=runs, home=home / "home"), quiet)


async def wizard(name: str, home: Path, steps: list[str]) -> None:
    """Each step with the choices of a recorded run, on the machine that it ran on."""
    machine = TypeAdapter(Machine).validate_json((RECORDED / name / "machine.json").read_text())
    shape = TypeAdapter(ModelShape).validate_json((RECORDED / name / "shape.json").read_text())
    core.machine.look = lambda: machine
    core.prepare.anchored = lambda spec: spec  # the pictures name no folder of this machine
    spec = load_spec(RECORDED / name / "run.yaml")
    for step in steps:
        app = FinetuiApp(runs_dir=home / "wizard" / "runs", home=home / step)
        journey = app.journey
        journey.set("aim", "manner")
        journey.set("model", spec.model)
        journey.set("data.source", spec.data.source)
        journey.set("data.eval", spec.data.eval)
        journey.done.update(WIZARD[: WIZARD.index(step)])
        journey.machine, journey.shape = machine, shape
        journey.report = json.loads((RECORDED / name / "data-report.json").read_text())

        async def show(pilot: Pilot[None], step: str = step) -> None:
            pilot.app.goto(step)  # type: ignore[attr-defined]
            await quiet(pilot)

        await picture(step, LARGE, app, show)


async def make(wanted: list[str]) -> None:
    def asked(shot: str) -> bool:
        return not wanted or shot in wanted

    with tempfile.TemporaryDirectory(prefix="finetui-pictures-") as folder:
        home = Path(folder)
        os.environ["FINETUI_HOME"] = folder
        if asked("home"):
            await home_screen([*dict.fromkeys(name for name, _ in TRAIN.values())], home)
        await wizard(WIZARD_OF, home, [step for step in WIZARD if asked(step)])
        for shot, (name, size) in TRAIN.items():
            if asked(shot):
                await train(name, size, shot, home)
        for shot, (name, size) in CHAT.items():
            if asked(shot):
                await chat(name, size, shot, home)


if __name__ == "__main__":
    asyncio.run(make(sys.argv[1:]))
