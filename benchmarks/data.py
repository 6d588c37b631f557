"""How long the whole look at data takes, and how much memory its process holds: made rows, one child each.

    python -m benchmarks.data [--rows 100000] [--model FOLDER] [--big GIB …] [--folder DIR] [--write]

`--big`: also files of so many GiB, of which those above 1 are looked at by the head alone. `--write`: the
table to docs/measured/data.md.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from core.job import command, environment

REPO = Path(__file__).resolve().parent.parent
TABLE = REPO / "docs" / "measured" / "data.md"
SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "el", "or")]
MIB = 2**20


def sentence(chance: random.Random, words: int) -> str:
    return " ".join("".join(chance.choices(SYLLABLES, k=chance.randint(1, 3))) for _ in range(words))


def make(path: Path, rows: int) -> None:
    """Questions and answers of unlike length, all different."""
    chance = random.Random(1)
    with path.open("w") as file:
        for number in range(rows):
            prompt = f"{number}: {sentence(chance, chance.randint(4, 16))}?"
            answer = sentence(chance, chance.randint(8, 44)) + "."
            file.write(json.dumps({"prompt": prompt, "completion": answer}) + "\n")


def lengthen(path: Path, source: Path, size: int) -> None:
    """The file over and over, each time with other numbers, until it has so many bytes."""
    lines = source.read_text().splitlines()
    turn = 0
    with path.open("w") as file:
        while file.tell() < size:
            turn += 1
            file.write(
                "".join(line.replace('"prompt": "', f'"prompt": "{turn}.', 1) + "\n" for line in lines)
            )


async def look(source: Path, model: str, **more: Any) -> dict[str, Any]:
    """The report of an inspect child, with its seconds and its highest memory in MiB."""
    request = {"source": str(source), "model": model, "length": 2_048, **more}
    begun = time.monotonic()
    child = await asyncio.create_subprocess_exec(
        *command("core.data.inspect"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment(),
        limit=64 * MIB,
    )
    assert child.stdin and child.stdout
    child.stdin.write(json.dumps(request).encode())
    child.stdin.close()
    peak, told = 0, {}
    async for line in child.stdout:
        told = json.loads(line)
        peak = max(peak, memory_of(child.pid))
    await child.wait()
    return {**told["result"], "seconds": time.monotonic() - begun, "mib": peak}


def memory_of(pid: int) -> int:
    """MiB that the process has held at most so far, as Linux counts them."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), 0)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rows", type=int, default=100_000)
    asked.add_argument("--model", default=str(REPO / "core" / "demo" / "model"))
    asked.add_argument("--big", type=float, nargs="*", default=[])
    asked.add_argument("--folder", default=None)
    asked.add_argument("--write", action="store_true")
    wanted = asked.parse_args()
    lines = ["| data | look | rows | seconds | peak MiB of its process |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory(dir=wanted.folder) as folder:
        source = Path(folder) / "rows.jsonl"
        make(source, wanted.rows)
        for size in (0.0, *wanted.big):
            path, name = source, f"{wanted.rows:,} rows, {source.stat().st_size // MIB} MiB"
            if size:
                path, name = Path(folder) / "big.jsonl", f"{size:g} GiB of such rows"
                lengthen(path, source, int(size * 2**30))
            for what, more in (("head", {"preview": True}), ("whole", {})):
                if what == "whole" and size > 1:
                    continue  # as many seconds a row as of the others
                found = asyncio.run(look(path, wanted.model, **more))
                rows = found["rows"] or found["rows_estimate"]
                about = "" if found["complete"] else "about "
                lines.append(
                    f"| {name} | {what} | {about}{rows:,} | {found['seconds']:.1f} | {found['mib']} |"
                )
                print(lines[-1], flush=True)
                if what == "whole":
                    print(f"  {found['tokens'] / found['fates']['rows']:.0f} tokens a row", flush=True)
    if wanted.write:
        write(lines)


def write(lines: list[str]) -> None:
    head = "## The whole look at data\n"
    before = TABLE.read_text() if TABLE.exists() else "# Data, measured\n\n"
    kept = before.split(head)[0].rstrip("\n")
    cores = f"{os.cpu_count()} cores, Python {sys.version.split()[0]}"
    TABLE.write_text(f"{kept}\n\n{head}\n`python -m benchmarks.data`, {cores}.\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
