"""Data that lies near at hand: files found here, and what a half-typed path could become."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

SUFFIXES = (
    ".jsonl",
    ".json",
    ".csv",
    ".tsv",
    ".parquet",
    ".txt",
    ".jsonl.gz",
    ".json.gz",
    ".csv.gz",
    ".jsonl.zst",
)
NOT_DATA = {
    "package.json", "package-lock.json", "tsconfig.json", "requirements.txt", "config.json", "tokenizer.json",
    "tokenizer_config.json", "generation_config.json", "special_tokens_map.json", "license.txt",
    "adapter_config.json",
    "cmakelists.txt", "vocab.json", "merges.txt", "trainer_state.json", "readme.txt", "robots.txt",
    "dataset_info.json",
}  # fmt: skip
SKIPPED = {"node_modules", "__pycache__", "venv", "site-packages", "build", "dist", "target"}
MOST = 200
"""Directory entries looked at per folder and files offered: a list, not a search engine."""


@dataclass(frozen=True)
class Found:
    """A file or folder that could be the data; `shown` is how it is written in the field."""

    path: Path
    shown: str
    size: int
    folder: bool = False


def is_data(name: str) -> bool:
    lower = name.lower()
    return lower.endswith(SUFFIXES) and lower not in NOT_DATA and not lower.startswith(".")


def is_made(name: str) -> bool:
    """Whether a folder of that name is hidden or made by a tool, so that no data of a person's lies there."""
    return name.startswith(".") or name in SKIPPED or name.endswith(".egg-info")


def found_in(folder: Path, deep: int = 1) -> list[Found]:
    """Data files in a folder and, `deep` levels, below it: the likeliest training files first."""
    found = islice(_walk(folder, folder, deep), MOST)
    return sorted(
        found, key=lambda one: (_unlikely(one.path.name), one.shown.count(os.sep), one.shown.lower())
    )


def _walk(folder: Path, start: Path, deep: int) -> Iterator[Found]:
    for entry in _entries(folder):
        path = Path(entry.path)
        if entry.is_file() and is_data(entry.name):
            yield Found(path, str(path.relative_to(start)), entry.stat().st_size)
        elif deep and entry.is_dir() and not is_made(entry.name):
            yield from _walk(path, start, deep - 1)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, by name; nothing where it may not be read. Broken links are passed over."""
    try:
        with os.scandir(folder) as entries:
            seen = [entry for _, entry in zip(range(MOST), entries, strict=False) if _is_there(entry)]
    except OSError:
        return []
    return sorted(seen, key=lambda entry: entry.name.lower())


def _is_there(entry: os.DirEntry[str]) -> bool:
    try:
        entry.stat()
    except OSError:
        return False
    return True


def _unlikely(name: str) -> int:
    lower = name.lower()
    if any(word in lower for word in ("test", "valid", "eval", "held", "dev.")):
        return 3
    if "train" in lower:
        return 0
    return 1 if lower.endswith((".jsonl", ".parquet")) else 2


def completions(text: str, here: Path) -> list[Found]:
    """Files and folders that a half-typed path could become; a folder's own files once it ends in "/"."""
    typed = Path(text).expanduser()
    base = typed if text.endswith(os.sep) else typed.parent
    start = "" if text.endswith(os.sep) else typed.name.lower()
    folder = base if base.is_absolute() else here / base
    prefix = text[: len(text) - len(start)] if start else text
    found = []
    for entry in _entries(folder):
        if not entry.name.lower().startswith(start) or (
            entry.name.startswith(".") and not start.startswith(".")
        ):
            continue
        if entry.is_dir():
            found.append(Found(Path(entry.path), f"{prefix}{entry.name}{os.sep}", 0, True))
        elif is_data(entry.name):
            found.append(Found(Path(entry.path), f"{prefix}{entry.name}", entry.stat().st_size))
    return sorted(found, key=lambda one: (one.folder, _unlikely(one.path.name), one.shown.lower()))
