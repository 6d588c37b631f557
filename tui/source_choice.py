"""The sources of a run as choices: the first stands in `data` itself, the others in the list `data.more`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui import find_out

if TYPE_CHECKING:
    from tui.journey import Journey

OWN = ("source", "config", "split", "format", "columns", "instruction", "fill", "limit", "weight")
"""Keys that each source has for itself."""
ABOUT = ("config", "split", "format", "columns", "instruction", "fill")
"""Keys that say how a source is read, and mean nothing for another."""
HUB = re.compile(r"[\w.-]+/[\w.-]+")


def count(journey: Journey) -> int:
    return int(bool(get(journey, 0, "source"))) + len(journey.get("data.more") or [])


def get(journey: Journey, which: int, key: str) -> Any:
    """One source's choice; `which` counts from 0. None: not chosen, or there is no such source."""
    if which:
        more = journey.get("data.more") or []
        return more[which - 1].get(key) if which <= len(more) else None
    data = journey.choices.get("data")
    if isinstance(data, str):  # `data: train.jsonl` is short for `data: {source: train.jsonl}`
        return data if key == "source" else None
    return (data or {}).get(key)


def choose(journey: Journey, which: int, key: str, value: Any) -> str:
    """Sets one source's choice; why it cannot be, or ""."""
    if not which:
        return find_out.choose(journey, f"data.{key}", value)
    more = [dict(one) for one in journey.get("data.more") or []]
    if value is None:
        more[which - 1].pop(key, None)
    else:
        more[which - 1][key] = value
    return find_out.choose(journey, "data.more", more)


def take(journey: Journey, which: int, source: str) -> None:
    """Another source in this one's place; what was said about the old one's columns is forgotten."""
    if which > len(journey.get("data.more") or []):
        add(journey, source)
        return
    if source == get(journey, which, "source"):
        return
    for key in ABOUT:
        choose(journey, which, key, None)
    choose(journey, which, "source", source)
    if not which:
        for key in ("data.drop", "data.mend"):
            journey.set(key, None)
        journey.applied = []


def add(journey: Journey, source: str) -> None:
    journey.set("data.more", [*(journey.get("data.more") or []), {"source": source}])


def remove(journey: Journey, which: int) -> None:
    """Takes a source out; the second becomes the first where it was that one."""
    more = [dict(one) for one in journey.get("data.more") or []]
    if which:
        more.pop(which - 1)
    else:
        following = more.pop(0)
        for key in OWN:
            journey.set(f"data.{key}", following.get(key))
    journey.set("data.more", more or None)


def on_hub(source: str) -> bool:
    """Whether it can only be a data set of the Hub, which has configurations and splits."""
    return bool(HUB.fullmatch(source)) and not Path(source).expanduser().exists()


def short(source: str) -> str:
    """A source in few words: a file's name, a Hub id, an address without its scheme."""
    if "://" in source:
        return source.partition("://")[2]
    return source if on_hub(source) else Path(source).name or source
