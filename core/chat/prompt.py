"""A conversation as the token ids that the model was trained to answer, and the tokens that end an answer."""

from __future__ import annotations

from typing import Any

from core.chat.talk import Message
from core.data import conversation
from core.data.chat_template.borders import apart_at, tokenise
from core.data.chat_template.rendering import DoesNotRender, render
from core.data.chat_template.skeleton import LeavesOut, NoSpan
from core.data.chat_template.spans import find_spans
from core.data.chat_template.templates import Template, fold_system, generation_eos_ids
from core.errors import UserError

MARK = "\u241fanswer\u241f"  # a text that no template writes by itself


def prompt_ids(tokenizer: Any, template: Template | None, messages: list[Message]) -> list[int]:
    """Ids up to where the answer begins, made as the training rows were: by the template, which writes
    every special token itself. Without a template the turns are joined, for the model to go on from.

    Raises UserError when the template does not take the conversation.
    """
    if template is None:
        ids = list(tokenizer("\n\n".join(turn["content"] for turn in messages))["input_ids"])
        return ids[:-1] if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id else ids
    turns = tuple(conversation.Message(turn["role"], turn["content"]) for turn in messages)
    if turns[0].role == "system" and not template.takes_system:
        turns = fold_system(turns)
    try:
        text = _opening(tokenizer, template, turns)
    except DoesNotRender as problem:
        raise UserError(
            "the chat template does not take this conversation",
            problem.why,
            "begin a new one, with a question first and then answers and questions in turn",
        ) from None
    cuts = _answers_begin(tokenizer, template, turns, text)
    return apart_at(text, cuts, tokenise([text], tokenizer)[0], tokenizer)[0]


def _answers_begin(
    tokenizer: Any, template: Template, turns: tuple[conversation.Message, ...], text: str
) -> list[int]:
    """Where earlier answers begin: no token reached across when they were written, or trained on."""
    if not any(turn.role == "assistant" for turn in turns):
        return []
    try:
        found = find_spans(turns, template.source, tokenizer)
    except (DoesNotRender, NoSpan, LeavesOut):
        return []
    return [span.start for span in found.spans if text.startswith(found.text[: span.end])]


def _opening(tokenizer: Any, template: Template, turns: tuple[conversation.Message, ...]) -> str:
    """The rendered text up to where the answer begins."""
    text = render(turns, template.source, tokenizer, generation=True)
    if text != render(turns, template.source, tokenizer):
        return text
    # a template that ignores the flag: what it writes before an answer is found by giving it one
    answered = render((*turns, conversation.Message("assistant", MARK)), template.source, tokenizer)
    header, found, _ = answered.removeprefix(text).partition(MARK)
    return text + header.rstrip(" ") if found and header.strip() and answered.startswith(text) else text


def ends_of(model: Any, tokenizer: Any, template: Template | None) -> frozenset[int]:
    """Every token that means "I have finished": the template's, the tokenizer's, the model's."""
    named = model.generation_config.eos_token_id
    ends = [*(named if isinstance(named, list) else [named]), *generation_eos_ids(template, tokenizer)]
    return frozenset(int(one) for one in ends if one is not None)
