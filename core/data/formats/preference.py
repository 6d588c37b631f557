"""Reads two answers to one prompt, the better and the worse, in the shapes that people store them in."""

import re
from collections.abc import Sequence
from typing import Any

from core.data.conversation import Message
from core.data.formats.tool_calls import Unreadable
from core.data.formats.turns import Note, dialect, from_json, read_text, read_turns

Turns = list[Message]

_SPOKEN = re.compile(r"(?:^|\n\n)(Human|User|Assistant|System):")
_WHO = {"Human": "user", "User": "user", "Assistant": "assistant", "System": "system"}


def is_whole(value: Any) -> bool:
    """Whether an answer holds its prompt too: a conversation from the question on, or a transcript."""
    if is_transcript(value):
        return True
    value = from_json(value)
    if not isinstance(value, list) or dialect(value) not in ("messages", "sharegpt"):
        return False
    try:
        return read_turns(value[:1], _unheard)[0].role in ("user", "system")
    except (Unreadable, IndexError):
        return False


def is_transcript(value: Any) -> bool:
    """Whether a text is a conversation written out, as in "Human: …", a blank line, "Assistant: …"."""
    if not isinstance(value, str):
        return False
    first = _SPOKEN.match(value) or _SPOKEN.match(value.lstrip())
    return bool(first and first.group(1) != "Assistant" and "\n\nAssistant:" in value)


def read_transcript(text: str) -> Turns:
    """The turns of a transcript, without the blanks around each; an empty last answer stays a turn."""
    pieces = _SPOKEN.split(text if text.startswith("\n\n") else text.lstrip())
    return [Message(_WHO[who], said.strip()) for who, said in zip(pieces[1::2], pieces[2::2], strict=True)]


def read_opening(value: Any, note: Note) -> Turns:
    """The prompt: text, a transcript up to "Assistant:", or turns."""
    if isinstance(value, list) or dialect(value):
        return read_turns(value, note)
    words = read_text(value, note)
    if not is_transcript(words):
        return [Message("user", words)]
    turns = read_transcript(words)
    return turns[:-1] if turns[-1].role == "assistant" and not turns[-1].content else turns


def read_pair(chosen: Any, rejected: Any, opening: Turns, note: Note) -> tuple[Turns, int, Turns]:
    """The messages with the chosen answer, how many of them are the prompt, and the rejected answer.

    `opening` is what stands before the answers in columns of their own; answers that hold their whole
    conversation need none. Unreadable: the row is left out.
    """
    good, bad = _ending(chosen, opening, note), _ending(rejected, opening, note)
    whole = [any(turn.role in ("user", "system") for turn in turns[:1]) for turns in (good, bad)]
    system = opening[:1] if opening and opening[0].role == "system" else []
    if any(whole):
        full = good if whole[0] else bad
        start = max(place for place, turn in enumerate(full) if turn.role in ("user", "system")) + 1
        good = good if whole[0] else [*full[:start], *good]
        bad = bad if whole[1] else [*full[:start], *bad]
        if system and good[0].role != "system" and bad[0].role != "system":
            good, bad = [*system, *good], [*system, *bad]
        shared = _shared(good, bad)
    else:
        if opening and opening[-1].role == "assistant" and opening[-1:] == good[:1]:
            opening = opening[:-1]  # the conversation was given with its chosen answer
        if not any(turn.role != "system" for turn in opening):
            raise Unreadable("no_prompt", "its answers stand alone")
        shared = len(opening)
        good, bad = [*opening, *good], [*opening, *bad]
    if good == bad:
        raise Unreadable("same_answers", "both answers are the same")
    for name, turns in (("chosen", good), ("rejected", bad)):
        if not any(says_something(turn) for turn in turns[shared:]):
            raise Unreadable("no_answer", f"the {name} answer is empty")
    return good, shared, bad[shared:]


def _ending(value: Any, opening: Sequence[Message], note: Note) -> Turns:
    value = from_json(value)
    if isinstance(value, dict):
        return read_turns([value], note)
    if isinstance(value, list) and dialect(value):
        return read_turns(value, note)
    if is_transcript(value):
        turns = read_transcript(value)
        asked = [turn for turn in opening if turn.role == "user"][:1]
        if not asked or asked[0] in turns:  # a text that only looks like a transcript is an answer
            return turns
    return [Message("assistant", read_text(value, note))]


def _shared(good: Turns, bad: Turns) -> int:
    """How many turns both begin with, one turn of each being left as its answer."""
    most = min(len(good), len(bad)) - 1
    return next((n for n in range(most) if good[n] != bad[n]), most)


def says_something(turn: Message) -> bool:
    """Whether an assistant's turn holds anything that can be learned."""
    return turn.role == "assistant" and turn.learn and bool(turn.content.strip() or turn.calls)


def _unheard(code: str, detail: str) -> None:
    """Takes a note where a row is only looked at."""
