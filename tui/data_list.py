"""Which data the Data step offers: files here, what was used before, the demo; or a path's completions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textual.content import Content

import core
from core.numbers import gib
from tui.recent import recent
from tui.widgets.sources import Found, completions, found_in

OWN = Path(core.__file__).resolve().parents[1]
"""Where finetui's own code lies: the checkout, where it is run from one."""
WIDEST = 56
"""Cells of the column of names; a longer one pushes its note aside."""


@dataclass(frozen=True)
class Offer:
    """One line of the list. `source` is what the spec gets; of a folder, what goes into the field."""

    key: str
    shown: str
    note: str
    source: str
    folder: bool = False


def demo_data() -> str:
    """The small set that ships with finetui."""
    import core.demo

    return str(Path(core.demo.__file__).parent / "taught.jsonl")


def offers(text: str, here: Path, runs_dir: Path) -> list[Offer]:
    """What the typed text may mean, itself first; without a text what lies near. Meant for a thread."""
    if text:
        return _once([Offer("typed", f"use {text}", "", text), *map(_place, completions(text, here))])
    used = [Offer(source, source, "used before", source) for source in recent(runs_dir, "data")]
    demo = Offer(demo_data(), "the demo's questions and answers", "ships with finetui", demo_data())
    below = 0 if here.resolve() == OWN else 1  # of what lies in finetui's own folders nothing is a person's
    return _once([*map(_place, found_in(here, below)), *used, demo])


def _once(found: list[Offer]) -> list[Offer]:
    return list({offer.key: offer for offer in reversed(found)}.values())[::-1]


def _place(place: Found) -> Offer:
    if place.folder:
        return Offer(str(place.path), place.shown, "folder", place.shown, True)
    return Offer(str(place.path), place.shown, gib(place.size) if place.size else "empty", str(place.path))


def lines(found: Sequence[Offer]) -> list[Content]:
    """A line an offer, the notes under each other."""
    wide = min(max([len(offer.shown) for offer in found], default=0), WIDEST)
    return [
        Content.assemble(offer.shown.ljust(wide), (f"   {offer.note}", "$foreground 60%")) for offer in found
    ]
