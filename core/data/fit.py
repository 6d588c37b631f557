"""What becomes of a row at a length: it stays whole, is cut, dropped, or split into pieces."""

from dataclasses import dataclass
from typing import Literal

from core.data.chat_template.mask import Rendered
from core.data.conversation import Conversation

Fate = Literal["whole", "cut", "dropped", "split", "nothing"]
"""nothing: no token that could be learned is left of it."""
Long = Literal["cut", "drop", "split"]
Key = tuple[int, int]
"""What a row says, and what it asks, see `core.data.held_out.keys`."""


@dataclass(frozen=True)
class Piece:
    """One row of a run: `learned` (0 or 1) has an entry for each of `input_ids`, see `core.data.store`."""

    input_ids: list[int]
    learned: list[int]
    row: int
    source: int = 0
    weight: float = 1.0
    key: int = 0
    """64 bits, the same for rows that say the same."""
    asked: int = 0
    """64 bits, the same for rows that ask the same."""
    rejected_ids: list[int] | None = None
    rejected_learned: list[int] | None = None
    prompt: int | None = None
    label: bool | None = None


@dataclass(frozen=True)
class Fitted:
    """`lost`: pieces of a split row that had nothing to learn and are left out."""

    fate: Fate
    pieces: tuple[Piece, ...] = ()
    lost: int = 0


def fit(one: Conversation, shown: Rendered, key: Key, length: int | None, long: Long) -> Fitted:
    """The row at a length of so many tokens; None: as long as it is.

    Plain text is split rather than cut, since each part of it teaches as much as the first. Of a
    preference both answers are cut alike; a prompt and two answers cannot be split, so they are cut too.
    """
    other = shown.other
    longest = max(len(shown.ids), len(other.ids) if other else 0)
    stop = longest if length is None else length
    if longest <= stop:
        piece = _piece(one, shown, other, key, stop)
        return Fitted("whole", (piece,)) if piece else Fitted("nothing")
    if long == "drop":
        return Fitted("dropped")
    if other is None and (one.text is not None or long == "split"):
        return _split(one, shown, key, stop)
    piece = _piece(one, shown, other, key, stop)
    return Fitted("cut", (piece,)) if piece else Fitted("nothing")


def _piece(one: Conversation, shown: Rendered, other: Rendered | None, key: Key, stop: int) -> Piece | None:
    ids, learned = shown.ids[:stop], shown.learned[:stop]
    if 1 not in learned[1:]:  # the first token has nothing before it from which it could be told
        return None
    if other is None:
        prompt = shown.prompt_tokens if one.label is not None else None
        return Piece(ids, learned, one.row, one.source, one.weight, *key, None, None, prompt, one.label)
    other_ids, other_learned = other.ids[:stop], other.learned[:stop]
    if 1 not in other_learned[1:] or ids == other_ids:
        return None
    prompt = shown.prompt_tokens
    return Piece(ids, learned, one.row, one.source, one.weight, *key, other_ids, other_learned, prompt)


def _split(one: Conversation, shown: Rendered, key: Key, step: int) -> Fitted:
    """Consecutive pieces with the marks that they have in the whole row."""
    parts = [
        (shown.ids[at : at + step], shown.learned[at : at + step]) for at in range(0, len(shown.ids), step)
    ]
    kept = tuple(
        Piece(ids, learned, one.row, one.source, one.weight, *key, label=one.label)
        for ids, learned in parts
        if 1 in learned[1:]
    )
    return Fitted("split", kept, len(parts) - len(kept)) if kept else Fitted("nothing")
