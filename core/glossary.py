"""The words of the trade in plain words, for `?` on a field; the texts are in glossary.yaml beside this."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

FILE = Path(__file__).with_name("glossary.yaml")


@dataclass(frozen=True)
class Term:
    key: str
    name: str
    text: str
    """One to three sentences."""
    see: tuple[str, ...] = ()
    """Names of neighbouring terms."""


def term(word: str) -> Term | None:
    """The term that a key, another name of it ("lr", "gradient checkpointing") or its shown name calls."""
    terms, names = _read()
    key = names.get(_plain(word))
    return terms[key] if key else None


def terms() -> tuple[Term, ...]:
    """All of them, by the name that is shown."""
    return tuple(sorted(_read()[0].values(), key=lambda one: one.name.lower()))


@cache
def _read() -> tuple[dict[str, Term], dict[str, str]]:
    """Terms by key, and keys by every plain name."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    raw = yaml.load(FILE.read_text(encoding="utf-8"), Loader=loader)
    names: dict[str, str] = {}
    for key, entry in raw.items():
        for name in (entry["name"], *entry.get("also", ())):
            names.setdefault(_plain(name), key)
    names |= {_plain(key): key for key in raw}  # a term's own key wins over what another is also called
    found = {}
    for key, entry in raw.items():
        see = tuple(raw[names[_plain(word)]]["name"] for word in entry.get("see", ()))
        found[key] = Term(key, entry["name"], entry["text"], see)
    return found, names


def _plain(word: str) -> str:
    return " ".join(word.lower().replace("_", " ").replace("-", " ").split())
