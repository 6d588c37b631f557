"""Which of several files are meant: one split's, shards of one table, or a document each."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from core.data.sources.joined import concatenated
from core.data.sources.kinds import PROSE, READABLE
from core.data.sources.packed import DataFile
from core.data.sources.source import Row, Source
from core.data.sources.splits import first_word, held_out_name, is_split, same_split, split_word
from core.errors import UserError

Open = Callable[[DataFile, str], Source]
COMPARED = 20
"""Files whose columns are compared before they are taken for shards of one table."""


def choose(found: Sequence[DataFile], where: str, split: str, opener: Open) -> Source:
    """The source that the files of `where`, a folder or zip, make up. UserError: it is unclear which."""
    files = [file for file in found if file.kind and file.inner.stem.lower() != "readme"]
    if all(file.inner.suffix.lower() in (".md", ".markdown") for file in files) and files:
        files = [file for file in found if file.kind]  # a folder of notes: its readme is one of them
    if not files:
        why = f"no {READABLE} in it"
        raise UserError(f"{where} holds no data file", why, "give a file or another folder")
    of = _splits(files)
    chosen = [file for file in files if _begins(file) == split]
    chosen = chosen or [file for file in files if same_split(of[file] or "", split)]
    if not chosen and len(files) == 1:
        return opener(files[0], split)
    prose = all(file.kind in PROSE for file in files)
    if not chosen and (split != "train" or (not prose and any(split_word(_within(file)) for file in files))):
        raise _unclear(files, where, split)
    named = bool(chosen)
    chosen = chosen or list(files)
    names = tuple(dict.fromkeys(word for word in of.values() if word)) if named else ()
    others = [name for name in names if not any(of[file] == name for file in chosen)]
    source = _together(chosen, where, split, opener)
    return replace(source, splits=names, eval=held_out_name(others))


def _splits(files: Sequence[DataFile]) -> dict[DataFile, str | None]:
    """The split of each file: what its name begins with, or what it or its folder speaks of if all do."""
    begins = {file: word if is_split(word := _begins(file)) else None for file in files}
    anywhere = {file: split_word(_within(file)) for file in files}
    return {file: begins[file] or anywhere[file] for file in files} if all(anywhere.values()) else begins


def _begins(file: DataFile) -> str:
    """The first word of a file's name; of a document the whole name, for it may well be test-results.md."""
    return file.inner.name.split(".")[0] if file.kind in PROSE else first_word(file.inner)


def _within(file: DataFile) -> Path:
    return file.inner if file.member else Path(file.name)


def _together(files: list[DataFile], where: str, split: str, opener: Open) -> Source:
    if len(files) == 1:
        return opener(files[0], "train")
    if all(file.kind in PROSE for file in files):
        return concatenated(where, [_named(opener(file, "train"), str(_within(file))) for file in files])
    stems = {(file.inner.parent, file.inner.name.split(".")[0]) for file in files}
    if len({file.kind for file in files}) > 1 or len(stems) < len(files) or files[0].kind == "zip":
        raise _unclear(files, where, split)
    sources = [opener(file, "train") for file in files]
    heads = {
        file.name: tuple(next(one.rows(), {})) for file, one in zip(files, sources[:COMPARED], strict=False)
    }
    (first, columns), *rest = heads.items()
    for name, other in rest:
        if set(other) != set(columns):
            said = (
                f"{first} has {', '.join(columns) or 'no rows'}, {name} has {', '.join(other) or 'no rows'}"
            )
            raise UserError(
                f"{where} holds {len(files)} data files", f"their columns differ: {said}", "give the one file"
            )
    return concatenated(where, sources)


def _named(source: Source, name: str) -> Source:
    """A document's rows, each with the file that it is from."""

    def add(row: Row) -> Row:
        return {"text": row["text"], "file": name, **row}

    return replace(
        source,
        rows=lambda: map(add, source.rows()),
        jump=lambda number: map(add, source.start(number)),
    )


def _unclear(files: Sequence[DataFile], where: str, split: str) -> UserError:
    names = ", ".join(file.name for file in files[:4]) + (", …" if len(files) > 4 else "")
    return UserError(
        f"{where} holds {len(files)} data file{'' if len(files) == 1 else 's'}",
        f"{names}; which is meant by the split {split} is not clear",
        "give the one file",
    )
