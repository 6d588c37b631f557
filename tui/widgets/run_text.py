"""What the Train screen says in words: where the run stands, what happens, findings, its answers so far."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from core.runs.events import Finding, Sample
from core.runs.history import History
from core.runs.state import State, Status
from core.runs.words import Words

SOFT = "$foreground 60%"
SAMPLES_SHOWN = 12
MARKS: dict[State, tuple[str, str]] = {
    "starting": ("◌", "$primary"),
    "running": ("●", "$success"),
    "stopping": ("◍", "$warning"),
    "stopped": ("■", "$warning"),
    "finished": ("✓", "$success"),
    "failed": ("✗", "$error"),
    "died": ("✗", "$error"),
}
MOODS = {"calm": "$foreground", "good": "$success", "warn": "$warning", "bad": "$error"}
SEVERITIES = {"stop": "$error", "warn": "$warning", "info": SOFT}


def standing(state: State, history: History) -> Content:
    """● training   step 412 / 1,350"""
    mark, colour = MARKS[state]
    word = "training" if state == "running" else state
    steps = f"   step {history.step:,} / {history.steps_total:,}" if history.steps_total else ""
    return Content.assemble((f"{mark} {word}", f"bold {colour}"), steps)


def farewell(name: str, status: Status, step: int) -> str:
    """What is said when one leaves: how it stands, and how to come back."""
    if status.live:
        at = f" (step {step:,})" if step else ""
        return f"{name} goes on without the screen{at}. Come back with: finetui attach {name}"
    verb = "has" if status.state in ("died", "failed") else "is"
    return f"{name} {verb} {status.state}. See it again with: finetui attach {name}"


def happening(said: Words) -> Content:
    more = f"\n{said.more}" if said.more else ""
    return Content.assemble((said.line, f"bold {MOODS[said.mood]}"), (more, SOFT))


def wraps(text: Content) -> list[int]:
    """The lengths of its words: texts of which they are the same wrap the same way."""
    return [len(word) for word in text.plain.split(" ")]


def findings(found: Sequence[Finding], damage: str, skipped: int) -> Content:
    """What the worker found, after what is wrong with the run folder itself; empty when nothing is."""
    parts: list[tuple[str, str]] = []
    if damage:
        parts.append((f"▲ run.yaml: {damage}\n", "$warning"))
    if skipped:
        parts.append((f"▲ {skipped} lines of events.jsonl are damaged and were skipped\n", "$warning"))
    for one in found:
        mark = "·" if one.severity == "info" else "▲"
        parts.append((f"{mark} {one.what}", SEVERITIES.get(one.severity, "$warning")))
        more = ". ".join(filter(None, (one.why, one.todo)))
        parts.append((f" – {more}\n" if more else "\n", SOFT))
    return Content.assemble(*parts).rstrip()


def answers(samples: Sequence[Sample]) -> Content:
    """The newest first, under the step at which they were given."""
    if not samples:
        return Content.styled("What it answers is asked at each look at the held-out rows.", SOFT)
    parts: list[tuple[str, str]] = []
    step = None
    for one in reversed(samples[-SAMPLES_SHOWN:]):
        if one.step != step:
            parts.append((f"step {one.step:,}\n", "bold $primary"))
            step = one.step
        parts.append((f"› {question(one.prompt)}\n", SOFT))
        parts.append((f"{one.text.strip()}\n", "$foreground"))
    return Content.assemble(*parts)


def question(prompt: str) -> str:
    """What was asked, out of a rendered prompt without its special tokens: ChatML leaves the roles' names."""
    lines = [line.strip() for line in prompt.strip().splitlines()]
    if lines and lines[-1] == "assistant":
        lines.pop()
    if "user" in lines:
        lines = lines[len(lines) - lines[::-1].index("user") :]
    return " ".join(filter(None, lines))
