"""Rows of a benchmark in a file of JSON lines: added as they come, and read back by whoever goes on."""

import json
from pathlib import Path
from typing import Any


def rows_in(file: Path) -> dict[str, dict[str, Any]]:
    """What was written, by cell; torn lines, and cells that went wrong or must run again, are left out."""
    return {
        row["cell"]: row
        for row in _lines(file)
        if "cell" in row and "error" not in row and "crowded" not in row
    }


def crowded_in(file: Path) -> set[str]:
    """Cells that failed beside others."""
    return {row["cell"] for row in _lines(file) if "crowded" in row}


def add(file: Path, row: dict[str, Any]) -> None:
    """One more line, which begins anew where the last one was torn."""
    with file.open("ab+") as out:
        if out.tell():
            out.seek(-1, 2)
            if out.read(1) != b"\n":
                out.write(b"\n")
        out.write(json.dumps(row).encode() + b"\n")


def _lines(file: Path) -> list[dict[str, Any]]:
    found = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            found.append(row)
    return found
