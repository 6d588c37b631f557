"""How the commands speak: aligned tables, calm colour on a terminal only, one JSON value with --json."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import IO, Any

STYLES = {"dim": "2", "bold": "1", "good": "32", "warn": "33", "bad": "31", "accent": "36"}
SEVERITY = {"stop": ("stop", "bad"), "warn": ("warn", "warn"), "info": ("note", "dim")}
STATE_STYLE = {"running": "accent", "starting": "accent", "finished": "good", "failed": "bad", "died": "bad"}


def paint(text: str, style: str, stream: IO[str] | None = None) -> str:
    """The text in a colour, where the stream is a terminal that shows colours and NO_COLOR is not set."""
    stream = stream or sys.stdout
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty()
    return text if plain else f"\x1b[{STYLES[style]}m{text}\x1b[0m"


def say(text: str = "") -> None:
    print(text, flush=True)


def answer(value: Any) -> None:
    """The one JSON value of a --json call."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def table(rows: Sequence[Sequence[str]], head: Sequence[str], right: Sequence[int] = ()) -> str:
    """Rows under a dim head, columns as wide as they need; `right` names those that hold numbers."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([paint(line(head), "dim"), *map(line, rows)])


def pairs(facts: Sequence[tuple[str, str]]) -> str:
    """Names and values in two columns."""
    width = max(len(name) for name, _ in facts)
    return "\n".join(f"{paint(name.ljust(width), 'dim')}  {value}".rstrip() for name, value in facts)


def findings(found: Sequence[dict[str, Any]]) -> str:
    """A line each: how grave, what, and what to do."""
    lines = []
    for one in found:
        word, style = SEVERITY.get(one["severity"], ("note", "dim"))
        todo = f" → {one['todo']}" if one.get("todo") else ""
        lines.append(f"{paint(word.ljust(4), style)}  {one['message']}{paint(todo, 'dim')}")
    return "\n".join(lines)


def progress(wanted: bool = True) -> tuple[Callable[[str, int, int | None], None], Callable[[], None]]:
    """A line on stderr that says what is happening, only on a terminal; and how to wipe it away."""
    if not wanted or not sys.stderr.isatty():
        return (lambda stage, done, total: None), (lambda: None)

    def tell(stage: str, done: int, total: int | None) -> None:
        amount = f" {done:,} of {total:,}" if total else f" {done:,}" if done else ""
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[2K{f'{stage} …{amount}'[:width]}", end="", file=sys.stderr, flush=True)

    return tell, lambda: print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
