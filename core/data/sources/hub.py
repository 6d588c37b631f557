"""Data sets of the Hub: mapped from the cache of datasets, or streamed where few rows of many are asked."""

import errno
import re
from collections.abc import Iterator

from core.data.sources.columns import mapped
from core.data.sources.source import Row, Source
from core.data.sources.splits import held_out_name
from core.errors import UserError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
LARGE = 2 << 30
"""Bytes of a data set from which on a few rows are streamed instead of all of it being fetched."""


def open_hub(name: str, config: str | None, split: str, most: int | None = None) -> Source:
    """A split of a data set. `most`: rows that will be read at most, where that is known.

    UserError: not there, gated, another configuration or split is needed, or no network.
    """
    import datasets

    datasets.disable_progress_bars()
    try:
        online = not datasets.config.HF_HUB_OFFLINE
        if online:
            _reach(name)
        if online and most is not None and _size(name, config) > LARGE:
            return _streamed(name, config, split)
        found = datasets.load_dataset(name, config, split=split)
    except Exception as error:  # the library's, the Hub's and the network's, each with their own
        raise _said(name, split, error) from None
    splits = tuple(found.info.splits or ())
    return mapped(name, found, splits, held_out_name(one for one in splits if one != split))


def _size(name: str, config: str | None) -> int:
    import datasets

    info = datasets.load_dataset_builder(name, config).info
    return int(info.download_size or info.dataset_size or 0)


def _streamed(name: str, config: str | None, split: str) -> Source:
    import datasets

    found = datasets.load_dataset(name, config, split=split, streaming=True).decode(False)
    splits = tuple(found.info.splits or ())

    def rows() -> Iterator[Row]:
        try:
            yield from found
        except Exception as error:
            raise _said(name, split, error) from None

    def jump(number: int) -> Iterator[Row]:
        try:
            yield from found.skip(number - 1)
        except Exception as error:
            raise _said(name, split, error) from None

    known = (found.info.splits or {}).get(split)
    count = known.num_examples or None if known else None
    others = held_out_name(one for one in splits if one != split)
    return Source(name, rows, count=count, jump=jump, splits=splits, eval=others)


def _reach(name: str) -> None:
    """Ask once whether the Hub answers: without a network the library itself tries for half a minute."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().dataset_info(name, timeout=10)
    except HfHubHTTPError:
        pass  # it answers; what it has to say is told by the library
    except Exception as error:  # httpx's own errors, under whichever name this version of the Hub uses
        raise ConnectionError(str(error)) from None


def _said(name: str, split: str, error: Exception) -> UserError:
    from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled

    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return error
    if isinstance(error, DatasetNotFoundError | GatedRepoError):
        if "gated" in text.lower():
            return UserError(
                f"the dataset {name} is gated",
                "its owner lets in those who accepted its terms",
                f"accept them at https://huggingface.co/datasets/{name} and log in with hf auth login",
            )
        return UserError(
            f"{name} is not there",
            "it is neither a file here nor a dataset on the Hub that you can see",
            "check the name, or log in with hf auth login if it is private",
        )
    if isinstance(error, DataFilesNotFoundError):
        return UserError(f"{name} holds no data file", text[:160], "name another dataset")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        todo = "free some space, or set HF_HOME to a larger disk"
        return UserError(f"{name} cannot be fetched", "the disk is full", todo, code=1)
    if isinstance(error, ConnectionError | TimeoutError | OfflineModeIsEnabled | OSError):
        return UserError(
            f"{name} cannot be fetched",
            f"there is no file of that name here, and the Hub does not answer ({text[:160]})",
            "check the path or the network",
            code=1,
        )
    if configs := re.search(r"(?:available configs|Available): \[(.*?)\]", text):
        names = configs.group(1).replace("'", "")
        missing = "Config name is missing" in text
        what = f"{name} has several configurations" if missing else f"{name} has no such configuration"
        return UserError(what, f"it has {names}", "name one of them as config")
    if splits := re.search(r"Unknown split .*?Should be one of \[(.*?)\]", text):
        names = splits.group(1).replace("'", "")
        return UserError(f"{name} has no split {split}", f"it has {names}", "name one of them as split")
    return UserError(f"{name} cannot be read", text[:160], "name another split or dataset")
