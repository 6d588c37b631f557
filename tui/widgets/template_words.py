"""What is said of a template and of a row that it cannot show: pure functions from a report to lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textual.content import Content

from core.numbers import percent


def share(report: Mapping[str, Any]) -> str:
    """How much of all rows is learned, for the end of a line."""
    tokens, learned = report.get("tokens"), report.get("learned_tokens")
    if not report.get("complete", True):
        return ""
    return f" · of all rows {percent(learned / tokens)}" if tokens else ""


def left_out(why: str, columns: dict[str, Any]) -> Content:
    """Why a row is not trained on, and the row as it stands in the source."""
    lines = [Content.assemble(("✗ left out: ", "bold $text-error"), why.rstrip(".") or "it cannot be read")]
    for name, value in columns.items():
        lines.append(Content.assemble((f"{name}: ", "bold $foreground 60%"), (str(value), "$foreground 80%")))
    return Content("\n").join(lines)


def which(template: dict[str, Any] | None) -> Content:
    """Which template it came to, and why."""
    if template is None:
        return Content.assemble(("no template", "bold"), ": plain text, every token is learned")
    name = "the model's own" if template["origin"] == "model" else template["name"]
    return Content.assemble((name, "bold"), (f": {template['why']}", "$foreground 60%"))


def ends(template: dict[str, Any] | None) -> Content:
    """Whether the model will learn to stop, which decides whether it ever does."""
    if template is None:
        return Content.styled(
            "the text's end is learned: it ends where a text of yours would", "$foreground 60%"
        )
    if template.get("end_learned"):
        return Content.assemble(
            ("✓ an answer ends with ", ""),
            (str(template["end"]), "bold $text-success"),
            (", which is learned: it will stop", ""),
        )
    return Content.assemble(
        ("✗ the end ", ""),
        (str(template["end"]), "bold $text-error"),
        (" is not learned: it would never stop", "$text-error"),
    )
