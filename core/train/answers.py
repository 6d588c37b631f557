"""What the model answers while it learns: a held-out question or two, at each look at the held-out rows."""

from collections.abc import Sequence
from typing import Any

from core.runs.events import Sample
from core.train.device import Device

QUESTIONS = 2
MOST_TOKENS = 64
MOST_SECONDS = 6.0
"""For one answer; what is not said by then is not said."""
OPENING = 12
"""Tokens given of a row that is learned from its first token, such as plain text."""
MOST_PROMPT = 512


def questions(rows: Sequence[dict[str, list[int]]]) -> list[list[int]]:
    """The ids before the first learned token, of the first rows for which that is short enough."""
    found: list[list[int]] = []
    for row in rows:
        ids, learned = row["input_ids"], row["learned"]
        start = learned.index(1) if 1 in learned else 0
        asked = list(ids[: start if start > 1 else OPENING])
        if 0 < len(asked) <= MOST_PROMPT and asked not in found:
            found.append(asked)
        if len(found) == QUESTIONS:
            break
    return found


def answer(
    model: Any, tokenizer: Any, asked: list[int], end_ids: Sequence[int], device: Device, step: int
) -> Sample:
    """The likeliest answer, token by token, until an end token or a limit."""
    import torch

    where = next(model.parameters()).device
    ids = torch.tensor([asked], device=where)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else next(iter(end_ids), 0)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), device.autocast():
            out = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=MOST_TOKENS,
                max_time=MOST_SECONDS,
                eos_token_id=list(end_ids) or None,
                pad_token_id=pad,
                use_cache=True,
            )
    finally:
        model.train(was_training)
    said = tokenizer.decode(out[0, len(asked) :], skip_special_tokens=True).strip()
    return Sample(step, tokenizer.decode(asked, skip_special_tokens=True).strip(), said)
