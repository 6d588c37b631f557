"""Turns a source (a file, a folder or a Hub id) into rows."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.data.files import READABLE, Row, kind_of, read_file
from core.errors import UserError, nearest

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True)
class Source:
    """What was read. `name`: what to call it in a message."""

    name: str
    rows: list[Row]
    dropped_column: str | None = None
    """An index column that a spreadsheet or pandas left behind; it is not in the rows."""


def load(source: str, split: str = "train", limit: int | None = None) -> Source:
    """All rows, or the first `limit`. UserError: not there, nothing readable in it, broken, or no network."""
    path = Path(source).expanduser()
    if source.startswith(("http://", "https://")):
        raise UserError(
            f"{source} is a web address", "this version reads files and Hub ids", "download it first"
        )
    if path.is_dir():
        path = _in_folder(path, split)
    if path.is_file():
        name, rows = path.name, read_file(path, split)
    elif kind_of(path) or source.startswith((".", "/", "~")) or not HUB_ID.fullmatch(source):
        raise not_there(path)
    else:
        name, rows = source, _from_hub(source, split)
    rows = rows[:limit] if limit else rows
    dropped = _index_column(rows)
    if dropped is not None:
        rows = [{key: value for key, value in row.items() if key != dropped} for row in rows]
    return Source(name, rows, dropped)


def not_there(path: Path) -> UserError:
    """The error for a path that is missing, naming the nearest one that is there."""
    folder = path.parent
    if not folder.is_dir():
        return UserError(f"{path} is not there", f"there is no folder {folder}", "check the path")
    near = nearest(path.name, (other.name for other in folder.iterdir()))
    todo = f"did you mean {folder / near}?" if near else "check the path"
    return UserError(f"{path} is not there", "no such file or folder", todo)


def _in_folder(folder: Path, split: str) -> Path:
    files = sorted(path for path in folder.iterdir() if path.is_file() and kind_of(path))
    named = [path for path in files if path.name.split(".")[0].split("-")[0] == split]
    chosen = named or [path for path in files if path.stem.lower() != "readme"]
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        raise UserError(
            f"{folder} holds no data file", f"no {READABLE} in it", "give a file or another folder"
        )
    names = ", ".join(path.name for path in chosen[:4]) + (", …" if len(chosen) > 4 else "")
    raise UserError(
        f"{folder} holds {len(chosen)} data files",
        f"{names}; which is meant by the split {split} is not clear",
        "give the one file",
    )


def _index_column(rows: list[Row]) -> str | None:
    """The name of a first column that only counts the rows ("", "Unnamed: 0", "__index_level_0__")."""
    first = next(iter(rows[0]), None)
    if first is None or not re.fullmatch(r"|Unnamed: ?\d+|__index_level_\d+__", first):
        return None
    return first if all(str(row.get(first, "")).isdigit() for row in rows) else None


def _from_hub(name: str, split: str) -> list[Row]:
    import datasets
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled

    datasets.disable_progress_bars()
    try:
        if not datasets.config.HF_HUB_OFFLINE:
            _reach(HfApi(), name)
        return list(datasets.load_dataset(name, split=split))
    except (datasets.exceptions.DatasetNotFoundError, GatedRepoError) as error:
        if "gated" in str(error).lower():
            raise UserError(
                f"the dataset {name} is gated",
                "its owner lets in those who accepted its terms",
                f"accept them at https://huggingface.co/datasets/{name} and log in with hf auth login",
            ) from None
        raise UserError(
            f"{name} is not there",
            "it is neither a file here nor a dataset on the Hub that you can see",
            "check the name, or log in with hf auth login if it is private",
        ) from None
    except (ConnectionError, TimeoutError, OfflineModeIsEnabled, OSError) as error:
        raise UserError(
            f"{name} cannot be fetched",
            f"there is no file of that name here, and the Hub does not answer ({_short(error)})",
            "check the path or the network",
            code=1,
        ) from None
    except ValueError as error:  # a missing configuration or an unknown split, both named by the library
        raise UserError(f"{name} cannot be read", _short(error), "name another split or dataset") from None


def _reach(hub: Any, name: str) -> None:
    """Ask once whether the Hub answers: without a network the library itself tries for half a minute."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        hub.dataset_info(name, timeout=10)
    except HfHubHTTPError:
        pass  # it answers; what it has to say is told by the library
    except Exception as error:  # httpx's own errors, under whichever name this version of the Hub uses
        raise ConnectionError(str(error)) from None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
