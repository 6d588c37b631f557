"""Log-probabilities of the answers under the model before training, so that no second one is held."""

import hashlib
import json
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from core.runs.lock import write_whole

Told = Callable[[int, int], None]
"""Rows done, and of how many; may raise to leave."""


def fingerprint(rows: Sequence[dict[str, Any]], *settings: Any) -> str:
    """The same for the same ids and marks in the same order under the same settings."""
    found = hashlib.blake2b(repr(settings).encode(), digest_size=16)
    for row in rows:
        for name in ("input_ids", "learned", "rejected_ids", "rejected_learned"):
            found.update(array("q", row.get(name) or []).tobytes() + b"|")
    return found.hexdigest()


def added(
    trainer: Any, dataset: Dataset, batch_size: int, names: tuple[str, ...], kept: Path, key: str, told: Told
) -> Dataset:
    """The dataset with a column of nats a row for each of `names`, in the order of `compute_ref_log_probs`.

    They are kept in the file `kept` under `key`: a resumed run takes them from there.
    """
    before = _read(kept)
    columns = before.get(key)
    if columns is None:
        columns = _measured(trainer, dataset, batch_size, names, told)
        write_whole(kept, json.dumps({**before, key: columns}) + "\n")
    for name in names:
        dataset = dataset.add_column(name, columns[name])
    return dataset


def _measured(
    trainer: Any, dataset: Dataset, batch_size: int, names: tuple[str, ...], told: Told
) -> dict[str, list[float]]:
    columns: dict[str, list[float]] = {name: [] for name in names}
    was_training = trainer.model.training
    trainer.model.eval()
    for batch in DataLoader(dataset, batch_size=batch_size, collate_fn=trainer.data_collator):
        told(len(columns[names[0]]), len(dataset))
        found = trainer.compute_ref_log_probs(trainer.model, trainer._prepare_inputs(batch))
        for name, one in zip(names, found, strict=True):
            columns[name] += one.float().cpu().tolist()
    told(len(dataset), len(dataset))
    trainer.model.train(was_training)
    if not all(torch.isfinite(torch.tensor(one)).all() for one in columns.values()):
        raise ValueError("the model gives some of the answers a probability that is not a number")
    return columns


def _read(path: Path) -> dict[str, dict[str, list[float]]]:
    try:
        found: dict[str, dict[str, list[float]]] = json.loads(path.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        return {}
