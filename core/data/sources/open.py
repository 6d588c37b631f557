"""Opens what a spec names as its source: a file, a folder, a data set of the Hub or a web address."""

import re
from pathlib import Path

from core.data.sources import hub, web
from core.data.sources.files import empty, open_file, open_path
from core.data.sources.joined import part, without_index
from core.data.sources.kinds import kind_of
from core.data.sources.source import Source
from core.data.sources.splits import Slice, parse_split
from core.errors import UserError, nearest
from core.spec import SourceSpec

_ON_HUB = re.compile(r"https?://(?:www\.)?huggingface\.co/datasets/([\w.-]+(?:/[\w.-]+)?)/?", re.IGNORECASE)


def open_source(spec: SourceSpec) -> Source:
    """The source, ready for passes: only its head was read.

    UserError: not there, nothing readable in it, empty, its head broken, no such split, or no network.
    """
    wanted = parse_split(spec.split)
    whole = _find(spec, wanted)
    source = without_index(part(whole, wanted, spec.limit))
    if next(source.rows(), None) is None:
        if source.rows is not whole.rows and next(whole.rows(), None) is not None:
            raise UserError(f"{spec.split} of {whole.name} is empty", "it has 0 rows", "ask for other rows")
        raise empty(source.name)
    return source


def _find(spec: SourceSpec, wanted: Slice) -> Source:
    source, path = spec.source, Path(spec.source).expanduser()
    if named := _ON_HUB.fullmatch(source):
        return hub.open_hub(named.group(1), spec.config, wanted.split, _most(spec, wanted))
    if web.is_address(source):
        _no_config(spec)
        return web.open_address(source, open_file, wanted.split)
    if path.is_dir() and spec.config and (path / spec.config).is_dir():
        return open_path(path / spec.config, wanted.split)
    if path.exists():
        _no_config(spec)
        return open_path(path, wanted.split)
    if kind_of(path) or source.startswith((".", "/", "~")) or not hub.HUB_ID.fullmatch(source):
        raise not_there(path)
    return hub.open_hub(source, spec.config, wanted.split, _most(spec, wanted))


def _most(spec: SourceSpec, wanted: Slice) -> int | None:
    """The number of the last row that will be read, where the spec bounds it."""
    if wanted.needs_count():
        return None
    start, stop = wanted.bounds(None)
    ends = [end for end in (stop, start + spec.limit if spec.limit else None) if end is not None]
    return min(ends, default=None)


def _no_config(spec: SourceSpec) -> None:
    if spec.config:
        raise UserError(
            f"{spec.source} has no configuration {spec.config}",
            "only data sets of the Hub and folders of folders have configurations",
            "leave config out",
        )


def not_there(path: Path) -> UserError:
    """The error for a path that is missing, naming the nearest one that is there."""
    folder = path.parent
    if not folder.is_dir():
        return UserError(f"{path} is not there", f"there is no folder {folder}", "check the path")
    near = nearest(path.name, (other.name for other in folder.iterdir()))
    todo = f"did you mean {folder / near}?" if near else "check the path"
    return UserError(f"{path} is not there", "no such file or folder", todo)
