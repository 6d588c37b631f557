"""Opens one data file by its kind, and a zip or a folder of them by which of its files are meant."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from core.data.sources import web
from core.data.sources.columns import open_arrow, open_parquet, open_saved
from core.data.sources.documents import open_document
from core.data.sources.json_values import open_json
from core.data.sources.kinds import READABLE
from core.data.sources.packed import DataFile, members
from core.data.sources.shards import choose
from core.data.sources.source import Source
from core.data.sources.splits import HELD_OUT, SYNONYMS, same_split, split_word
from core.data.sources.tables import open_table
from core.data.sources.texts import open_text
from core.errors import UserError

MANY = 100_000


def open_path(path: Path, split: str) -> Source:
    """A file or folder that is there. UserError: it cannot be read, is empty, or has no such split."""
    if path.is_file():
        return _beside(path, open_file(DataFile(path), split))
    if not path.is_dir():
        what = f"{path} is neither a file nor a folder"
        raise UserError(what, "rows are read several times, which a pipe does not allow", "save it as a file")
    if (path / "dataset_dict.json").is_file() or (
        (path / "state.json").is_file() and (path / "dataset_info.json").is_file()
    ):
        return open_saved(path, split)
    try:
        files = _data_files(path, path.iterdir())
        if all(file.inner.stem.lower() == "readme" for file in files):
            files = _data_files(path, path.rglob("*")) or files
    except OSError as error:
        raise UserError(f"{path} cannot be read", str(error), "check the folder and its rights") from None
    if len(files) > MANY:
        raise UserError(f"{path} holds {len(files):,} data files", "that is too many", "give one of them")
    return choose(files, str(path), split, open_file)


def _data_files(folder: Path, paths: Iterable[Path]) -> list[DataFile]:
    found = [
        DataFile(path, label=str(path.relative_to(folder)))
        for path in sorted(paths)
        if not any(part.startswith(".") for part in path.relative_to(folder).parts) and path.is_file()
    ]
    return [file for file in found if file.kind]


def open_file(file: DataFile, split: str = "train") -> Source:
    """One file. UserError: it is of no kind that can be read, is empty or broken, or has no such split."""
    if file.kind is None:
        raise UserError(
            f"{file.name} is of a kind that cannot be read",
            f"its name ends in {file.inner.suffix or 'nothing'}",
            f"give {READABLE}",
        )
    if file.size == 0:
        raise empty(file.name)
    if file.kind == "zip":
        if file.member:
            raise UserError(f"{file.name} is a zip within another", "only one is opened", "unpack it first")
        return choose(members(file.path), file.path.name, split, open_file)
    source = _by_kind(file, split)
    names = (*source.splits, split_word(Path(file.inner.name)) or "")
    if split != "train" and not any(same_split(name, split) for name in names):
        has = f"it has {', '.join(source.splits)}" if source.splits else "a file is one split"
        raise UserError(f"{file.name} has no split {split}", has, "leave the split out or give another file")
    return source


def _by_kind(file: DataFile, split: str) -> Source:
    if file.kind == "json":
        return open_json(file, split)
    if file.kind == "table":
        return open_table(file)
    if file.kind == "parquet":
        return open_parquet(file)
    if file.kind == "arrow":
        return open_arrow(file)
    if file.kind == "document":
        return open_document(file)
    addresses = web.addresses_in(file)
    return web.open_pages(file.name, addresses) if addresses else open_text(file)


def empty(name: str) -> UserError:
    return UserError(f"{name} is empty", "it has 0 rows", "give a file with at least one row")


def _beside(path: Path, source: Source) -> Source:
    """With the file that lies beside `path` and differs from it only in saying valid or test for train."""
    if source.eval is not None:
        return source
    word = split_word(Path(path.name))
    if word not in SYNONYMS[0]:
        return source
    at = path.name.lower().rindex(word)
    for other in HELD_OUT:
        beside = path.with_name(path.name[:at] + other + path.name[at + len(word) :])
        if beside.is_file():
            return replace(source, eval=str(beside))
    return source
