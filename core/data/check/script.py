"""Which script a text is written in. Languages that share one (English, Spanish) are not told apart."""

import re
import unicodedata
from collections import Counter
from functools import lru_cache

LOOKED_AT = 400
"""Letters of a text that are looked at."""
LETTERS, SHARE = 4, 0.5
"""A text of fewer letters, or without a script that has half of them, has none."""
SAME = {name: "Chinese or Japanese" for name in ("CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC", "HALFWIDTH")}
SAME |= {"FULLWIDTH": "Latin"}
PLAIN_LETTERS = re.compile(rf"[A-Za-z](?:[^A-Za-z]*[A-Za-z]){{{LETTERS - 1}}}")


def script_of(text: str) -> str | None:
    """Latin, Cyrillic, Arabic …; None: no letters to tell by, or several scripts side by side."""
    if text.isascii():
        return "Latin" if PLAIN_LETTERS.search(text) else None
    letters = [letter for letter in text[: 2 * LOOKED_AT] if letter.isalpha()][:LOOKED_AT]
    if not letters:
        return None
    name, often = Counter(map(_script, letters)).most_common(1)[0]
    # one sign of Chinese or Korean says as much as several letters
    enough = 1 if ord(letters[0]) > 0x2E80 else LETTERS
    return name if name and often >= max(enough, SHARE * len(letters)) else None


@lru_cache(maxsize=1 << 16)
def _script(letter: str) -> str:
    """By its name in Unicode, which begins with the script: LATIN SMALL LETTER A."""
    name = unicodedata.name(letter, "")
    first = name.partition(" ")[0]
    if first in SAME or first.startswith("CJK"):
        return SAME.get(first, "Chinese or Japanese")
    known = any(kind in name for kind in (" LETTER", " SYLLABLE", " VOWEL", " SIGN")) and first != "MODIFIER"
    return first.title() if known else ""
