"""What the screen costs: first paint, CPU, memory, replay, and what an attached screen takes from a run.

    python -m benchmarks.screen [--only NAME …] [--model FOLDER --data FILE] [--seconds N]

Everything is measured in one call on one machine, in a real pseudo-terminal of 120 x 40. A ratio is of two
things measured in turns. Writes docs/measured/screen.md and screen.json; exit status 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from benchmarks.terminal import REPO, terminal
from core.job import environment
from core.runs.events import EventLog, Follow, Gpu, Stage, Start, Step, encode
from core.runs.folder import RunFolder, create
from core.runs.history import History
from core.runs.history import replay as replayed
from core.runs.lock import write_facts
from core.spec import dump_spec, parse_spec

OUT = REPO / "docs" / "measured"
EMPTY = (
    "from textual.app import App\nfrom textual.widgets import Static\n"
    "class A(App):\n    def compose(self):\n        yield Static('ready here')\nA().run()"
)
GIB = 2**30
PAIRS = 30
"""Turns with a screen and without, of the run that is measured."""


@dataclass
class Result:
    what: str
    value: float
    unit: str
    goal: float
    how: str

    @property
    def held(self) -> bool:
        return self.value <= self.goal


def finetui(*words: str) -> list[str]:
    return [sys.executable, "-P", "-m", "tui", *words]


# -- the measurements


def first_paint(home: Path) -> list[Result]:
    """From the start of the process until its first words are on the wire, in turns with an empty app."""
    ours, empty = [], []
    for turn in range(8):
        with terminal([sys.executable, "-P", "-c", EMPTY], home) as one:
            empty.append(one.until("ready here"))
        with terminal(finetui(), home) as one:
            ours.append(one.until("finetui"))
        if turn == 0:  # caches of the disk and of the bytecode are cold
            ours.clear(), empty.clear()
    mine, bare = statistics.median(ours), statistics.median(empty)
    how = f"median of 7 in turns: {mine * 1000:.0f} ms against {bare * 1000:.0f} ms for an empty Textual app"
    return [Result("first paint of `finetui`", mine / bare, "x", 2.0, how)]


def screen_cost(home: Path, seconds: float) -> list[Result]:
    """CPU and memory of the open Train screen, at rest and while a run steps."""
    run = written_run(home, "bench", steps=2000)
    results = []
    with terminal(finetui("attach", "bench"), home) as one:
        one.until("tokens/s")
        process = psutil.Process(one.process.pid)
        time.sleep(5)
        at_rest = cpu_share(process, seconds)
        results.append(Result("CPU of the Train screen at rest", at_rest * 100, "% of a core", 3.0,
                              f"{seconds:.0f} s on a run that lives and says nothing"))  # fmt: skip
        sent = one.bytes
        with stepping(run, first=2001, every=0.5):
            time.sleep(2)
            busy = cpu_share(process, seconds)
        rate = (one.bytes - sent) / (seconds + 2) / 1024
        results.append(Result("CPU of the Train screen while a run steps", busy * 100, "% of a core", 3.0,
                              f"{seconds:.0f} s, two steps a second, GPU samples every 2 s, "
                              f"after 2,000 steps; {rate:.1f} KiB/s sent to the terminal"))  # fmt: skip
        rss = process.memory_info().rss / 2**20
        results.append(Result("memory of the screen's process", rss, "MiB", 120.0,
                              "resident, Train screen after 2,000 steps and 1,000 GPU samples"))  # fmt: skip
    return results


def replay(home: Path) -> list[Result]:
    """100,000 events read and folded, as an attaching screen does."""
    run = written_run(home, "long", steps=66_000)
    took = []
    for _ in range(5):
        begun = time.process_time()
        history = replayed(run)
        took.append(time.process_time() - begun)
    size = run.events_file.stat().st_size / 2**20
    how = f"CPU time, best of 5; {history.folded:,} events, {size:.0f} MiB, {history.step:,} steps"
    return [Result("replay of 100,000 events", min(took) / history.folded * 100_000, "s", 1.0, how)]


def attached(home: Path, seconds: float, model: Path, data: Path) -> list[Result]:
    """Step times of one real training run, in turns with and without a screen attached."""
    run = create(home / "runs", "trained")
    spec = parse_spec({
        "model": str(model), "data": {"source": str(data), "eval": 0}, "method": "lora", "template": "chatml",
        "length": 64, "batch": 1, "accumulate": 1, "steps": 20_000, "learning_rate": 1e-4,
        "optimizer": "adamw",
        "recompute": 0, "precision": "fp32", "save": {"every": 1_000_000},
        "evaluate": {"every": 1_000_000},
        "name": "trained",
    })  # fmt: skip
    run.spec_file.write_text(dump_spec(spec, full=True))
    with run.log.open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "core.train.worker", str(run.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(),
            start_new_session=True,
        )
    write_facts(run, worker.pid)
    follow, seen = Follow(run.events_file), History()
    try:
        wait_for_steps(follow, seen, worker, run, 30)
        means: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(PAIRS):
            with terminal(finetui("attach", "trained"), home) as one:
                one.until("tokens/s")
                time.sleep(2)  # the start of the screen is not what is measured
                means[True] += window(follow, seen, seconds / 4)
            time.sleep(1)
            means[False] += window(follow, seen, seconds / 4)
    finally:
        worker.terminate()
        worker.wait(60)
    pairs = list(zip(means[True], means[False], strict=False))
    if len(pairs) < PAIRS:
        raise SystemExit("too few steps in too short a time: give more --seconds")
    ratios = sorted(a / b for a, b in pairs)
    loss = (statistics.median(ratios) - 1) * 100
    ms = {on: statistics.median(values) * 1000 for on, values in means.items()}
    low, high = ((ratios[i] - 1) * 100 for i in (PAIRS // 4, -PAIRS // 4))
    how = (
        f"median of {PAIRS} pairs of turns of one run: {ms[True]:.2f} ms a step against "
        f"{ms[False]:.2f} ms; half of the pairs between {low:+.1f} and {high:+.1f} %"
    )
    return [Result("time that an attached screen takes from a run", max(loss, 0.0), "%", 1.0, how)]


# -- what they stand on


def cpu_share(process: psutil.Process, seconds: float) -> float:
    """Share of one core over the time, of the process and all its threads."""
    before, begun = process.cpu_times(), time.perf_counter()
    time.sleep(seconds)
    after, passed = process.cpu_times(), time.perf_counter() - begun
    return (after.user + after.system - before.user - before.system) / passed


def step(n: int, steps: int) -> Step:
    loss = 1.2 + 3 / (1 + n / 60) + (n * 7919 % 101 - 50) / 500
    return Step(n, steps, n / 1000, loss, 2e-4, 0.8, n * 4000, 10_900.0, 18 * GIB, n * 0.4)


def gpu(n: int) -> Gpu:
    one = {
        "index": 0, "name": "NVIDIA H200", "utilisation": 0.9 + n % 9 / 100, "memory_used": 18 * GIB,
        "memory_total": 140 * GIB, "power": 600.0 + n % 30, "power_limit": 700.0, "temperature": 64,
        "clock_sm": 1980, "clock_memory": 2619,
        "processes": [{"pid": 42, "name": "python", "bytes": 17 * GIB}],
    }  # fmt: skip
    return Gpu(
        [one], {"cpu": 0.5, "ram_used": 9 * GIB, "ram_total": 99 * GIB, "worker_cpu": 1.0, "worker_ram": GIB}
    )


def written_run(home: Path, name: str, *, steps: int) -> RunFolder:
    """A run whose past is written and whose worker is this process: a GPU sample after every second step."""
    run = create(home / "runs", name)
    spec = {
        "model": "meta-llama/Llama-3.1-8B",
        "data": {"source": "a.jsonl"},
        "name": name,
        "price_per_hour": 2.0,
    }
    run.spec_file.write_text(dump_spec(parse_spec(spec), full=True))
    begun, seq = time.time() - steps * 0.5, 0
    with run.events_file.open("wb") as file:
        for event in (Start(os.getpid()), Stage("train")):
            file.write(encode(event, seq := seq + 1, begun))
        for n in range(1, steps + 1):
            file.write(encode(step(n, steps * 2), seq := seq + 1, begun + n * 0.5))
            if n % 2 == 0:
                file.write(encode(gpu(n), seq := seq + 1, begun + n * 0.5))
    write_facts(run, os.getpid())
    run.lock_file.touch()
    return run


@contextmanager
def stepping(run: RunFolder, *, first: int, every: float) -> Iterator[None]:
    """A writer that steps like a worker, from a thread of this process, which is not the one measured."""
    log, leave = EventLog(run.events_file), threading.Event()

    def write() -> None:
        n = first
        while not leave.wait(every):
            log.write(step(n, first * 2))
            if n % 4 == 0:
                log.write(gpu(n))
                run.lock_file.touch()
            n += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        leave.set()
        thread.join()
        log.close()


def wait_for_steps(
    follow: Follow, seen: History, worker: subprocess.Popen[bytes], run: RunFolder, steps: int
) -> None:
    deadline = time.monotonic() + 300
    while seen.step < steps:
        seen.fold(follow.poll())
        if worker.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the training run did not start; its log is {run.log}")
        time.sleep(0.2)


def window(follow: Follow, seen: History, seconds: float) -> list[float]:
    """The mean seconds of a step in a stretch of time, by the worker's own clock; [] where it took none."""
    seen.fold(follow.poll())
    first = len(seen.steps)
    time.sleep(seconds)
    seen.fold(follow.poll())
    fresh = seen.steps[first:]
    if len(fresh) < 2:
        return []
    return [(fresh[-1].seconds - fresh[0].seconds) / (fresh[-1].step - fresh[0].step)]


def report(results: list[Result]) -> str:
    machine = f"{psutil.cpu_count()} cores, Python {platform.python_version()}, textual {textual_version()}"
    lines = ["# What the screen costs", "", f"Made by `python -m benchmarks.screen` on {machine}.", "",
             "| what | measured | goal | how |", "|---|---|---|---|"]  # fmt: skip
    for one in results:
        mark = "" if one.held else " (missed)"
        lines.append(
            f"| {one.what} | {one.value:.2f} {one.unit}{mark} | {one.goal:g} {one.unit} | {one.how} |"
        )
    return "\n".join(lines) + "\n"


def textual_version() -> str:
    from importlib.metadata import version

    return version("textual")


def main() -> int:
    names = ("paint", "cost", "replay", "attached")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--seconds", type=float, default=30, help="of each stretch of CPU measurement")
    parser.add_argument(
        "--model", type=Path, default=REPO / "core" / "demo" / "model", help="to train, for `attached`"
    )
    parser.add_argument("--data", type=Path, default=REPO / "core" / "demo" / "taught.jsonl")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="finetui-bench-") as folder:
        home = Path(folder)
        ways: dict[str, Callable[[], list[Result]]] = {
            "paint": lambda: first_paint(home),
            "cost": lambda: screen_cost(home, given.seconds),
            "replay": lambda: replay(home),
            "attached": lambda: attached(home, given.seconds, given.model, given.data),
        }
        results = []
        for name in given.only:
            for one in ways[name]():
                print(f"{one.what}: {one.value:.2f} {one.unit} (goal {one.goal:g}); {one.how}", flush=True)
                results.append(one)
    if set(given.only) == set(names):
        OUT.mkdir(parents=True, exist_ok=True)
        (OUT / "screen.md").write_text(report(results))
        (OUT / "screen.json").write_text(json.dumps([asdict(one) for one in results], indent=1) + "\n")
    return 0 if all(one.held for one in results) else 1


if __name__ == "__main__":
    sys.exit(main())
