"""Turns conversations into token ids with a mark on each that is learned. The preview and the trainer
both use this, so what is shown is what is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from core.data.conversation import Conversation
from core.data.rendering import DoesNotRender
from core.data.rendering import render as render_text
from core.data.spans import NoSpan, Span, find_spans
from core.data.templates import Template, fold_system
from core.spec import Learn

Offsets = list[tuple[int, int]]


@dataclass(frozen=True)
class Rendered:
    """One row as the model sees it.

    `ids`, `learned` (0 or 1) and `offsets` (start and end in `text`) have one entry a token.
    """

    row: int
    text: str
    ids: list[int]
    learned: list[int]
    offsets: Offsets
    ends: bool
    """Whether the last answer's end token is learned."""
    folded: bool = False
    """Whether the system message was put into the first question."""
    lossy: bool = False
    """Whether the tokenizer cannot spell what is learned."""


@dataclass(frozen=True)
class Refused:
    """A row that cannot be rendered (`template_refused`) or masked (`no_mask`)."""

    row: int
    code: Literal["template_refused", "no_mask"]
    why: str


def render(
    conversation: Conversation, tokenizer: Any, template: Template | None, learn: Learn = "assistant"
) -> Rendered | Refused:
    """One row. `template` may be None for plain text, all of which is learned."""
    return render_all([conversation], tokenizer, template, learn)[0]


def render_all(
    conversations: Sequence[Conversation],
    tokenizer: Any,
    template: Template | None,
    learn: Learn = "assistant",
) -> list[Rendered | Refused]:
    """One result a conversation, in order; tokenised together, which is many times faster."""
    if conversations and conversations[0].text is not None:
        return _plain(conversations, tokenizer)
    assert template is not None, "conversations need a template"
    found = [_written(one, tokenizer, template, learn) for one in conversations]
    texts = [one.text for one in found if isinstance(one, _Written)]
    if not texts:
        return [one for one in found if isinstance(one, Refused)]
    batch = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    tokens = zip(batch["input_ids"], batch["offset_mapping"], strict=True)
    return [_masked(one, *next(tokens), tokenizer) if isinstance(one, _Written) else one for one in found]


def _plain(texts: Sequence[Conversation], tokenizer: Any) -> list[Rendered | Refused]:
    """Texts as the tokenizer itself begins them, each ended by the end of text; all of it is learned."""
    batch = tokenizer([one.text for one in texts], return_offsets_mapping=True)
    eos, bos = tokenizer.eos_token_id, tokenizer.bos_token_id
    rows: list[Rendered | Refused] = []
    for one, ids, offsets in zip(texts, batch["input_ids"], batch["offset_mapping"], strict=True):
        text = one.text or ""
        if bos is not None and ids[:1] == [bos] and tuple(offsets[0]) == (0, 0):
            begin = len(tokenizer.bos_token)
            text = tokenizer.bos_token + text
            offsets = [(0, begin), *((start + begin, end + begin) for start, end in offsets[1:])]
        if eos is not None:
            if ids[-1] == eos and tuple(offsets[-1])[1] == 0:
                ids, offsets = ids[:-1], offsets[:-1]
            whole = text + tokenizer.eos_token
            ids, offsets, text = [*ids, eos], [*offsets, (len(text), len(whole))], whole
        rows.append(Rendered(one.row, text, ids, [1] * len(ids), offsets, eos is not None))
    return rows


@dataclass(frozen=True)
class _Written:
    """A row as text, with where its learned parts stand; None: everything is learned."""

    row: int
    text: str
    spans: list[Span] | None
    folded: bool


def _written(one: Conversation, tokenizer: Any, template: Template, learn: Learn) -> _Written | Refused:
    messages, folded = one.messages, False
    if messages and messages[0].role == "system" and not template.takes_system:
        messages, folded = fold_system(messages), True
    try:
        if learn == "all":
            return _Written(one.row, render_text(messages, template.source, tokenizer), None, folded)
        text, spans = find_spans(messages, template.source, tokenizer)
    except DoesNotRender as problem:
        return Refused(one.row, "template_refused", problem.why)
    except NoSpan as problem:
        return Refused(one.row, "no_mask", str(problem))
    return _Written(one.row, text, spans, folded)


def _masked(one: _Written, ids: list[int], offsets: Offsets, tokenizer: Any) -> Rendered | Refused:
    if one.spans is None:
        return Rendered(one.row, one.text, ids, [1] * len(ids), offsets, True, one.folded)
    borders = [border for span in one.spans for border in _borders(span)]
    shared = _shared(one.text, borders, ids, offsets, tokenizer)
    if shared:
        ids, offsets = _in_pieces(one.text, shared, tokenizer)
    learned, token = [0] * len(ids), 0
    for span in one.spans:
        while token < len(ids) and offsets[token][0] < span.start:
            token += 1
        while token < len(ids) and offsets[token][0] < span.end:
            learned[token] = 1
            token += 1
    lossy = False
    if not _spells(ids, learned, [one.text[span.start : span.end] for span in one.spans], tokenizer):
        # a tokenizer that drops what it cannot write also counts its offsets wrong: go piece by piece
        lossy = True
        ids, offsets, learned = _piece_by_piece(one, tokenizer)
        if not _spells(ids, learned, _respelled(one, tokenizer), tokenizer):
            return Refused(one.row, "no_mask", "the tokens to be learned do not spell the answer")
    ends = bool(one.spans) and one.spans[-1].end_token is not None
    return Rendered(one.row, one.text, ids, learned, offsets, ends, one.folded, lossy)


def _spells(ids: list[int], learned: list[int], meant: list[str], tokenizer: Any) -> bool:
    said = tokenizer.decode([token for token, keep in zip(ids, learned, strict=True) if keep])
    return _bare(said) == _bare("".join(meant))


def _respelled(one: _Written, tokenizer: Any) -> list[str]:
    """What is to be learned, as far as the tokenizer can write it."""
    meant = (one.text[span.start : span.end] for span in one.spans or [])
    return [tokenizer.decode(tokenizer(words, add_special_tokens=False)["input_ids"]) for words in meant]


def _borders(span: Span) -> tuple[int, ...]:
    """Where a token must not reach across. An end token is one token: nothing reaches into it."""
    return (span.start,) if span.end_token else (span.start, span.end)


def _shared(text: str, cuts: list[int], ids: list[int], offsets: Offsets, tokenizer: Any) -> list[int]:
    """The borders that lie within a token, so that prompt and answer would share it.

    In chat the prompt ends there, and the model never sees such a token. A special token that swallows
    the blanks after it (`rstrip`) shares no words and is left alone.
    """
    shared, token = [], 0
    added = _added_ids(tokenizer)
    for cut in cuts:
        while token < len(ids) and offsets[token][1] <= cut:
            token += 1
        if token == len(ids) or ids[token] in added:
            continue
        inside = offsets[token][0] < cut
        # some tokenizers leave the blank at a token's front out of its offsets
        blank = text[cut - 1 : cut] == " " and offsets[token][0] == cut
        if inside or (blank and tokenizer.convert_ids_to_tokens(ids[token])[:1] in ("Ġ", "▁")):
            shared.append(cut)
    return shared


@lru_cache(maxsize=16)
def _added_ids(tokenizer: Any) -> frozenset[int]:
    return frozenset(tokenizer.get_added_vocab().values()) | frozenset(tokenizer.all_special_ids)


def _in_pieces(text: str, cuts: list[int], tokenizer: Any) -> tuple[list[int], Offsets]:
    """The text tokenised so that no token reaches across a cut."""
    ids: list[int] = []
    offsets: Offsets = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        more, places = _piece(text, start, end, tokenizer)
        ids += more
        offsets += places
    return ids, offsets


def _piece_by_piece(one: _Written, tokenizer: Any) -> tuple[list[int], Offsets, list[int]]:
    """As `_in_pieces`, cut at both ends of every span, with what is learned known by the piece."""
    ids: list[int] = []
    offsets: Offsets = []
    learned: list[int] = []
    at = 0
    for span in one.spans or []:
        for start, end, keep in ((at, span.start, 0), (span.start, span.end, 1)):
            more, places = _piece(one.text, start, end, tokenizer)
            ids, offsets, learned = ids + more, offsets + places, learned + [keep] * len(more)
        at = span.end
    more, places = _piece(one.text, at, len(one.text), tokenizer)
    return ids + more, offsets + places, learned + [0] * len(more)


def _piece(text: str, start: int, end: int, tokenizer: Any) -> tuple[list[int], Offsets]:
    # a piece in the middle of a text must not get the blank that some tokenizers put before a text
    anchor = "\n" if start and _prepends_blank(tokenizer) else ""
    batch = tokenizer(anchor + text[start:end], add_special_tokens=False, return_offsets_mapping=True)
    skip = len(tokenizer(anchor, add_special_tokens=False)["input_ids"]) if anchor else 0
    shift = start - len(anchor)
    places = [(begin + shift, stop + shift) for begin, stop in batch["offset_mapping"][skip:]]
    return batch["input_ids"][skip:], places


@lru_cache(maxsize=16)
def _prepends_blank(tokenizer: Any) -> bool:
    first = tokenizer("a", add_special_tokens=False)["input_ids"][0]
    return str(tokenizer.convert_ids_to_tokens(first)).startswith("▁")


def _bare(text: str) -> str:
    """Without blanks: tokenizers put and drop them around special tokens and at a text's start."""
    return "".join(text.split())
