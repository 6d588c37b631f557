"""A measurement before the run against the whole run: `python -m benchmarks.measured SPEC …`.

Each SPEC is measured as `finetui plan SPEC --measure` does it, and then trained to its end with the settings
that the measurement came to, in folders of its own. On a GPU the peak of torch's allocator and the speed are
compared, on a CPU the memory of the worker, which is looked at every two seconds. Prints a line a spec, and
writes one as JSON with --out FILE; exit status 1 where a measurement was under the run, or more than a
hundredth over it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from core.cli import options
from core.job import command, environment
from core.machine import look
from core.plan import measuring
from core.prepare import elsewhere, prepare
from core.runs.events import Error, Finding, Follow, Gpu
from core.runs.folder import RunFolder, create
from core.spec import RunSpec, dump_spec

GIB = 2**30
OVER = 0.01


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("specs", nargs="+", type=Path)
    parser.add_argument("--set", action="append", dest="changes", metavar="KEY=VALUE")
    parser.add_argument("--vram", type=float, metavar="GIB", help="measure only, as on a card of this size")
    parser.add_argument("--out", type=Path, metavar="FILE")
    asked = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="finetui-measured-") as place:
        os.environ["FINETUI_HOME"] = place
        for file in asked.specs:
            spec = options.spec_of(file, None, None, None, asked.changes)
            told = compared(spec, file.stem, Path(place), asked.vram)
            wrong += told.get("off") is not None and not 0 <= told["off"] <= OVER
            print(line(told), flush=True)
            if asked.out:
                with asked.out.open("a") as out:
                    out.write(json.dumps(told) + "\n")
    return 1 if wrong else 0


def compared(spec: RunSpec, name: str, place: Path, vram: float | None) -> dict[str, Any]:
    """Bytes of the measurement and of the run, and by how much the first is over the second."""
    prepared = prepare(spec, card=elsewhere(vram, None, look().ram_available))
    found = measuring.measure(prepared.spec, cap=int(vram * GIB) if vram else None, anyway=True)
    told: dict[str, Any] = {"spec": name, "fits": found.fits, "changes": list(found.changes)}
    if not found.fits:
        return told | {"why": found.told["why"]}
    cuda, phases = found.told["kind"] == "cuda", found.told["phases"].values()
    told |= {
        "card": found.told["card"],
        "measured": max(one["allocated" if cuda else "ram"] for one in phases),
    }
    told |= {"speed": found.told["tokens_per_second"], "phases": found.told["phases"]}
    if vram:
        return told
    run = create(place / "runs", name)
    run.spec_file.write_text(dump_spec(found.spec, full=True))
    with run.log.open("wb") as log:
        subprocess.run(
            [*command("core.train.worker"), str(run.path)], stderr=log, stdout=log, env=environment()
        )
    took, speed = peak_of(run, cuda)
    return told | {"run": took, "run_speed": speed, "off": told["measured"] / took - 1}


def peak_of(run: RunFolder, cuda: bool) -> tuple[int, float]:
    """What the whole run took, and its tokens a second. SystemExit where it failed."""
    events = [record.event for record in Follow(run.events_file).poll()]
    for event in events:
        if isinstance(event, Error) or (isinstance(event, Finding) and event.code == "out_of_memory"):
            sys.exit(f"{run.name}: {event.what}: {event.why}")
    report = json.loads(run.report_file.read_text())
    speed = report["tokens"] / report["training_seconds"]
    if cuda:
        return report["peak_gpu_bytes"], speed
    return max(event.host["worker_ram"] for event in events if isinstance(event, Gpu)), speed


def line(told: dict[str, Any]) -> str:
    if not told["fits"]:
        return f"{told['spec']}: does not fit ({told['why']})"
    text = f"{told['spec']}: measured {told['measured'] / GIB:.3f} GiB, {told['speed'] or 0:,.0f} tokens/s"
    if "run" in told:
        text += (
            f"; the run {told['run'] / GIB:.3f} GiB ({told['off']:+.2%}), {told['run_speed']:,.0f} tokens/s"
        )
    return "; ".join([text, *told["changes"]])


if __name__ == "__main__":
    sys.exit(main())
