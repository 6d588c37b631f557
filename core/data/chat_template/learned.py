"""Which parts of a rendered conversation are learned, by what the user chose."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.data.chat_template.rendering import render
from core.data.chat_template.skeleton import NoSpan
from core.data.chat_template.spans import Found, Span, find_spans
from core.data.conversation import Message
from core.spec import Learn


@dataclass(frozen=True)
class Part:
    """A learned part of the text, from `start` up to `end`."""

    start: int
    end: int


@dataclass(frozen=True)
class Written:
    """A row as text, with where its learned parts stand; None: everything is learned."""

    text: str
    parts: tuple[Part, ...] | None
    borders: tuple[int, ...]
    """Where no token may reach across, in order."""
    ends: bool
    """Whether the last learned answer has its end token with it."""
    unthought: bool = False
    folded: bool = False
    numbered: bool = False
    prompt_end: int | None = None
    """Of a judged row: where the prompt ends."""


def write(
    messages: Sequence[Message],
    tools: tuple[str, ...],
    source: str,
    tokenizer: Any,
    learn: Learn,
    prompt: int = 0,
) -> Written:
    """The row as text. `prompt`: of a judged row, how many messages come before what is judged.

    Raises DoesNotRender, NoSpan, LeavesOut.
    """
    try:
        found = find_spans(messages, source, tokenizer, tools)
    except NoSpan:
        if learn != "all" or prompt:
            raise
        # all of it is learned, wherever the answers stand
        return Written(render(messages, source, tokenizer, tools=tools), None, (), True)
    unthought = bool(found.unthought)
    answers = [span for span in found.spans if messages[span.turn].learn and span.turn >= prompt]
    if prompt:
        if not found.spans or not any(span.turn == prompt for span in found.spans):
            raise NoSpan(f"message {prompt + 1}, which is judged, is not an answer")
        start = next(span.start for span in found.spans if span.turn == prompt)
        parts = tuple(Part(span.start, span.end) for span in answers)
        return Written(found.text, parts, _borders(answers), _ends(answers), unthought, prompt_end=start)
    if learn == "all":
        # the borders stand as in chat, so that the same answer is the same tokens whatever is learned
        return Written(found.text, None, _borders(found.spans), _ends(found.spans), unthought)
    if learn == "last":
        answers = answers[-1:]
    parts = (
        _from_the_first(messages, found, answers)
        if learn == "completion"
        else tuple(Part(span.start, span.end) for span in answers)
    )
    return Written(found.text, parts, _borders(answers), _ends(answers), unthought)


def pair(written: list[Written]) -> list[Written]:
    """Two endings of one prompt, with one place where the prompt ends. Raises NoSpan."""
    if any(one.prompt_end is None for one in written):
        return written
    end = min(one.prompt_end or 0 for one in written)
    if len({one.text[:end] for one in written}) > 1:
        raise NoSpan("the template writes the prompt differently before the two answers")
    return [replace(one, prompt_end=end, borders=tuple(sorted({end, *one.borders}))) for one in written]


def _from_the_first(messages: Sequence[Message], found: Found, answers: list[Span]) -> tuple[Part, ...]:
    """From the first answer to the end of the last turn, without answers that are only context."""
    if not answers:
        return ()
    last = found.spans[-1]
    end = last.end if last.turn == len(messages) - 1 else len(found.text)
    parts, at = [], answers[0].start
    for span in found.spans:
        if span.start >= at and not messages[span.turn].learn:
            parts.append(Part(at, span.start))
            at = span.end
    return tuple(part for part in (*parts, Part(at, end)) if part.end > part.start)


def _borders(spans: Sequence[Span]) -> tuple[int, ...]:
    """An end token is one token: nothing reaches into it."""
    places = {span.start for span in spans} | {span.end for span in spans if not span.end_token}
    return tuple(sorted(places))


def _ends(spans: Sequence[Span]) -> bool:
    return bool(spans) and spans[-1].end_token is not None
