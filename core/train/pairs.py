"""Batches of preferences for TRL's trainers, made of the very ids that were rendered; nothing is tokenised.

A row (`core.data.store`) has the chosen answer with its prompt in `input_ids`, the other one with the same
prompt in `rejected_ids`, and in `learned` and `rejected_learned` 1 for each token that counts; a labelled
row has `input_ids`, `learned` and `label`. The trainers themselves see numbers of rows alone.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence

Row = dict[str, Any]
Batch = dict[str, Any]
Collate = Callable[[list[dict[str, Any]]], Batch]

REFERENCE = ("ref_chosen_logps", "ref_rejected_logps", "ref_logps", "ref_KL_logps")
"""What a row may bring along: log-probabilities of its answers under the model before training."""


def numbers(part: int, places: Sequence[int]) -> Dataset:
    """A dataset of row numbers in `part` of what `collator` is given."""
    return Dataset.from_dict({"part": [part] * len(places), "place": list(places)})


def spread(rows: Sequence[Row], seed: int) -> list[int]:
    """Row numbers in an order, fixed by the seed, in which good and bad rows are mixed evenly.

    KTO mixes the answers of one batch with each other, so its batches are the same in every epoch; one
    with a single label would never compare.
    """
    chance = random.Random(seed)
    order: list[tuple[float, int]] = []
    for label in (True, False):
        places = [place for place, row in enumerate(rows) if bool(row["label"]) is label]
        chance.shuffle(places)
        order += [((turn + 0.5) / len(places), place) for turn, place in enumerate(places)]
    return [place for _, place in sorted(order)]


def collator(parts: Sequence[Sequence[Row]], make: Callable[[list[Row]], Batch]) -> Collate:
    """Looks up the rows of a batch by their numbers and makes tensors of them."""

    def collate(examples: list[dict[str, Any]]) -> Batch:
        batch = make([parts[one["part"]][one["place"]] for one in examples])
        known = [name for name in REFERENCE if name in examples[0]]
        return batch | {name: torch.tensor([one[name] for one in examples]) for name in known}

    return collate


def paired(rows: list[Row], pad: int) -> Batch:
    """`input_ids`, `attention_mask` and `completion_mask`, (2 x rows, tokens): chosen, then rejected ones."""
    sequences = [(row["input_ids"], row["learned"]) for row in rows]
    sequences += [(row["rejected_ids"], row["rejected_learned"]) for row in rows]
    return tensors(sequences, pad)


def labelled(rows: list[Row], pad: int, length: int) -> Batch:
    """As `paired`, (rows, tokens), with `label`; and under `KL_` each prompt with the answer before it.

    From these mismatched ones KTO reckons how far the model has moved altogether (Ethayarajh et al. 2024,
    section 4.1). They are cut at `length`.
    """
    starts = [row.get("prompt", row["learned"].index(1)) for row in rows]
    mixed = []
    for row, start, other, begin in zip(
        rows, starts, rows[-1:] + rows[:-1], starts[-1:] + starts[:-1], strict=True
    ):
        ids = [*row["input_ids"][:start], *other["input_ids"][begin:]]
        mixed.append((ids[:length], [*[0] * start, *other["learned"][begin:]][:length]))
    own = tensors([(row["input_ids"], row["learned"]) for row in rows], pad)
    return {
        **own,
        **{f"KL_{name}": one for name, one in tensors(mixed, pad).items()},
        "label": torch.tensor([bool(row["label"]) for row in rows]),
    }


def tensors(sequences: Sequence[tuple[Sequence[int], Sequence[int]]], pad: int) -> Batch:
    """Padded at the right; what is padding is known by its place, so the pad token may be any."""
    ids = [torch.tensor(one, dtype=torch.long) for one, _ in sequences]
    masks = [torch.tensor(mask, dtype=torch.long) for _, mask in sequences]
    for mask in masks:
        mask[:1] = 0  # nothing stands before the first token from which it could be told
    return {
        "input_ids": pad_sequence(ids, batch_first=True, padding_value=pad),
        "attention_mask": pad_sequence([torch.ones_like(one) for one in ids], batch_first=True),
        "completion_mask": pad_sequence(masks, batch_first=True),
    }
