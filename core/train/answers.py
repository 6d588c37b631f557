"""What the model answers while it learns: a held-out question or two, at each look at the held-out rows."""

from collections.abc import Sequence
from typing import Any

from core.data.chat_template.skeleton import skeleton_of
from core.data.chat_template.templates import Template, generation_eos_ids
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


def answer(model: Any, tokenizer: Any, template: Template | None, asked: list[int], device: Device) -> str:
    """The likeliest answer, token by token, until an end token or a limit."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    # cuDNN's kernels, which rows of one length train with, are planned anew for each token of an answer
    any_length = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    ids = torch.tensor([asked], device=next(model.parameters()).device)
    ends = generation_eos_ids(template, tokenizer)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), device.autocast(), sdpa_kernel(any_length):
            out = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=MOST_TOKENS,
                max_time=MOST_SECONDS,
                eos_token_id=ends or None,
                pad_token_id=ends[0] if ends else 0,
                use_cache=True,
            )
    finally:
        model.train(was_training)
    return str(tokenizer.decode(out[0, len(asked) :], skip_special_tokens=True)).strip()


def in_words(asked: list[int], tokenizer: Any, template: Template | None) -> str:
    """The last question as it was asked, without what the template writes around it where that is known."""
    if template:
        text = tokenizer.decode(asked, clean_up_tokenization_spaces=False)
        before, after = skeleton_of(("user", "assistant"), template.source, tokenizer).pieces[:2]
        if text.endswith(after) and before in text:
            return str(text.removesuffix(after).rpartition(before)[2]).strip()
    return str(tokenizer.decode(asked, skip_special_tokens=True)).strip()
