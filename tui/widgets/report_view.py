"""What the data report says, in words and small pictures: pure functions from the report to lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.content import Content

from core.numbers import count, percent

FORMATS = {
    "alpaca": "Alpaca",
    "sharegpt": "ShareGPT",
    "messages": "messages",
    "completion": "prompt and completion",
    "text": "plain text",
    "preference": "preference",
    "kto": "KTO",
}
LOOKS = {
    "alpaca": "an instruction, an input and an output",
    "sharegpt": "turns with from and value",
    "messages": "turns with role and content",
    "completion": "a prompt and its answer",
    "text": "text without turns",
    "preference": "a chosen and a rejected answer",
    "kto": "answers labelled good or bad",
}
"""What a row of each format looks like."""
MARKS = {
    "stop": ("✗", "$text-error"),
    "warn": ("!", "$text-warning"),
    "info": ("·", "$foreground 60%"),
}
"""Severity -> its mark, so that it is told without colour, and its colour."""


def sure(confidence: float) -> str:
    """How certain the recognition is."""
    return "certain" if confidence >= 0.995 else f"{percent(confidence)} sure"


def format_line(report: Mapping[str, Any], brief: bool = False) -> Content:
    """What the rows are, how sure that is, and by what it was told: `ShareGPT · 98 % sure · turns …`.

    `brief`: without the last of it, so that something else can follow.
    """
    sources = report.get("sources") or ()
    if len(sources) > 1:
        kinds = {FORMATS.get(str(one.get("format")), str(one.get("format"))) for one in sources}
        return Content.assemble((f"{len(sources)} sources", "bold"), f" · {', '.join(sorted(kinds))}")
    kind = str(report.get("format") or "unknown")
    if kind == "unknown":
        return Content.assemble(("not recognised", "bold $text-warning"), " · m says what each column is")
    why = "" if brief else str((sources[0].get("why") if sources else "") or LOOKS.get(kind, ""))
    confidence = float(report.get("confidence") or 0)
    colour = "$foreground 60%" if confidence >= 0.7 else "$text-warning"
    return Content.assemble(
        (FORMATS.get(kind, kind), "bold"), (f" · {sure(confidence)}", colour), (f" · {why}" if why else "")
    )


def rows_line(report: Mapping[str, Any]) -> Content:
    """How many rows, how they are shared out, and how much of them is learned."""
    held = report.get("eval_rows") or 0
    pieces: list[tuple[str, str] | str] = []
    if not report.get("complete", True):
        whole = report.get("rows") or report.get("rows_estimate")
        about = "" if report.get("rows") else "about "
        read = sum(int(one.get("rows") or 0) for one in report.get("sources") or ()) or HEAD
        pieces.append((f"the first {count(read)} rows", "bold"))
        pieces.append(f" of {about}{count(whole)}" if whole else "")
    else:
        pieces.append(f"{count(report.get('rows'))} rows: {count(report.get('train_rows'))} to learn from, ")
        pieces.append(f"{count(held)} held out" if held else ("none held out", "$text-warning"))
    if report.get("tokens"):
        share = (report.get("learned_tokens") or 0) / report["tokens"]
        pieces.append(f" · {count(report['tokens'])} tokens, {percent(share)} learned")
    return Content.assemble(*pieces)


HEAD = 1_000
"""Rows of which a preview tells."""


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
    """Every finding, worst first, wrapped: mark, message, what to do."""
    if not findings:
        return Content.styled("✓ nothing wrong was found", "$text-success")
    return Content("\n").join(finding_line(one, width) for one in in_order(findings))


def in_order(findings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Worst first."""
    order = list(MARKS)
    return sorted(findings, key=lambda one: order.index(str(one.get("severity", "info"))))


def finding_line(finding: Mapping[str, Any], width: int) -> Content:
    """One finding wrapped to `width`, its mark standing free at the left."""
    mark, colour = MARKS[str(finding.get("severity", "info"))]
    todo = str(finding.get("todo") or "")
    line = Content.assemble(
        (f"{mark} ", f"bold {colour}"),
        (str(finding.get("message", "")), colour if finding.get("severity") == "stop" else ""),
        (f" – {todo}" if todo else "", "$foreground 60%"),
    )
    return Content("\n").join(line.fold(width) if width <= 4 else _hanging(line, width))


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


def cell(value: Any, width: int = 48) -> str:
    """A value of a row on one line, cut."""
    text = " ".join(str(value).split())
    return text if len(text) <= width else text[: width - 1] + "…"
