"""Rows as conversations, a few lines each: who says what, what is learned, and why a row cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.content import Content

ROLE_WIDTH = 11


def turn_lines(rows: Sequence[Mapping[str, Any]], width: int, most: int = 1) -> list[Content]:
    """Lines of at most `width` cells, up to `most` for a turn; a learned turn has a bar and is green."""
    lines = []
    for row in rows:
        number = f"{row['row']:,}"
        if row.get("problem"):
            told = Content.assemble(
                (f"{number}  ✗ ", "bold $text-error"), (str(row["problem"]), "$text-error")
            )
            lines.append(told.truncate(width, ellipsis=True))
            continue
        for place, turn in enumerate(row["turns"]):
            lines += _turn(turn, number if not place else "", width, most)
    return lines


def _turn(turn: Mapping[str, Any], number: str, width: int, most: int) -> list[Content]:
    learned = bool(turn.get("learn"))
    role, style = str(turn["role"]), "$text-success" if learned else "$foreground 75%"
    if "verdict" in turn:
        role = str(turn["verdict"])
    start = f"{number:<3}{'▌' if learned else ' '}{role:<{ROLE_WIDTH}}"
    text = Content.styled(" ".join(str(turn.get("content") or "–").split()), style)
    room = max(width - len(start), 8)
    wrapped = text.wrap(room) if text.cell_length > room else [text]
    if len(wrapped) > most:
        kept = wrapped[:most]
        last = kept[-1].rstrip().truncate(room - 2)
        wrapped = [*kept[:-1], Content.assemble(last, (" …", style))]
    head = Content.styled(start, "bold $text-success" if learned else "bold")
    rest = " " * 3 + ("▌" if learned else " ") + " " * ROLE_WIDTH
    return [
        Content.assemble((head if not i else Content.styled(rest, style)), line)
        for i, line in enumerate(wrapped)
    ]
