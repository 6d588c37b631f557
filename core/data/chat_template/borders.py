"""Token ids of a rendered text, such that no token reaches across the start of an answer.

In chat the prompt ends there, and the model never sees a token that prompt and answer share.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

Offsets = list[tuple[int, int]]
Tokens = tuple[list[int], Offsets]
"""Ids, and of each the start and end in the text."""


def tokenise(texts: Sequence[str], tokenizer: Any, *, special: bool = False) -> list[Tokens]:
    """Many texts at once, on all threads. `special`: with what the tokenizer itself puts around a text."""
    # a call of the tokenizer undoes any cutting and filling up that its file asks for; the many texts then
    # go past what it does for each batch, which is a fifth of the time
    tokenizer("", add_special_tokens=special)
    done = tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=special)
    return [(one.ids, one.offsets) for one in done]


def apart_at(text: str, cuts: Sequence[int], tokens: Tokens, tokenizer: Any) -> Tokens:
    """The tokens, made anew where one of them reaches across a cut."""
    shared = [cut for cut in cuts if 0 < cut < len(text) and _reaches_across(text, cut, tokens, tokenizer)]
    return in_pieces(text, shared, tokenizer) if shared else tokens


def in_pieces(text: str, cuts: Sequence[int], tokenizer: Any) -> Tokens:
    """The text tokenised so that no token reaches across a cut."""
    ids: list[int] = []
    offsets: Offsets = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        more, places = piece(text, start, end, tokenizer)
        ids += more
        offsets += places
    return ids, offsets


def piece(text: str, start: int, end: int, tokenizer: Any) -> Tokens:
    """The part of a text from `start` to `end` alone, with offsets into the whole."""
    # a piece in the middle of a text must not get the blank that some tokenizers put before a text
    anchor = "\n" if start and _prepends_blank(tokenizer) else ""
    ids, offsets = tokenise([anchor + text[start:end]], tokenizer)[0]
    skip = len(tokenise([anchor], tokenizer)[0][0]) if anchor else 0
    shift = start - len(anchor)
    return ids[skip:], [(begin + shift, stop + shift) for begin, stop in offsets[skip:]]


def first_from(offsets: Offsets, place: int) -> int:
    """Which token is the first that begins at or after this place in the text."""
    return bisect_left(offsets, (place,))


def _reaches_across(text: str, cut: int, tokens: Tokens, tokenizer: Any) -> bool:
    """A special token that swallows the blanks after it (`rstrip`) shares no words and is left alone."""
    ids, offsets = tokens
    token = bisect_right(offsets, cut, key=lambda one: one[1])
    if token == len(ids) or ids[token] in _added_ids(tokenizer):
        return False
    if offsets[token][0] < cut:
        return True
    if not text[cut - 1].isspace():
        return False
    # some tokenizers leave the blank at a token's front out of its offsets
    blank = text[cut - 1] == " " and tokenizer.convert_ids_to_tokens(ids[token])[:1] in ("Ġ", "▁")
    before = text[max(0, cut - 40) : cut]
    return blank or _blanks_differ(before[len(before.rstrip()) :], text[cut], tokenizer)


@lru_cache(maxsize=4096)
def _blanks_differ(blanks: str, following: str, tokenizer: Any) -> bool:
    """Whether several blanks become other tokens when this character follows than when nothing does."""
    if len(blanks) < 2:
        return False
    alone, followed = (ids for ids, _ in tokenise(["x" + blanks, "x" + blanks + following], tokenizer))
    return followed[: len(alone)] != alone


@lru_cache(maxsize=16)
def _added_ids(tokenizer: Any) -> frozenset[int]:
    return frozenset(tokenizer.get_added_vocab().values()) | frozenset(tokenizer.all_special_ids)


@lru_cache(maxsize=16)
def _prepends_blank(tokenizer: Any) -> bool:
    first = tokenizer("a", add_special_tokens=False)["input_ids"][0]
    return str(tokenizer.convert_ids_to_tokens(first)).startswith("▁")
