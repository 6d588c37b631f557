"""Checkpoints on disk: written aside, made durable, then given their name; found whole, and thinned out.

The trainer writes `checkpoints/.writing/checkpoint-N`. Only a complete one is renamed to
`checkpoints/checkpoint-N`, so a worker that is killed in the middle leaves nothing that looks like one.
"""

import contextlib
import json
import os
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.runs.folder import RunFolder

GIB = 2**30
SPARE_BYTES = 64 * 2**20
"""Left free beside what is saved, for the events and the log."""

RESERVE_BYTES = 256 * 2**10


def writing(run: RunFolder) -> Path:
    """Where the trainer writes; emptied by `publish` and `sweep`."""
    return run.checkpoints / ".writing"


def publish(run: RunFolder, step: int, keep: int) -> Path:
    """Gives a written checkpoint its name, and deletes all but the newest `keep`."""
    aside, final = writing(run) / f"checkpoint-{step}", run.checkpoints / f"checkpoint-{step}"
    make_durable(aside)
    if final.exists():
        shutil.rmtree(final)
    aside.replace(final)
    sync_folder(run.checkpoints)
    for _, old in run.checkpoint_list()[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def sweep(run: RunFolder) -> None:
    """Removes what a save that broke off has left, and so gives the disk its room back."""
    shutil.rmtree(writing(run), ignore_errors=True)
    for path in run.path.glob(".saving-*"):
        shutil.rmtree(path, ignore_errors=True)


def reserve(run: RunFolder) -> None:
    """Holds a little of the disk, so that a run that fills it can still say so (see `give_way`)."""
    _reserve(run).write_bytes(bytes(RESERVE_BYTES))


def give_way(run: RunFolder) -> None:
    _reserve(run).unlink(missing_ok=True)


def _reserve(run: RunFolder) -> Path:
    return run.path / ".reserve"


def newest_whole(run: RunFolder) -> tuple[int, Path] | None:
    """Step and folder of the newest checkpoint whose files are all whole; damaged ones are passed over."""
    for step, path in reversed(run.checkpoint_list()):
        if is_whole(path):
            return step, path
    return None


def is_whole(path: Path) -> bool:
    """Whether every file of a checkpoint reaches its own end. Reads headers alone, no tensors."""
    try:
        state = json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        weights = list(path.glob("*.safetensors"))
        archives = [file for file in path.iterdir() if file.suffix in (".pt", ".pth", ".bin")]
        return (
            "global_step" in state
            and bool(weights)
            and {"optimizer.pt", "scheduler.pt"} <= {file.name for file in archives}
            and all(zipfile.is_zipfile(file) for file in archives)
            and all(_safetensors_whole(file) for file in weights)
        )
    except (OSError, ValueError):
        return False


def _safetensors_whole(path: Path) -> bool:
    """A safetensors file is eight bytes of header length, the JSON header, and the data it describes."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
        size = path.stat().st_size
        if length > size:
            return False
        header: dict[str, Any] = json.loads(file.read(length))
    ends = [part["data_offsets"][1] for name, part in header.items() if name != "__metadata__"]
    return size == 8 + length + max(ends, default=0)


def make_durable(folder: Path) -> None:
    """Every file of a folder and its subfolders is on the disk when this returns."""
    for path in [*folder.rglob("*"), folder]:
        sync_folder(path) if path.is_dir() else _sync(path)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable. Some network disks refuse; they keep them safe themselves."""
    with contextlib.suppress(OSError):
        _sync(path)


def folder_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def refuse_small_disk(run: RunFolder, needed: int, what: str) -> None:
    """UserError when fewer than `needed` bytes are free where the run is written."""
    free = shutil.disk_usage(run.path).free
    if free >= needed + SPARE_BYTES:
        return
    raise UserError(
        f"the disk is too full for {what}",
        f"{needed / GIB:.2f} GiB are needed in {run.path}, {free / GIB:.2f} GiB are free",
        f"make room, then: finetui resume {run.name}",
        code=1,
    )
