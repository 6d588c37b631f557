"""What a key does about a finding: a change of the choices that can be taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tui import find_out

if TYPE_CHECKING:
    from tui.journey import Journey

WORDS = {"drop": "left out", "mend": "mended"}
"""What `data.drop` and `data.mend` do to the rows of the findings that they name."""


@dataclass(frozen=True)
class Applied:
    """A remedy that was taken, and the choices as they were before it; None: nothing was chosen."""

    label: str
    before: dict[str, Any]


def apply(journey: Journey, remedy: Mapping[str, Any]) -> str:
    """Makes a remedy's change, all of it or none; why it cannot be made, or "".

    A list is added to the one that is there, anything else takes its place.
    """
    before = {key: journey.get(key) for key in remedy["change"]}
    for key, value in remedy["change"].items():
        known = before[key]
        if isinstance(value, list):
            value = [*(known or []), *(one for one in value if one not in (known or []))]
        refused = find_out.choose(journey, key, value)
        if refused:
            _restore(journey, before)
            return refused
    journey.applied.append(Applied(str(remedy["label"]), before))
    return ""


def undo(journey: Journey) -> str:
    """Takes the newest remedy back; its label, or "" when there is none."""
    if not journey.applied:
        return ""
    last = journey.applied.pop()
    _restore(journey, last.before)
    return last.label


def taken(journey: Journey) -> list[tuple[str, str]]:
    """Every code whose rows are left out or mended: (drop or mend, code)."""
    return [(kind, code) for kind in WORDS for code in journey.get(f"data.{kind}") or ()]


def take_back(journey: Journey, kind: str, code: str) -> None:
    """Rows with this finding are again what they were."""
    left = [one for one in journey.get(f"data.{kind}") or () if one != code]
    journey.set(f"data.{kind}", left or None)
    journey.applied = [one for one in journey.applied if f"data.{kind}" not in one.before]


def _restore(journey: Journey, before: Mapping[str, Any]) -> None:
    for key, value in before.items():
        journey.set(key, value)
