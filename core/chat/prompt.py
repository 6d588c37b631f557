"""A conversation as the token ids that the model was trained to answer, and the tokens that end an answer."""

from __future__ import annotations

from typing import Any

from core.chat.talk import Message
from core.data import templates
from core.errors import UserError

MARK = "\u241fanswer\u241f"  # a text no template writes by itself


def prompt_ids(tokenizer: Any, messages: list[Message]) -> list[int]:
    """Ids up to where the assistant's answer begins, as the training rows were made.

    The template writes every special token, a beginning-of-text included, so none is added here.
    Raises UserError when the template does not take the conversation.
    """
    if not tokenizer.chat_template:
        text = "\n\n".join(turn["content"] for turn in messages)
        return list(tokenizer(text)["input_ids"])
    try:
        text = opening(tokenizer, messages)
    except Exception as error:  # a template is a program: it may raise anything
        raise UserError(
            "the chat template does not take this conversation",
            str(error) or type(error).__name__,
            "begin anew, without a system prompt if there was one",
        ) from error
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def opening(tokenizer: Any, messages: list[Message]) -> str:
    """The rendered text up to where the answer begins."""

    def render(turns: list[Message], **more: Any) -> str:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, **more))

    text = render(messages, add_generation_prompt=True)
    if text != render(messages, add_generation_prompt=False):
        return text
    # a template that ignores the flag: its header before an answer is found by writing one
    answered = render([*messages, {"role": "assistant", "content": MARK}])
    header = answered[len(text) :].split(MARK)[0] if answered.startswith(text) and MARK in answered else ""
    return text + header.rstrip(" ")


def ends_of(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that means "I have finished": the tokenizer's, the model's, and the template's."""
    named = model.generation_config.eos_token_id
    ends = {*(named if isinstance(named, list) else [named]), tokenizer.eos_token_id}
    if tokenizer.chat_template:
        ends |= set(templates.choose("auto", tokenizer).end_ids)
    return frozenset(int(one) for one in ends if one is not None)
