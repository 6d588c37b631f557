"""Marks that belong to templates and tokenizers, but stand in the rows as text."""

import re
from collections.abc import Callable, Sequence

CHAT_MARK = re.compile(r"<\|[A-Za-z][\w/-]{0,30}\|>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>")
CHAT_ANCHORS = ("<|", "INST]", "SYS>>", "_of_turn>")
PLACEHOLDER = re.compile(r"\{\{ ?\w+ ?\}\}")
CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)

Find = Callable[[str], str | None]
Mend = Callable[[str], str]


def special_tokens(special: Sequence[str]) -> tuple[Find, Mend]:
    """How to find and take out these tokens. Blanks and single characters are text like any other."""
    tokens = sorted({token for token in special if len(token.strip()) > 1}, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, tokens)) or "(?!)")
    anchors = {token[:2] for token in tokens}

    def find(text: str) -> str | None:
        if not any(anchor in text for anchor in anchors):
            return None
        found = pattern.search(text)
        return found.group() if found else None

    return find, lambda text: taken_out(pattern, text)


def chat_marks(special: Sequence[str]) -> tuple[Find, Mend]:
    """How to find and take out marks of any model's template, but for those of the tokenizer itself."""
    own = frozenset(special)

    def find(text: str) -> str | None:
        if not any(anchor in text for anchor in CHAT_ANCHORS):
            return None
        return next((found for found in CHAT_MARK.findall(text) if found not in own), None)

    def keep_own(found: re.Match[str]) -> str:
        return found.group() if found.group() in own else ""

    return find, lambda text: taken_out(CHAT_MARK, text, keep_own)


def taken_out(pattern: re.Pattern[str], text: str, by: "str | Callable[[re.Match[str]], str]" = "") -> str:
    """Without the marks, also those that come about as the words around one close up."""
    while (shorter := pattern.sub(by, text)) != text:
        text = shorter
    return text


def find_placeholder(answer: str) -> str | None:
    """A {{name}} that nobody filled. In a block of code it is part of the program."""
    if "{{" not in answer:
        return None
    found = PLACEHOLDER.search(CODE.sub("", answer) if "```" in answer else answer)
    return found.group() if found else None
