"""A model's files on this machine: a folder as it is, or a Hub id fetched with its progress told."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import UserError

WANTED = (".safetensors", ".json", ".txt", ".model", ".jinja", ".tiktoken")
GIB, MIB = 2**30, 2**20
Tell = Callable[..., None]
"""Called with (stage, done, total, unit, note), as `core.train.stages.Stages` is."""


def fetch(model: str, revision: str | None, stage: Tell) -> Path:
    """The folder that holds `model`. UserError: no such folder or id, gated, no network, no room."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise UserError(
                f"{model} is no model",
                "the folder has no config.json",
                "give a folder with config.json, weights and tokenizer",
                code=1,
            )
        return folder
    if model.startswith(("/", ".", "~")) or model.count("/") > 1:
        raise UserError(f"{model} is not there", "no such folder", "check the path of the model", code=1)
    return _from_hub(model, revision, stage)


def _from_hub(model: str, revision: str | None, stage: Tell) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    from core.models.hub import cached_folder, explain

    stage("download", note=f"asking the Hub for {model}")
    try:
        info = HfApi().model_info(model, revision=revision, files_metadata=True)
    except Exception as error:
        before = cached_folder(model, revision)
        if before and has_all_weights(before):  # without the Hub, what was fetched before will do
            return before
        raise explain(error, model) from error
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    names = wanted(list(sizes))
    total = sum(sizes[name] for name in names)
    _refuse_no_room(model, total)
    try:
        found = snapshot_download(
            model, revision=revision, allow_patterns=names, tqdm_class=progress_bar(stage, total)
        )
    except OSError as error:
        raise explain(error, model) from error
    stage("download", total, total, "bytes")
    return Path(found)


def wanted(names: list[str]) -> list[str]:
    """Of a repository's files those that a run reads: no subfolders, no second copy of the weights."""
    top = [name for name in names if "/" not in name]
    kept = [name for name in top if name.endswith(WANTED)]
    sharded = "model.safetensors.index.json" in kept or "model.safetensors" in kept
    if sharded:
        kept = [name for name in kept if not name.startswith("consolidated")]
    if not any(name.endswith(".safetensors") for name in kept):
        kept += [name for name in top if name.startswith("pytorch_model") and name.endswith(".bin")]
    return kept


def has_all_weights(folder: Path) -> bool:
    """Whether the weights are all there: each shard that the index names, or a file that needs no index."""
    for index in (*folder.glob("*.safetensors.index.json"), *folder.glob("pytorch_model.bin.index.json")):
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return all((folder / name).exists() for name in shards)
    return any((folder / name).exists() for name in ("model.safetensors", "pytorch_model.bin"))


def _refuse_no_room(model: str, total: int) -> None:
    from huggingface_hub.constants import HF_HUB_CACHE

    place = Path(HF_HUB_CACHE)
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < total:
        raise UserError(
            f"there is no room for {model}",
            f"it has {total / GIB:.1f} GiB, {free / GIB:.1f} GiB are free in {place}",
            "make room, or set HF_HOME to a larger disk",
            code=1,
        )


def progress_bar(stage: Tell, total: int) -> type[Any]:
    """A tqdm class for `snapshot_download` that draws nothing and tells `stage` the bytes and the speed."""
    from huggingface_hub.utils import tqdm

    begun = time.monotonic()
    bars: list[Any] = []

    class Told(tqdm):
        def __init__(self, *args: Any, **kwargs: Any):
            self.of_bytes = kwargs.get("unit") == "B"
            kwargs["disable"] = False
            super().__init__(*args, **kwargs)
            if self.of_bytes:
                bars.append(self)

        def display(self, *args: Any, **kwargs: Any) -> None:
            """Nothing: the log is no terminal."""

        def update(self, n: float | None = 1) -> bool | None:
            told = super().update(n)
            if self.of_bytes:
                # with some storages one bar counts what came in and another what was written
                done = max(bar.n for bar in bars)
                speed = done / max(time.monotonic() - begun, 1e-3)
                stage("download", done, total, "bytes", f"{speed / MIB:.1f} MiB/s")
            return told

    return Told
