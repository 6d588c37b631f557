"""One row as the model will see it: its tokens, which of them are learned, special or cut, and its pack."""

from functools import lru_cache
from typing import Any

from core.data.chat_template.mask import Rendered
from core.data.making import Made

MOST_TOKENS = 8_000  # a row of two megabytes would be half a million


def example(made: Made, length: int | None, tokenizer: Any) -> dict[str, Any]:
    """`text` is what the listed tokens spell; `cut` counts tokens that are not trained on, listed with
    `cut` true; `hidden` counts those that are not listed. `pieces`: where each piece of a split row begins.

    A preference has its other answer in `rejected`, with the same keys.
    """
    fate, shown = made.fitted.fate, made.shown
    told: dict[str, Any] = {
        "row": made.one.row,
        "source": made.one.source,
        "weight": made.one.weight,
        "fate": fate,
        **_listed(shown, made, length, tokenizer),
        "pieces": list(range(0, len(shown.ids), length)) if fate == "split" and length else [0],
        "pack": None,
    }
    if shown.other:
        told["rejected"] = _listed(shown.other, made, length, tokenizer)
    if made.one.label is not None:
        told["label"] = made.one.label
    return told


def _listed(shown: Rendered, made: Made, length: int | None, tokenizer: Any) -> dict[str, Any]:
    special = special_ids(tokenizer)
    left_out = _left_out(shown, made, length)
    tokens, at = [], 0
    for place in range(min(len(shown.ids), MOST_TOKENS)):
        # tokens that share a character (bytes of one emoji): the first shows it, the others show nothing
        end = max(at, shown.offsets[place][1])
        tokens.append(
            {
                "id": shown.ids[place],
                "text": shown.text[at:end],
                "learned": bool(shown.learned[place]),
                "special": shown.ids[place] in special,
                "cut": left_out[place],
            }
        )
        at = end
    return {
        "text": shown.text[:at],
        "tokens": tokens,
        "cut": sum(left_out),
        "hidden": len(shown.ids) - len(tokens),
    }


def _left_out(shown: Rendered, made: Made, length: int | None) -> list[bool]:
    """Of each token whether it is in none of the row's pieces."""
    count, fate = len(shown.ids), made.fitted.fate
    if fate in ("dropped", "nothing"):
        return [True] * count
    if fate == "cut" and length:
        return [place >= length for place in range(count)]
    if fate == "split" and length:
        gone = [1 not in shown.learned[at + 1 : at + length] for at in range(0, count, length)]
        return [gone[place // length] for place in range(count)]
    return [False] * count


@lru_cache(maxsize=16)
def special_ids(tokenizer: Any) -> frozenset[int]:
    """Tokens that no text of a user spells: marks of turns, the beginning and the end."""
    added = {number for number, one in tokenizer.added_tokens_decoder.items() if one.special}
    return frozenset(added) | frozenset(tokenizer.all_special_ids)
