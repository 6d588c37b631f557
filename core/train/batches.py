"""Batches for the trainer, made of rows as they lie in the store.

Rows are padded at the right, where causal attention never looks, so there is no attention mask. Rows that
share a line cannot see each other: positions begin anew with each, and the borders are either told
(`cu_seq_lens_q`, for `core.train.engine.attention`) or drawn by the library as a mask where positions fall
back (`find_packed_sequence_indices` in transformers/masking_utils.py).
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.functional import pad as widen
from torch.nn.utils.rnn import pad_sequence

from core.data.pack import WINDOW, best_fit
from core.data.store import Row, Rows
from core.errors import UserError
from core.plan.fullest import EVEN, STEP, coarse

FOR_THE_LOSS = ("labels", "at", "targets", "weights", "tokens")
"""Of a batch, what the model itself is not given."""
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

    def most(self) -> int:
        """Rows of the pack that has most of them."""
        return max(end - begin for begin, end in pairwise([0, *self._ends]))

    def __getitem__(self, place: Any) -> list[Row]:
        if not 0 <= place < len(self):
            raise IndexError(place)
        begin = self._ends[place - 1] if place else 0
        return [self.rows[one] for one in self._order[begin : self._ends[place]]]

    def lengths(self) -> Any:
        """Tokens of each pack (a numpy array)."""
        held = self.rows.lengths()[np.frombuffer(self._order, np.int64)]
        return np.add.reduceat(held, [0, *self._ends[:-1]])


def labels(row: Row) -> list[int]:
    """The learned ids. The first token has no label: nothing stands before it from which it could be
    foretold, and counting it would make the mean loss too small."""
    pairs = zip(row["input_ids"], row["learned"], strict=True)
    return [token if place and keep else IGNORED for place, (token, keep) in enumerate(pairs)]


@dataclass(frozen=True)
class Layout:
    """How the rows of a pass are laid out; one for a whole run, so that compiled layers see few shapes."""

    kind: Literal["rows", "lines", "blocks"]
    """rows: side by side, padded. lines: all on one line, borders told. blocks: packs side by side."""
    length: int | None = None
    """rows: tokens of every row, None: of the longest in the pass. lines: what a pack is filled up to."""
    longest: int = 0
    """lines: tokens of the longest row."""
    count: int | None = None
    """A smaller pass, such as the last of an epoch, is filled up to so many rows or packs with empty ones."""
    borders: int | None = None
    """lines: so many numbers tell the borders of every pass, and lines have few lengths: as a recorded pass
    wants it (`core.train.engine.graphs`)."""
    masked: bool = False
    """rows: with an attention mask all the same: the router of experts must not count padding."""


def layout_of(
    lengths: Any, *, packing: int | None, lines: bool, cuda: bool, masked: bool, count: int | None
) -> Layout:
    """The layout for rows of these lengths (a numpy array).

    `packing`: tokens of a pack; `lines`: whether the attention takes lines; `masked`: see there; `count`:
    rows of a pass where it must always have so many.
    """
    longest = int(lengths.max())
    if packing:
        return Layout("lines", packing, packing, count) if lines else Layout("blocks")
    if not cuda or masked:
        return Layout("rows", masked=masked)
    if lines and float(lengths.mean()) < EVEN * longest:
        return Layout("lines", None, longest)
    return Layout("rows", -(-longest // STEP) * STEP, count=count)


def collate(examples: Sequence[Row | list[Row]], pad: int, layout: Layout | None = None) -> dict[str, Any]:
    """`input_ids` and `labels`, (lines, tokens), and what the layout needs: `position_ids`, `cu_seq_lens_q`.

    For the head: `at`, (n,), the places in the flattened pass after which a learned token comes, `targets`,
    (n,), and `weights`, (n,) or None, where a row counts more or less than others. `tokens`: of the pass
    without what fills it up.
    """
    lines = [one if isinstance(one, list) else [one] for one in examples]
    if layout is None:
        layout = Layout("blocks" if any(isinstance(one, list) for one in examples) else "rows")
    tokens = sum(len(row["input_ids"]) for line in lines for row in line)
    if layout.count and (layout.kind == "rows" or layout.length):
        lines += [_filler(layout.longest or 1, pad)] * (layout.count - len(lines))
    if layout.kind == "lines":
        lines = [_on_one_line(lines, layout, pad)]
    ids = [[token for row in line for token in row["input_ids"]] for line in lines]
    batch: dict[str, Any] = {
        "input_ids": _filled(ids, pad, layout),
        "labels": _filled(
            [[label for row in line for label in labels(row)] for line in lines], IGNORED, layout
        ),
    }
    if layout.kind != "rows":
        places = [[place for row in line for place in range(len(row["input_ids"]))] for line in lines]
        batch["position_ids"] = _filled(places, 0, layout)
    if layout.kind == "lines":
        ends = list(accumulate((len(row["input_ids"]) for row in lines[0]), initial=0))
        ends += ends[-1:] * ((layout.borders or 0) - len(ends))  # rows of no tokens
        batch["cu_seq_lens_q"] = batch["cu_seq_lens_k"] = torch.tensor(ends, dtype=torch.int32)
        longest = max(map(len, (row["input_ids"] for row in lines[0])))
        batch["attention_mask"] = NO_MASK
        batch["max_length_q"] = batch["max_length_k"] = max(layout.longest, STEP, longest)
    if layout.masked:
        batch["attention_mask"] = _filled([[1] * len(line) for line in ids], 0, layout)
    following = batch["labels"].roll(-1, dims=1)
    following[:, -1] = IGNORED
    at = (following.flatten() != IGNORED).nonzero()[:, 0]
    batch |= {"at": at, "targets": following.flatten()[at], "weights": None, "tokens": tokens}
    if any(row.get("weight", 1.0) != 1.0 for line in lines for row in line):
        weights = [[row.get("weight", 1.0) for row in line for _ in row["input_ids"]] for line in lines]
        batch["weights"] = _filled(weights, 1.0, layout).roll(-1, dims=1).flatten()[at]
    return batch


NO_MASK = torch.ones(1, 1, 1, 1, dtype=torch.bool)
"""Keeps the library from making a mask of tokens x tokens; `core.train.engine.attention` does not read it."""


def _filler(tokens: int, pad: int) -> list[Row]:
    return [{"input_ids": [pad] * tokens, "learned": [0] * tokens}] if tokens > 0 else []


def _on_one_line(lines: list[list[Row]], layout: Layout, pad: int) -> list[Row]:
    """All rows in order. What fills up a pack to its length, or the line to one of its, is a row too."""
    if layout.length is None:
        rows = [row for line in lines for row in line]
        tokens = sum(len(row["input_ids"]) for row in rows)
        return rows + _filler(-tokens % (coarse(tokens) if layout.borders else STEP), pad)
    return [
        row
        for line in lines
        for row in line + _filler(layout.length - sum(len(row["input_ids"]) for row in line), pad)
    ]


def _filled(lines: list[list[Any]], value: float, layout: Layout) -> torch.Tensor:
    # padding is masked by place, never by id: the pad token may be any
    whole = pad_sequence([torch.tensor(line) for line in lines], batch_first=True, padding_value=value)
    if layout.kind == "rows" and layout.length and whole.shape[1] < layout.length:
        return widen(whole, (0, layout.length - whole.shape[1]), value=value)
    return whole


def refuse_leaks(model: Any, layout: Layout) -> None:
    """UserError where a model's documents see each other in a pack, as those do that carry a state along."""
    words = min(int(model.config.get_text_config().vocab_size), 100)
    ids = [[(place + begin) % words for place in range(8)] for begin in (0, words // 2, 1)]
    first, other, second = ({"input_ids": one, "learned": [1] * 8} for one in ids)
    layout = replace(layout, length=None, count=None)
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    with torch.no_grad():
        said = []
        for before in (first, other):
            batch = collate([[before, second]], 0, layout)
            inputs = {name: one for name, one in batch.items() if name not in FOR_THE_LOSS}
            inputs = {
                k: one.to(device) if isinstance(one, torch.Tensor) else one for k, one in inputs.items()
            }
            said.append(model(**inputs, use_cache=False).logits[0, 8:16])
    model.train(was_training)
    if not torch.allclose(said[0].float(), said[1].float(), atol=1e-4, rtol=1e-3):
        raise UserError(
            "rows of this model cannot be packed",
            f"packed rows of {model.config.model_type} would see each other",
            "start the run anew with packing: false",
            code=1,
        )
