"""The table of `benchmarks.train`: its rows as they come, on the screen and in a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.train_cells import GOALS, Cell, plain_of, read
from core.errors import UserError

GIB = 2**30
COLUMNS = (
    "cell",
    "tokens/s",
    "beside",
    "padded",
    "of the card's rate",
    "peak GiB",
    "host GiB",
    "planned GiB",
    "planned tokens/s",
    "compiling s",
    "first step s",
    "load GB/s",
    "save s",
    "compiled",
    "attention",
)
UNKNOWN = "–"


class Results:
    """What was measured: a head and rows, and the folder (None: none) where they lie."""

    def __init__(self, folder: Path | None, resume: bool = False):
        """UserError: the folder has results already and they are not to be gone on with."""
        self._folder = folder
        self.head: dict[str, Any] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if self._file.exists():
            if not resume:
                raise UserError(
                    f"{folder} holds results already",
                    "they would be lost",
                    "go on with them by --resume, or give another folder",
                )
            self.head, rows = load(self._file)
            self.rows = {row["cell"]: row for row in rows}

    @property
    def _file(self) -> Path:
        assert self._folder is not None
        return self._folder / "results.jsonl"

    def begin(self, head: Callable[[], dict[str, Any]]) -> None:
        """Asks for the head where there is none yet."""
        if not self.head:
            self.head = head()
            self._write()

    def has(self, cell: Cell) -> bool:
        """Whether the cell was measured; one that failed is tried again."""
        return str(cell) in self.rows and "error" not in self.rows[str(cell)]

    def add(self, row: dict[str, Any]) -> None:
        self.rows[row["cell"]] = row
        self._write()

    def failed(self) -> bool:
        return any("error" in row for row in self.rows.values())

    def _write(self) -> None:
        if self._folder is None:
            return
        lines = [{"head": self.head}, *self.rows.values()]
        self._file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        whole = "\n".join([self.heading(), *map(self.line, self.rows.values()), self.ending()])
        (self._folder / "table.md").write_text(whole.rstrip() + "\n", encoding="utf-8")

    def heading(self) -> str:
        head = self.head
        versions = {
            **head["versions"],
            "torch": head["torch"],
            "cuda": head["cuda"],
            "driver": head["driver"],
        }
        named = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        rate = f"{head['rate'] / 1e12:,.3g} TFLOP/s ({head['product']})"
        said = f"{head['model']} on {head['card']}, measured matrix rate {rate}; {named}."
        return f"{said}\n\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"

    def line(self, row: dict[str, Any]) -> str:
        if "error" in row:
            said = " ".join(row["error"].split()).replace("|", "/")
            return f"| {row['cell']} | failed: {said} |{' |' * (len(COLUMNS) - 2)}"
        rate, peak = row["tokens_per_second"], row.get("peak")
        planned, expected = row.get("planned"), row.get("planned_tokens_per_second")
        compiled = row.get("compiled")
        values = (
            row["cell"],
            f"{rate:,.0f}",
            beside(row, self.rows),
            _said(row.get("padded"), "{:.1%}"),
            f"{row['matrix_share']:.1%}",
            _said(peak and peak / GIB, "{:.2f}"),
            _said(row.get("host") and row["host"] / GIB, "{:.2f}"),
            _said(planned and planned / GIB, "{:.2f}") + _off(planned, peak),
            _said(expected, "{:,.0f}") + _off(expected, rate),
            _said(row.get("compile_seconds"), "{:.1f}"),
            _said(row.get("first_step_seconds"), "{:.1f}"),
            _said(row.get("load_rate") and row["load_rate"] / 1e9, "{:.2f}"),
            _said(row.get("save_seconds"), "{:.2f}"),
            UNKNOWN if compiled is None else how(row) if compiled else f"no: {row.get('why')}",
            row.get("attention") or UNKNOWN,
        )
        return f"| {' | '.join(values)} |"

    def ending(self) -> str:
        """Which goals were measured, and whether they are reached; empty where none was."""
        lines = []
        for name, (most, least) in GOALS.items():
            row = self.rows.get(name)
            if row is None or "error" in row or (most is None and least is None):
                continue
            peak, rate = (row.get("peak") or 0) / GIB, row["tokens_per_second"]
            reached = (most is None or 0 < peak <= most) and (least is None or rate >= least)
            aimed = f"{_said(most, '{:g}')} | {_said(least, '{:,.0f}')}"
            lines.append(f"| {name} | {aimed} | {peak:.2f} · {rate:,.0f} | {'yes' if reached else 'no'} |")
        if not lines:
            return ""
        return "\n".join(
            [
                "\n| goal | at most GiB | at least tokens/s | measured | reached |",
                "|---|---|---|---|---|",
                *lines,
            ]
        )


def how(row: dict[str, Any]) -> str:
    return "yes, started as a whole" if row.get("recorded") else "yes"


def beside(row: dict[str, Any], rows: dict[str, dict[str, Any]]) -> str:
    """How fast a row is beside the same by TRL at its defaults and without what `finetui train` puts around
    the trainer, and packs beside rows of full length."""
    if row["by"] != "finetui":
        return UNKNOWN
    cell = read(row["cell"])
    others = {"plain": str(plain_of(cell)), "bare": str(replace(cell, by="bare"))}
    if cell.rows == "packed":
        others["full rows"] = row["cell"].removesuffix(":packed")
    said = [
        f"{row['tokens_per_second'] / rows[other]['tokens_per_second']:.3f} x {name}"
        for name, other in others.items()
        if other in rows and "error" not in rows[other]
    ]
    return ", ".join(said) or UNKNOWN


def load(file: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Head and rows of a results.jsonl. UserError: that is not what the file holds."""
    try:
        first, *rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return first["head"], rows
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{file} holds no results", str(error), "give what benchmarks.train wrote") from None


def _said(value: float | None, form: str) -> str:
    return UNKNOWN if value is None else form.format(value)


def _off(planned: float | None, real: float | None) -> str:
    return f" ({planned / real - 1:+.1%})" if planned and real else ""
