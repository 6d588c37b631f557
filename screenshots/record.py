"""Records a real run for pictures and tests: its folder's texts, and what the wizard and the chat said of it.

    python screenshots/record.py RUN_FOLDER NAME [--texts-only] [--report] [--ask …] [--strip …]

Writes tests/recorded/NAME: run.yaml, events.jsonl, worker.log, machine.json, shape.json; with --report
data-report.json and the answers given while it learned, which hold rows, so only of data that is ours; with
--ask chat.json. Call it on the machine that trained, with its model and data in place. PREFIXes (folders of
that machine) are taken out of the texts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))
LOG_LINES = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--texts-only", action="store_true", help="the machine that trained is not this one")
    parser.add_argument("--report", action="store_true", help="keep the data report, with its rows")
    parser.add_argument("--ask", nargs="*", default=[], help="questions to put to both sides")
    parser.add_argument("--strip", nargs="*", default=[], help="prefixes of paths to take out")
    given = parser.parse_args()

    from core.job import run_job
    from core.machine import look
    from core.models.shape import read_shape
    from core.prepare import inspect_request
    from core.runs.folder import RunFolder

    run, out = RunFolder(given.run.absolute()), REPO / "tests" / "recorded" / given.name
    spec = run.spec()
    texts = {
        "run.yaml": run.spec_file.read_text(),
        "events.jsonl": events(run.events_file.read_bytes(), samples=given.report),
        "worker.log": "\n".join(run.log.read_text(errors="replace").splitlines()[-LOG_LINES:]) + "\n",
    }
    if not given.texts_only:
        texts["machine.json"] = as_json(asdict(look()))
        texts["shape.json"] = as_json(asdict(read_shape(spec.model, spec.revision)))
    if given.report:
        texts["data-report.json"] = as_json(run_job("core.data.inspect", inspect_request(spec)))
    if given.ask:
        texts["chat.json"] = as_json(asyncio.run(chat(run.path, given.ask)))
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        for prefix in (f"{run.path.parent}/", *given.strip):
            text = text.replace(prefix, "")
        (out / name).write_text(text)
        print(f"{out / name}: {len(text):,} characters")


def events(log: bytes, *, samples: bool) -> str:
    """The event log; without `samples` the answers in between are left out and the rest is numbered anew."""
    from core.runs.events import Sample, decode, encode

    told = [record for line in log.splitlines() if (record := decode(line))]
    kept = [record for record in told if samples or not isinstance(record.event, Sample)]
    return b"".join(encode(one.event, seq, one.time) for seq, one in enumerate(kept, told[0].seq)).decode()


def as_json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


async def chat(run: Path, questions: list[str]) -> dict[str, Any]:
    """Both sides' answers to each question, asked alone, piece by piece as they came."""
    from core.chat.client import ChatProcess
    from core.chat.talk import Settings

    answers: dict[str, dict[str, Any]] = {}
    async with ChatProcess() as process:
        ready = await process.start(run=run)
        for side in ready.sides:
            for question in questions:
                settings = Settings(temperature=0.0, max_tokens=160)
                reply = process.generate(
                    [{"role": "user", "content": question}], side=side, settings=settings
                )
                pieces = [piece async for piece in reply]
                assert reply.done
                answers.setdefault(side, {})[question] = {"pieces": pieces, "done": asdict(reply.done)}
        return {"ready": {**asdict(ready), "checkpoint": None}, "answers": answers}


if __name__ == "__main__":
    main()
