"""Finds where the assistant's words stand in a rendered conversation, for any template.

Templates differ in what they write around a turn, and few mark what the assistant says. So every
message is replaced by a mark, the template is rendered once for that order of roles, and what stands
between the marks is what the template itself writes: its skeleton. The real text is then walked along
the skeleton. A template that shapes its text by the words (moving a <think> part, say) leaves the
skeleton; there the text is compared with that of the turns before, and if this fails too, refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from core.data.conversation import Message
from core.data.rendering import DoesNotRender, render


@dataclass(frozen=True)
class Span:
    """One learned turn of the assistant as character offsets into the rendered text.

    `start`: where the model begins to write, which is where the generation prompt ends. `words_end`:
    the end of the words. `end`: the end of what is learned, with the end token where there is one.
    """

    turn: int
    start: int
    words_end: int
    end: int
    end_token: str | None


class NoSpan(Exception):
    """What is to be learned cannot be told apart in this row; the message says why."""


@dataclass(frozen=True)
class Slot:
    turn: int
    lead: int
    """Characters just before the words that the model writes itself (a space after `ASSISTANT:`)."""
    tail: int
    """Characters just after the words that are learned with them: the end token and blanks before it."""
    end_token: str | None


@dataclass(frozen=True)
class Skeleton:
    """`pieces[i]` stands before `slots[i]`; the last piece ends the text."""

    pieces: tuple[str, ...]
    slots: tuple[Slot, ...]
    gap: str
    """What stands between the generation prompt and the last answer's words, blanks apart."""
    prompt_fits: bool
    """False: the text of a finished conversation does not begin with its generation prompt."""


MARK = re.compile(r"qzX(\d+)Xzq")


def find_spans(messages: Sequence[Message], source: str, tokenizer: Any) -> tuple[str, list[Span]]:
    """The rendered text and a span for each learned turn of the assistant. Raises DoesNotRender, NoSpan."""
    text = render(messages, source, tokenizer)
    skeleton = skeleton_of(tuple(turn.role for turn in messages), source, tokenizer)
    spans = _walk(text, messages, skeleton)
    if spans is None:
        spans = _by_prefix(text, messages, source, tokenizer)
    return text, [span for span in spans if messages[span.turn].learn]


def skeleton_of(roles: tuple[str, ...], source: str, tokenizer: Any) -> Skeleton:
    """What the template writes around turns in this order. Raises DoesNotRender, NoSpan."""
    return _skeleton(roles, source, tokenizer, tokenizer.bos_token, tokenizer.eos_token)


@lru_cache(maxsize=512)
def _skeleton(
    roles: tuple[str, ...], source: str, tokenizer: Any, bos: str | None, eos: str | None
) -> Skeleton:
    # bos and eos are part of the key: a tokenizer's may change, and with it what a template writes
    marked = [Message(role, f"qzX{place}Xzq") for place, role in enumerate(roles)]
    text = render(marked, source, tokenizer)
    parts = MARK.split(text)
    pieces, turns = parts[::2], [int(place) for place in parts[1::2]]
    for place, role in enumerate(roles):
        if role == "assistant" and turns.count(place) != 1:
            raise NoSpan(f"the template writes answer {place + 1} {turns.count(place)} times")
    ends = end_tokens(tokenizer)
    openers = _openers(pieces, turns, roles, ends)
    slots, gap, fits, at = [], "", True, 0
    for piece, following, turn in zip(pieces, pieces[1:], turns, strict=False):
        at += len(piece)
        lead, tail, end_token = 0, 0, None
        if roles[turn] == "assistant":
            prompt = _prompt(marked[:turn], source, tokenizer)
            if prompt is not None:
                fits = text[:at].startswith(prompt)
                between = text[len(prompt) : at] if fits else ""
                gap = between.strip()
                lead = 0 if gap else len(between)
            end_token = _end_of(following, ends, openers)
            if end_token:
                tail = following.index(end_token) + len(end_token)
        slots.append(Slot(turn, lead, tail, end_token))
        at += len(f"qzX{turn}Xzq")
    return Skeleton(tuple(pieces), tuple(slots), gap, fits)


def _prompt(before: list[Message], source: str, tokenizer: Any) -> str | None:
    if not before:
        return None
    try:
        return render(before, source, tokenizer, generation=True)
    except DoesNotRender:
        return None


@lru_cache(maxsize=16)
def end_tokens(tokenizer: Any) -> tuple[str, ...]:
    """Texts that are one token of their own and could end a turn, the longest first."""
    added = {text for text in tokenizer.get_added_vocab() if text.strip()}
    return tuple(sorted({*added, *tokenizer.all_special_tokens}, key=len, reverse=True))


def _openers(pieces: list[str], turns: list[int], roles: tuple[str, ...], ends: tuple[str, ...]) -> set[str]:
    """Special tokens that open a user's turn: they follow an answer, but do not end it.

    One that also follows the user's own words, or the last answer, ends turns in general.
    """
    first = turns.index(roles.index("user")) if "user" in roles and roles.index("user") in turns else None
    if first is None:
        return set()
    closing = {_first_token(pieces[first + 1], ends)}
    if roles[-1] == "assistant":
        closing.add(_first_token(pieces[-1], ends))
    return {token for token in ends if token in pieces[first]} - closing


def _first_token(text: str, ends: tuple[str, ...]) -> str | None:
    text = text.lstrip()
    return next((token for token in ends if text.startswith(token)), None)


def _end_of(following: str, ends: tuple[str, ...], openers: set[str]) -> str | None:
    token = _first_token(following, ends)
    return None if token in openers else token


def _walk(text: str, messages: Sequence[Message], skeleton: Skeleton) -> list[Span] | None:
    """The spans, if the text is the skeleton with the messages' words in it; None if it is not."""
    spans: list[Span] = []
    at = len(skeleton.pieces[0])
    if not text.startswith(skeleton.pieces[0]):
        return None
    last = len(skeleton.slots) - 1
    for place, slot in enumerate(skeleton.slots):
        words = messages[slot.turn].content
        following = skeleton.pieces[place + 1]
        shapes = (
            words,
            words.strip(),
            words.lstrip(),
            words.rstrip(),
            words.split("</think>")[-1].lstrip("\n"),
        )
        for shape in dict.fromkeys(shapes):
            end = at + len(shape)
            fits = text.startswith(shape, at) and text.startswith(following, end)
            if fits and (place < last or end + len(following) == len(text)):
                break
        else:
            return None
        if messages[slot.turn].role == "assistant":
            spans.append(Span(slot.turn, at - slot.lead, end, end + slot.tail, slot.end_token))
        at = end + len(following)
    return spans


def _by_prefix(text: str, messages: Sequence[Message], source: str, tokenizer: Any) -> list[Span]:
    """Spans from what each answer adds to the text of the turns before it. Raises NoSpan."""
    ends, spans = end_tokens(tokenizer), []
    for place, turn in enumerate(messages):
        if turn.role != "assistant" or not turn.learn:
            continue
        try:
            prompt = render(messages[:place], source, tokenizer, generation=True)
            so_far = render(messages[: place + 1], source, tokenizer)
        except DoesNotRender as problem:
            raise NoSpan(problem.why) from None
        if not (text.startswith(prompt) and text.startswith(so_far)):
            raise NoSpan(f"the template writes answer {place + 1} differently once others follow")
        added = text[len(prompt) : len(so_far)].rstrip()
        end_token = next((token for token in ends if added.endswith(token)), None)
        words = added.removesuffix(end_token or "")
        if _bare(words) != _bare(turn.content):
            raise NoSpan(f"the template changes the words of answer {place + 1}")
        start = len(prompt)
        spans.append(Span(place, start, start + len(words), start + len(added), end_token))
    return spans


def _bare(text: str) -> str:
    return "".join(text.split())
