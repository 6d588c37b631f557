"""Finds where the assistant's words stand in a rendered conversation, for any template.

The real text is walked along the template's skeleton. A template that shapes its text by the words
(moving a <think> part, say) leaves the skeleton; there the skeleton of this very row is tried, then the
text is compared with that of the turns before, and if this fails too, the row is refused.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.data.chat_template.endings import end_tokens
from core.data.chat_template.marks import form_of, text_of
from core.data.chat_template.rendering import DoesNotRender, render
from core.data.chat_template.skeleton import LeavesOut, NoSpan, Skeleton, of_forms, of_row
from core.data.conversation import Message


@dataclass(frozen=True)
class Span:
    """One turn of the assistant as character offsets into the rendered text.

    `start`: where the model begins to write, which is where the generation prompt ends. `end`: the end
    of what is learned, with the end token where there is one.
    """

    turn: int
    start: int
    end: int
    end_token: str | None


@dataclass(frozen=True)
class Found:
    """A rendered conversation and every turn of the assistant in it."""

    text: str
    spans: list[Span]
    unthought: tuple[int, ...] = ()
    """Turns whose thoughts the template leaves out."""


THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)


def find_spans(
    messages: Sequence[Message], source: str, tokenizer: Any, tools: tuple[str, ...] = ()
) -> Found:
    """The rendered text, and a span for each turn of the assistant.

    Raises DoesNotRender, NoSpan, LeavesOut.
    """
    text = render(messages, source, tokenizer, tools=tools)
    skeleton = of_forms(tuple(map(form_of, messages)), tools, source, tokenizer)
    spans = _walk(text, messages, skeleton)
    if spans is None:
        return _other_ways(text, messages, source, tokenizer, tools)
    return Found(text, spans, (*skeleton.unthought, *_unthought(text, messages, spans)))


def _unthought(text: str, messages: Sequence[Message], spans: list[Span]) -> list[int]:
    """Turns whose thought stands among their words, and not in the text."""
    apart = [(span, THOUGHT.match(messages[span.turn].content)) for span in spans]
    return [span.turn for span, held in apart if held and held[1] not in text[span.start : span.end]]


def _other_ways(
    text: str, messages: Sequence[Message], source: str, tokenizer: Any, tools: tuple[str, ...]
) -> Found:
    """For a template that asks what the words are, beyond which turn says them."""
    apart = [_think_apart(turn) for turn in messages]
    for tried in [messages] if apart == list(messages) else [apart, messages]:
        try:
            for skeleton in (
                of_forms(tuple(map(form_of, tried)), tools, source, tokenizer),
                of_row(tried, tools, source, tokenizer),
            ):
                spans = _walk(text, tried, skeleton)
                if spans is not None:
                    return Found(text, spans, skeleton.unthought)
        except (DoesNotRender, NoSpan):
            continue
    return Found(text, _by_prefix(text, messages, source, tokenizer, tools))


def _think_apart(turn: Message) -> Message:
    """An answer with its thought inside, as one with the thought beside it: some templates take it apart."""
    inside = THOUGHT.match(turn.content) if turn.role == "assistant" and turn.thought is None else None
    if not inside:
        return turn
    return replace(turn, thought=inside[1], content=turn.content[inside.end() :])


def _walk(text: str, messages: Sequence[Message], skeleton: Skeleton) -> list[Span] | None:
    """The spans, if the text is the skeleton with the messages' words in it; None if it is not."""
    if not text.startswith(skeleton.pieces[0]):
        return None
    return _walk_from(0, len(skeleton.pieces[0]), None, text, messages, skeleton)


def _walk_from(
    first: int, at: int, start: int | None, text: str, messages: Sequence[Message], skeleton: Skeleton
) -> list[Span] | None:
    """From slot `first`, at `at` in the text; `start` is where the turn under way began."""
    spans: list[Span] = []
    last = len(skeleton.slots) - 1
    for place in range(first, last + 1):
        slot, following = skeleton.slots[place], skeleton.pieces[place + 1]
        if slot.opens:
            start = at - slot.lead
        if slot.field.kind == "argument":
            rest = _past_calls(place, at, start or at, text, messages, skeleton)
            return None if rest is None else spans + rest
        for shape in _shapes(text_of(slot.field, messages), slot.field.kind, messages[slot.turn].role):
            end = at + len(shape)
            fits = text.startswith(shape, at) and text.startswith(following, end)
            if fits and (place < last or end + len(following) == len(text)):
                break
        else:
            return None
        if slot.closes:
            spans.append(Span(slot.turn, end if start is None else start, end + slot.tail, slot.end_token))
        at = end + len(following)
    return spans


def _past_calls(
    place: int, at: int, start: int, text: str, messages: Sequence[Message], skeleton: Skeleton
) -> list[Span] | None:
    """The rest of a walk from where a turn's calls stand: how long they are shows by what comes after."""
    slot, following = skeleton.slots[place], skeleton.pieces[place + 1]
    end = text.find(following, at)
    while end >= 0:
        span = Span(slot.turn, start, end + slot.tail, slot.end_token)
        if place == len(skeleton.slots) - 1:
            rest: list[Span] | None = [] if end + len(following) == len(text) else None
        else:
            rest = _walk_from(place + 1, end + len(following), None, text, messages, skeleton)
        if rest is not None and holds_calls(text[start:end], messages[slot.turn]):
            return [span, *rest]
        end = text.find(following, end + 1)
    return None


def _shapes(words: str, kind: str, role: str) -> dict[str, None]:
    """The words as templates may write them, the likeliest first."""
    shapes = [words, words.strip(), words.lstrip(), words.rstrip(), words.strip("\n")]
    if kind == "words" and role == "assistant" and "</think>" in words:
        answer = words.split("</think>")[-1]
        shapes += [answer.lstrip("\n"), answer.strip(), answer]
    elif role != "assistant":
        shapes += [json.dumps(words, ensure_ascii=False)[1:-1], json.dumps(words)[1:-1]]
    return dict.fromkeys(shapes)


def holds_calls(region: str, turn: Message) -> bool:
    """Whether a text holds the turn's words and each of its calls: its name, and every value given to it."""
    there = _bare(region)
    if _bare(turn.content) not in there:
        return False
    for call in turn.calls:
        if call.name not in region:
            return False
        if not all(
            any(_bare(form) in there for form in forms) for forms in _values(json.loads(call.arguments))
        ):
            return False
    return True


def _values(arguments: Any) -> list[list[str]]:
    """Each name and plain value within a call's arguments, in the ways in which a template may write it."""
    if isinstance(arguments, dict):
        keys = [[key, json.dumps(key)[1:-1]] for key in arguments]
        return keys + [form for value in arguments.values() for form in _values(value)]
    if isinstance(arguments, list):
        return [form for value in arguments for form in _values(value)]
    if isinstance(arguments, str):
        return [[arguments, json.dumps(arguments, ensure_ascii=False)[1:-1], json.dumps(arguments)[1:-1]]]
    return [[json.dumps(arguments), str(arguments)]]


def _by_prefix(
    text: str, messages: Sequence[Message], source: str, tokenizer: Any, tools: tuple[str, ...]
) -> list[Span]:
    """Spans from what each answer adds to the text of the turns before it. Raises NoSpan."""
    ends, spans = end_tokens(tokenizer), []
    for place, turn in enumerate(messages):
        if turn.role != "assistant" or not turn.learn:
            continue
        try:
            prompt = render(messages[:place], source, tokenizer, tools=tools, generation=True)
            so_far = render(messages[: place + 1], source, tokenizer, tools=tools)
        except DoesNotRender as problem:
            raise NoSpan(problem.why) from None
        if not (text.startswith(prompt) and text.startswith(so_far)):
            raise NoSpan(f"the template writes answer {place + 1} differently once others follow")
        added = text[len(prompt) : len(so_far)].rstrip()
        end_token = next((token for token in ends if added.endswith(token)), None)
        words = added.removesuffix(end_token or "")
        if turn.calls and not holds_calls(words, turn):
            raise LeavesOut(f"the template does not write all of the tool calls of message {place + 1}")
        if not _says(words, turn):
            raise NoSpan(f"the template changes the words of answer {place + 1}")
        spans.append(Span(place, len(prompt), len(prompt) + len(added), end_token))
    return spans


def _says(written: str, turn: Message) -> bool:
    """Whether the text is what the turn says, but for blanks, and holds its thought if it has one."""
    if turn.calls:
        return True
    if turn.thought is None:
        return _bare(written) == _bare(turn.content)
    before = _bare(written).removesuffix(_bare(turn.content))
    return before != _bare(written) and _bare(turn.thought) in before


def _bare(text: str) -> str:
    return "".join(text.split())
