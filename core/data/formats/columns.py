"""Which column of a row is what, by the names that people give to them."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from core.data.sources.source import Row

# Names that people give to a role, the usual one first; compared as `plain` makes them.
NAMES: dict[str, tuple[str, ...]] = {
    "messages": ("messages", "conversations", "conversation", "dialog", "dialogue", "chat", "turns"),
    "prompt": ("prompt", "instruction", "question", "query", "user", "human", "problem", "input"),
    "completion": (
        *("completion", "output", "response", "answer", "assistant", "gpt", "target", "solution", "reply"),
    ),
    "input": ("input", "context"),
    "system": ("system", "systemprompt", "systemmessage"),
    "history": ("history",),
    "tools": ("tools", "functions", "availabletools"),
    "text": ("text", "content", "document", "story"),
    "label": ("label", "ktotag", "ktolabel", "desirable", "thumbsup"),
    "weight": ("weight", "sampleweight", "rowweight", "lossweight"),
    "chosen": (
        *("chosen", "chosenmessages", "chosenresponse", "responsechosen", "chosenanswer"),
        *("responsej", "preferred"),
    ),
    "rejected": (
        *("rejected", "rejectedmessages", "rejectedresponse", "responserejected", "rejectedanswer"),
        *("responsek", "dispreferred"),
    ),
}

# What stands beside question and answer and is neither.
ASIDE = frozenset({
    "id", "idx", "index", "uid", "uuid", "key", "number", "row", "topic", "topics", "category",
    "categories", "type", "kind", "task", "subject", "source", "origin", "dataset", "domain", "lang",
    "language", "locale", "split", "date", "time", "timestamp", "created", "url", "link", "title", "author",
    "user", "username", "model", "license", "difficulty", "level", "score", "rating", "tag", "tags",
    "label", "labels", "class", "name", "file", "filename", "path", "hash", "quality",
})  # fmt: skip
# Names by which the second column of a pair goes, whatever the first is called.
ANSWERS = frozenset({
    "summary", "summaries", "highlights", "headline", "abstract", "target", "tgt", "translation",
    "translated", "simplified", "corrected", "rewritten", "rewrite", "paraphrase", "sql", "code", "caption",
    "label", "reply", "result", "results", "completion", "output", "response", "answer",
})  # fmt: skip

NAME_LENGTH = 60
"""A longer name is the first row of a table without a header."""
USUAL = {"completion", "output", "response", "answer"}
HOW_TO_MAP = "say which column is what, as in --column prompt=NAME --column completion=NAME"


def plain(name: str) -> str:
    """A column's name without case, blanks, dashes and underscores."""
    return re.sub(r"[\s_\-]", "", name.lower())


def named(row: Iterable[str]) -> dict[str, str]:
    """plain name -> column; of two that are alike the first counts."""
    known: dict[str, str] = {}
    for column in row:
        known.setdefault(plain(column), column)
    return known


def by_name(role: str, known: dict[str, str], taken: Sequence[str | None] = ()) -> str | None:
    """The column of a role, or None; columns in `taken` are something else already."""
    return next((known[name] for name in NAMES[role] if name in known and known[name] not in taken), None)


def listed(columns: Iterable[str]) -> str:
    """The first six columns in few words."""
    every = list(columns)
    names = [repr(key) if " " in key or not key else key for key in every[:6]]
    return ", ".join(names) + (", …" if len(every) > 6 else "")


def guess_pair(row: Row, answer: str | None = None, asked: Sequence[str] = ()) -> tuple[str, str] | None:
    """Prompt and answer among columns whose names say neither; None: there are not two columns of text.

    `answer`: known already. `asked`: columns that a prompt is made from; the first of them is given back.
    """
    texts = [key for key, value in row.items() if isinstance(value, str) and len(key) <= NAME_LENGTH]
    if asked:
        rest = _telling([key for key in texts if key not in asked])
        return (asked[0], answer or rest[0]) if answer or len(rest) == 1 else None
    others = [key for key in texts if key != answer]
    if answer:
        rest = others if len(others) == 1 else _telling(others)
        return (rest[0], answer) if len(rest) == 1 else None
    pair = others if len(others) == 2 else _telling(others)
    if len(pair) != 2:
        return None
    first, second = pair
    return (second, first) if plain(first) in ANSWERS and plain(second) not in ANSWERS else (first, second)


def _telling(columns: list[str]) -> list[str]:
    return [key for key in columns if plain(key) not in ASIDE and not plain(key).endswith("id")]


VERDICTS = {
    **dict.fromkeys(("true", "1", "good", "desirable", "chosen", "yes"), True),
    **dict.fromkeys(("false", "0", "bad", "undesirable", "rejected", "no"), False),
}


def verdict(value: Any) -> bool | None:
    """Good or bad as a label says it: true and false, 1 and 0, or such words; None: it says neither."""
    if isinstance(value, float) and value in (0.0, 1.0):
        return bool(value)
    return VERDICTS.get(str(value).strip().lower()) if isinstance(value, bool | int | str) else None
