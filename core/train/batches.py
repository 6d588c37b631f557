"""Batches for the trainer, made of rows as they lie in the store; several documents may share a line.

Packed documents cannot see each other: positions begin anew with each, no attention mask is given, and the
library then draws the borders where positions fall back (`find_packed_sequence_indices` in
transformers/masking_utils.py). What fills a line up is a document of its own for each token.
"""

from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from core.data.pack import WINDOW, best_fit
from core.data.store import Row, Rows
from core.errors import UserError

IGNORED = -100
"""A label that carries no loss."""


class Packs(Sequence[Any]):
    """Rows laid end to end, up to `length` tokens: each item is the list of its documents."""

    def __init__(self, rows: Rows, length: int):
        self.rows = rows
        store, lengths = rows.store, rows.lengths()
        source, row = (store.column(name)[rows.places] for name in ("source", "row"))
        window = (row - 1) // WINDOW
        begins = np.flatnonzero((np.diff(source) != 0) | (np.diff(window) != 0)) + 1
        order, ends = array("q"), array("q")
        for at, stop in pairwise([0, *begins.tolist(), len(rows)]):
            for pack in best_fit(lengths[at:stop].tolist(), length):
                order.extend(at + one for one in pack)
                ends.append(len(order))
        self._order, self._ends = order, ends

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, place: Any) -> list[Row]:
        if not 0 <= place < len(self):
            raise IndexError(place)
        begin = self._ends[place - 1] if place else 0
        return [self.rows[one] for one in self._order[begin : self._ends[place]]]


def labels(row: Row) -> list[int]:
    """The learned ids. The first token has no label: nothing stands before it from which it could be
    foretold, and counting it would make the mean loss too small."""
    pairs = zip(row["input_ids"], row["learned"], strict=True)
    return [token if place and keep else IGNORED for place, (token, keep) in enumerate(pairs)]


def collate(examples: Sequence[Row | list[Row]], pad: int) -> dict[str, torch.Tensor]:
    """`input_ids` and `labels`, (lines, tokens), with `attention_mask` or, for packs, `position_ids`.

    `tokens`: of the batch without what fills it up. `loss_weights`, (lines, tokens): only where a row
    counts more or less than others.
    """
    lines = [one if isinstance(one, list) else [one] for one in examples]
    packed = any(isinstance(one, list) for one in examples)
    ids = [[token for row in line for token in row["input_ids"]] for line in lines]
    batch = {
        "input_ids": _filled(ids, pad),
        "labels": _filled([[label for row in line for label in labels(row)] for line in lines], IGNORED),
        "tokens": torch.tensor(sum(map(len, ids))),
    }
    if packed:
        places = [[place for row in line for place in range(len(row["input_ids"]))] for line in lines]
        batch["position_ids"] = _filled(places, 0)
    else:
        batch["attention_mask"] = _filled([[1] * len(line) for line in ids], 0)
    if any(row.get("weight", 1.0) != 1.0 for line in lines for row in line):
        weights = [[row.get("weight", 1.0) for row in line for _ in row["input_ids"]] for line in lines]
        batch["loss_weights"] = _filled(weights, 1.0)
    return batch


def _filled(lines: list[list[Any]], value: float) -> torch.Tensor:
    # padding is masked by place, never by id: the pad token may be any
    return pad_sequence([torch.tensor(line) for line in lines], batch_first=True, padding_value=value)


def refuse_leaks(model: Any) -> None:
    """UserError where a model's documents see each other in a pack, as those do that carry a state along."""
    words = min(int(model.config.get_text_config().vocab_size), 100)
    first = torch.arange(8) % words
    other = (first + words // 2) % words
    second = (first + 1) % words
    places = torch.arange(8).repeat(2)[None]
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    with torch.no_grad():
        said = [
            model(
                input_ids=torch.cat([before, second])[None].to(device),
                position_ids=places.to(device),
                use_cache=False,
            ).logits[0, 8:]
            for before in (first, other)
        ]
    model.train(was_training)
    if not torch.allclose(said[0].float(), said[1].float(), atol=1e-4, rtol=1e-3):
        raise UserError(
            "rows of this model cannot be packed",
            f"packed rows of {model.config.model_type} would see each other",
            "start the run anew with packing: false",
            code=1,
        )
