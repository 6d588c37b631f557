"""Names of splits: what `train[:1000]` asks for, and which files and lists are which split."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

from core.errors import UserError

SYNONYMS = (
    ("train", "training"),
    ("validation", "valid", "val", "dev", "eval", "evaluation"),
    ("test", "testing"),
)
HELD_OUT = (*SYNONYMS[1], *SYNONYMS[2])
_SLICE = re.compile(r"([\w.\-]+)(?:\[\s*(-?\d+%?)?\s*(:)\s*(-?\d+%?)?\s*\])?")


@dataclass(frozen=True)
class Slice:
    """A split and the part of it that is meant; a bound is (number, whether it is per cent)."""

    split: str
    start: tuple[int, bool] | None = None
    stop: tuple[int, bool] | None = None

    def needs_count(self) -> bool:
        return any(bound and (bound[1] or bound[0] < 0) for bound in (self.start, self.stop))

    def bounds(self, count: int | None) -> tuple[int, int | None]:
        """First row from 0, and the one behind the last. `count` may be None unless `needs_count`."""
        start = _absolute(self.start, count) or 0
        stop = _absolute(self.stop, count)
        return start, stop if stop is None else max(start, stop)


def _absolute(bound: tuple[int, bool] | None, count: int | None) -> int | None:
    if bound is None:
        return None
    number, percent = bound
    if percent:
        number = round(number * (count or 0) / 100)
    return max(0, number + (count or 0)) if number < 0 else number


def parse_split(text: str) -> Slice:
    """`train`, `train[:1000]`, `train[10%:20%]`, `train[-100:]`. UserError: anything else."""
    found = _SLICE.fullmatch(text.strip())
    if not found:
        raise UserError(
            f"the split {text} cannot be read",
            "a slice is two numbers or percentages with a colon between them",
            "write for instance train, train[:1000] or train[10%:20%]",
        )
    split, start, _, stop = found.groups()
    return Slice(split, _bound(start, text), _bound(stop, text))


def _bound(text: str | None, whole: str) -> tuple[int, bool] | None:
    if text is None:
        return None
    number, percent = int(text.rstrip("%")), text.endswith("%")
    if percent and abs(number) > 100:
        raise UserError(f"the split {whole} cannot be read", f"{text} is more than all", "write 0% to 100%")
    return number, percent


def same_split(one: str, other: str) -> bool:
    """Whether two names are one split: validation, valid, val and dev are."""
    one, other = one.lower(), other.lower()
    return one == other or any(one in names and other in names for names in SYNONYMS)


def is_split(word: str) -> bool:
    """Whether a word is one of those that splits are called by."""
    return any(word.lower() in names for names in SYNONYMS)


def held_out_name(names: Iterable[str]) -> str | None:
    """The one of some splits that is there to be held out: validation before test."""
    known = {name.lower(): name for name in reversed(list(names))}
    return next((known[name] for name in HELD_OUT if name in known), None)


def first_word(path: PurePath) -> str:
    """What a file's name begins with: train of train-00000-of-00004.parquet and of train.jsonl.gz."""
    return path.name.split(".")[0].split("-")[0]


def split_word(path: PurePath) -> str | None:
    """The split that a file's name or one of its folders speaks of; None: of none."""
    for part in (path.name, *reversed(path.parts[:-1])):
        for word in re.split(r"[._\-\s]+", part.lower()):
            if is_split(word):
                return word
    return None
