"""What a file of gigabytes costs: `python -m benchmarks.big_file [--gigabytes 5] [--where /tmp] [--write]`.

It makes a JSONL of that size, and a fifth of it as a list, CSV, gzip and Parquet, and opens each in a process
of its own: the time to the first 1,000 rows with all imports, one full pass, one row from the middle once a
pass has noted where rows begin, and the most memory that the process held. `--write` puts the table into
docs/measured/data.md. The files are deleted.
"""

import argparse
import gzip
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GB = 10**9
HEAD = "# Sources of any size"
REPORT = Path(__file__).resolve().parent.parent / "docs" / "measured" / "data.md"
WORDS = ("the", "run", "holds", "a", "model", "and", "its", "data", "while", "loss", "falls")

MEASURE = """
import json, re, sys, time
begin = time.perf_counter()
from itertools import islice
from core.data.sources import open_source
from core.spec import SourceSpec
source = open_source(SourceSpec(source=sys.argv[1]))
first = sum(1 for _ in islice(source.rows(), 1_000))
head = time.perf_counter() - begin
begin = time.perf_counter()
rows = sum(1 for _ in source.rows())
full = time.perf_counter() - begin
begin = time.perf_counter()
assert source.row(rows // 2 + 321) is not None
row = time.perf_counter() - begin
# not getrusage: its peak begins with that of the process which started this one
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1)) * 1024
print(json.dumps({"first": first, "head": head, "rows": rows, "full": full, "row": row, "peak": peak}))
"""


def rows(size: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Questions and answers, as JSON and as objects, until their JSON is `size` bytes."""
    some = random.Random(0)
    texts = [" ".join(some.choices(WORDS, k=int(some.lognormvariate(4.3, 0.8)) + 1)) for _ in range(5_000)]
    number = 0
    while size > 0:
        row = {"number": number, "prompt": some.choice(texts), "completion": some.choice(texts)}
        line = json.dumps(row)
        size -= len(line) + 1
        number += 1
        yield line, row


def make(kind: str, folder: Path, size: int) -> Path:
    if kind == "parquet":
        return _parquet(folder / "rows.parquet", size)
    path = (
        folder
        / {"jsonl": "rows.jsonl", "list": "rows.json", "csv": "rows.csv", "gzip": "rows.jsonl.gz"}[kind]
    )
    with gzip.open(path, "wb", 1) if kind == "gzip" else path.open("wb", 1 << 20) as out:
        out.write({"list": b"[\n", "csv": b"number,prompt,completion\n"}.get(kind, b""))
        between = b""
        for line, row in rows(size):
            if kind == "csv":
                out.write(f'{row["number"]},"{row["prompt"]}","{row["completion"]}"\n'.encode())
                continue
            out.write(between + line.encode())
            between = b",\n" if kind == "list" else b"\n"
        out.write(b"]\n" if kind == "list" else b"")
    return path


def _parquet(path: Path, size: int) -> Path:
    import pyarrow
    import pyarrow.parquet

    writer, batch = None, []
    for _, row in rows(size):
        batch.append(row)
        if len(batch) == 100_000:
            table = pyarrow.Table.from_pylist(batch)
            writer = writer or pyarrow.parquet.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
            batch.clear()
    if writer is None:
        raise SystemExit("too few gigabytes for Parquet")
    writer.close()
    return path


def measured(path: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-P", "-c", MEASURE, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(REPORT.parent.parent.parent)},
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def write(table: str, gigabytes: float) -> None:
    """The section of the report anew; what stands in other sections is kept."""
    text = REPORT.read_text(encoding="utf-8") if REPORT.exists() else ""
    sections = [part for part in ("\n" + text).split("\n# ") if part.strip()]
    kept = [f"# {part.strip()}\n" for part in sections if not f"# {part}".startswith(HEAD)]
    about = (
        f"{HEAD}\n\nMade by `python -m benchmarks.big_file --gigabytes {gigabytes:g} --write` on "
        f"{os.cpu_count()} cores, Python {platform.python_version()}.\n"
        "Each file is opened in a process of its own.\n"
    )
    REPORT.write_text("\n".join([f"{about}\n{table}\n", *kept]), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=5)
    parser.add_argument("--where", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    out = [
        "| file | size | rows | first 1,000 rows | full pass | a row from the middle | most memory |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(out))
    for kind in ("jsonl", "list", "csv", "gzip", "parquet"):
        with tempfile.TemporaryDirectory(dir=given.where) as folder:
            path = make(kind, Path(folder), int(given.gigabytes * GB / (1 if kind == "jsonl" else 5)))
            one = measured(path)
            size = path.stat().st_size
        out.append(
            f"| {path.name} | {size / GB:.2f} GB | {one['rows']:,.0f} | {one['head']:.2f} s "
            f"| {one['full']:.1f} s, {size / one['full'] / 1e6:.0f} MB/s | {one['row'] * 1000:.0f} ms "
            f"| {one['peak'] / 2**20:.0f} MiB |"
        )
        print(out[-1], flush=True)
    if given.write:
        write("\n".join(out), given.gigabytes)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
