"""The list of known cards (`cards.yaml`), and which of them a name means, as people and drivers write it."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from core.errors import UserError, nearest

GIB = 2**30
FILE = Path(__file__).with_name("cards.yaml")
NOISE = re.compile(
    r"nvidia|geforce|tesla|rtx|graphics|gpu|device|generation|edition|workstation|active|lhr|ac|gb"
    r"|sxm\d?|hbm\d\w?|nvlink"
)
"""Words that tell no cards apart."""
MORE_THAN_FOUND = 1.18
"""A card is sold with up to so many times the memory that CUDA finds on it."""


@dataclass(frozen=True)
class Known:
    """One card of the list. Rates are None where they are not known."""

    name: str
    memory_gib: float
    capability: tuple[int, int]
    source: str
    tflops: float | None = None
    bandwidth: float | None = None
    also: tuple[str, ...] = ()

    @property
    def memory(self) -> int:
        return int(self.memory_gib * GIB)


@dataclass(frozen=True)
class Name:
    """A name, taken apart."""

    words: frozenset[str]
    size: int | None
    """GB that it speaks of."""


@functools.cache
def known_cards() -> tuple[Known, ...]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    rows = yaml.load(FILE.read_text(encoding="utf-8"), Loader=loader)
    return tuple(
        Known(**{**row, "capability": tuple(row["capability"]), "also": tuple(row.get("also", ()))})
        for row in rows
    )


def named(name: str) -> Known:
    """The one card that `name` means ("4090", "a100 80gb"). UserError names those that it may mean, or the
    nearest."""
    found = _meant(name)
    if len(found) == 1:
        return found[0]
    if found:
        names = [one.name for one in found]
        listed = f"{', '.join(names[:-1])} or {names[-1]}"
        raise UserError(f"{name} may be more than one card", "", f"say which: {listed}")
    asked = _taken_apart(name)
    if asked.size is not None and (others := _fitting(Name(asked.words, None), exactly=False)):
        have = ", ".join(f"{one.name} ({one.memory_gib:g} GiB)" for one in others[:3])
        raise UserError(f"no {name} is in the list", f"it has {have}", f"give --vram {asked.size}")
    near = _near(name)
    todo = "give such as RTX 4090 or A100 80GB, or --vram GIB; --cards shows all that are known"
    if near:
        todo = f"did you mean {' or '.join(near)}? Or give --vram GIB"
    what = f"no card is called {name}" if name.strip() else "--card names no card"
    raise UserError(what, "it is not in the list" if name.strip() else "", todo)


def of_driver(name: str, memory: int | None) -> Known | None:
    """The card that a driver calls so, told from those of the same name by its memory in bytes; None: none.

    Of a part of a card that was split (MIG) the whole is found.
    """
    whole = re.split(r"\s+MIG\b", name)[0]
    found = _meant(whole, exactly=True)
    if len(found) > 1 and (memory is None or whole != name):
        return None
    return min(found, key=lambda one: abs(one.memory - (memory or 0)), default=None)


def _meant(name: str, *, exactly: bool = False) -> list[Known]:
    """Cards of all these words and no others; if there are none, those of these words and more."""
    asked = _taken_apart(name)
    if not asked.words:
        return []
    found = _fitting(asked, exactly)
    if not found and "pcie" in asked.words:
        found = _fitting(Name(asked.words - {"pcie"}, asked.size), exactly)
    return found


def _fitting(asked: Name, exactly: bool) -> list[Known]:
    around = [
        (len(its.words - asked.words), its.size is not None, one)
        for one, its in _names()
        if asked.words <= its.words and _may_be(asked.size, one)
    ]
    same = list({one.name: one for more, _, one in around if not more}.values())
    if not same:
        return [] if exactly else list({one.name: one for _, _, one in around}.values())
    # of two that differ in memory alone, the one whose name does not speak of it is meant
    plain = [one for more, sized, one in around if not more and not sized]
    return plain if len(plain) == 1 and asked.size is None and not exactly else same


def _may_be(size: int | None, one: Known) -> bool:
    return size is None or 0.95 <= size / one.memory_gib <= MORE_THAN_FOUND or size in _sizes(one)


@functools.cache
def _sizes(one: Known) -> frozenset[int]:
    sizes = (_taken_apart(name).size for name in (one.name, *one.also))
    return frozenset(size for size in sizes if size is not None)


@functools.cache
def _names() -> tuple[tuple[Known, Name], ...]:
    return tuple((one, _taken_apart(name)) for one in known_cards() for name in (one.name, *one.also))


@functools.cache
def _taken_apart(name: str) -> Name:
    """ "NVIDIA A100-SXM4-80GB" -> {a100}, 80: what tells cards apart."""
    plain = re.sub(r"rtx(?=[\da])", "rtx ", name.lower().replace("max-q", "maxq"))
    plain = re.sub(r"(?<=\d)(ti|super|laptop|d)\b", r" \1", plain.replace("tisuper", "ti super"))
    size = r"\b(\d+)\s*gi?b?\b|(?<=\s)(\d{1,3})\s*$"
    sizes = [one or other for one, other in re.findall(size, plain)]
    plain = re.sub(size, " ", plain)
    words = {one for one in re.findall(r"[a-z0-9]+", plain) if not NOISE.fullmatch(one)}
    if "blackwell" in words:  # in names of workstation cards, and of no others
        words = (words - {"blackwell"}) | {"pro"}
    return Name(frozenset(words), int(sizes[-1]) if sizes else None)


def _near(name: str) -> list[str]:
    """Names that look alike, whole or by their number; the nearest first, three at most."""
    names = {one.name: one.name for one in known_cards()}
    numbers = {" ".join(sorted(its.words)): one.name for one, its in _names()}
    asked = _taken_apart(name)
    close = [numbers.get(nearest(" ".join(sorted(asked.words)), numbers) or ""), nearest(name, names)]
    shared = [one.name for one, its in _names() if any(len(w) > 2 and w in its.words for w in asked.words)]
    return list(dict.fromkeys([one for one in (*shared[:2], *close) if one]))[:3]
