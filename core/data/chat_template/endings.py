"""Which token ends a turn of the assistant, told from what a template writes after the turn's words."""

from functools import lru_cache
from typing import Any, NamedTuple

from core.data.chat_template.marks import MARK, Form, mark_all
from core.data.chat_template.rendering import DoesNotRender, render


class Ending(NamedTuple):
    """`closing`: words that the template puts between the answer and its end token; mostly none."""

    closing: str
    token: str


@lru_cache(maxsize=16)
def end_tokens(tokenizer: Any) -> tuple[str, ...]:
    """Texts that are one token of their own and could end a turn, the longest first."""
    added = {text for text in tokenizer.get_added_vocab() if text.strip()}
    return tuple(sorted({*added, *tokenizer.all_special_tokens}, key=len, reverse=True))


@lru_cache(maxsize=64)
def openers(source: str, tokenizer: Any, bos: str | None, eos: str | None) -> frozenset[str]:
    """Special tokens that open a user's turn: they follow an answer, but do not end it.

    One that also follows the user's own words, or the last answer, ends turns in general. `bos` and `eos`
    are the tokenizer's, which may change.
    """
    messages, _ = mark_all((Form("user"), Form("assistant")))
    try:
        pieces = MARK.split(render(messages, source, tokenizer))[::2]
    except DoesNotRender:
        return frozenset()
    ends = end_tokens(tokenizer)
    closing = {first_token(piece, ends) for piece in pieces[1:]}
    return frozenset(token for token in ends if token in pieces[0]) - closing


def first_token(text: str, ends: tuple[str, ...]) -> str | None:
    text = text.lstrip()
    return next((token for token in ends if text.startswith(token)), None)


def after_words(following: str, last: bool, usual: Ending | None, ends: tuple[str, ...]) -> Ending | None:
    """What ends an answer. `following`: what is written between it and the next turn's words; `last`:
    whether none comes; `usual`: the ending of a lone answer; `ends`: the tokens that may end one."""
    token = first_token(following, ends)
    if token:
        return Ending(following[: following.index(token)], token)
    if last:
        return _earliest(following, ends)
    return usual if usual and following.startswith(usual.closing + usual.token) else None


def after_calls(following: str, usual: Ending | None, ends: tuple[str, ...]) -> Ending | None:
    """What ends a turn that calls tools: the usual end token, or the first other that comes."""
    if usual and usual.token in following:
        return Ending(following[: following.index(usual.token)], usual.token)
    return _earliest(following, ends)


def _earliest(text: str, ends: tuple[str, ...]) -> Ending | None:
    places = {text.find(one): one for one in reversed(ends) if one in text}
    return Ending(text[: min(places)], places[min(places)]) if places else None
