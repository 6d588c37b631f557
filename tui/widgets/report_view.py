"""What the data report says, in words and small pictures: pure functions from the report to lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.content import Content

from core.numbers import count, percent
from tui.widgets.histogram import histogram

FORMATS = {
    "alpaca": "Alpaca",
    "sharegpt": "ShareGPT",
    "messages": "messages",
    "completion": "prompt and completion",
    "text": "plain text",
}
MARKS = {
    "stop": ("✗", "$text-error"),
    "warn": ("!", "$text-warning"),
    "info": ("·", "$foreground 60%"),
}
"""Severity -> its mark, so that it is told without colour, and its colour."""


def sure(confidence: float) -> str:
    """How certain the recognition is, in a word."""
    return "certain" if confidence >= 0.95 else "likely" if confidence >= 0.7 else "a guess"


def summary(report: Mapping[str, Any]) -> Content:
    """One line: the format and how sure, rows and how they are shared out, tokens."""
    kind, confidence = report.get("format"), float(report.get("confidence") or 0)
    known = FORMATS.get(str(kind), str(kind)) if kind and kind != "unknown" else "not recognised"
    pieces: list[tuple[str, str] | str] = [(known, "bold")]
    if kind and kind != "unknown":
        pieces.append((f" ({sure(confidence)}, {percent(confidence)})", "$foreground 60%"))
    held = report.get("eval_rows") or 0
    pieces.append(f" · {count(report.get('rows'))} rows: {count(report.get('train_rows'))} to learn from, ")
    pieces.append(f"{count(held)} held out" if held else ("none held out", "$text-warning"))
    if report.get("tokens"):
        share = (report.get("learned_tokens") or 0) / report["tokens"]
        pieces.append(f" · {count(report['tokens'])} tokens, {percent(share)} learned")
    return Content.assemble(*pieces)


def columns_line(columns: Mapping[str, str | None]) -> Content:
    """What each column becomes: `instruction → prompt · output → completion · id –`."""
    pieces: list[tuple[str, str] | str] = []
    for name, role in columns.items():
        if pieces:
            pieces.append(("  ·  ", "$foreground 35%"))
        if role:
            pieces += [name, (" → ", "$foreground 60%"), (role, "bold $text-success")]
        else:
            pieces.append((f"{name} unused", "$foreground 35%"))
    return Content.assemble(*pieces)


def finding_lines(findings: Sequence[Mapping[str, Any]], width: int) -> Content:
    """Every finding, worst first, wrapped by the widget: mark, message, what to do."""
    if not findings:
        return Content.styled("✓ nothing wrong was found", "$text-success")
    order = list(MARKS)
    lines = []
    for finding in sorted(findings, key=lambda one: order.index(str(one.get("severity", "info")))):
        mark, colour = MARKS[str(finding.get("severity", "info"))]
        todo = str(finding.get("todo") or "")
        line = Content.assemble(
            (f"{mark} ", f"bold {colour}"),
            (str(finding.get("message", "")), colour if finding.get("severity") == "stop" else ""),
            (f" – {todo}" if todo else "", "$foreground 60%"),
        )
        lines += line.fold(width) if width <= 4 else _hanging(line, width)
    return Content("\n").join(lines)


def _hanging(line: Content, width: int) -> list[Content]:
    """Wrapped with the mark standing free at the left."""
    first, *more = line.wrap(width) if line.cell_length > width else [line]
    if not more:
        return [first]
    rest = Content(" ").join(piece.rstrip() for piece in more)
    return [first, *(piece.pad_left(2) for piece in rest.wrap(width - 2))]


def worst(findings: Sequence[Mapping[str, Any]], severity: str = "stop") -> str:
    """The first message of that severity, or ""."""
    return next((str(one["message"]) for one in findings if one.get("severity") == severity), "")


def length_lines(report: Mapping[str, Any], width: int, height: int, limit: int | None) -> Content:
    """The histogram of token lengths with one line of figures under it."""
    lengths = report.get("lengths")
    if not lengths:
        return Content.styled("token lengths need a model's tokenizer", "$foreground 60%")
    shape = lengths["histogram"]
    lines = histogram(shape["edges"], shape["counts"], width, max(height - 1, 2), limit)
    figures = (
        f"half ≤ {count(lengths['p50'])} · 95 % ≤ {count(lengths['p95'])} · longest {count(lengths['max'])}"
    )
    lines.append(Content.styled(figures, "$foreground 60%").truncate(width, ellipsis=True))
    return Content("\n").join(lines)


def cell(value: Any, width: int = 48) -> str:
    """A value of a row on one line, cut."""
    text = " ".join(str(value).split())
    return text if len(text) <= width else text[: width - 1] + "…"
