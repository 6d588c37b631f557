"""Text that was broken on its way into the file: wrong decoding, lost and unseen characters, line ends.

Each `find_…` gives what a finding says of it, or None; each `mend_…` changes that and nothing else.
"""

import re

SECOND = {bytes([byte]).decode("latin-1"): byte for byte in range(0x80, 0x100)}
for _byte in range(0x80, 0xA0):
    if _said := bytes([_byte]).decode("cp1252", errors="ignore"):
        SECOND[_said] = _byte
"""What each byte from 0x80 on was read as, by latin-1 or by Windows-1252."""

_TAIL = "[" + "".join(re.escape(said) for said, byte in SECOND.items() if byte < 0xC0) + "]"
# UTF-8 that was read by the byte, of the scripts that are in use; or one byte of Windows-1252 alone
BROKEN = re.compile(f"(?:[Â-ÆÎ-Ñ×-Û]{_TAIL}|[à-ï]{_TAIL}{{2}}|[ð-ô]{_TAIL}{{3}})+|[\x80-\x9f]")
SURE = "ÂÃâð"
"""First letters of broken accents, quotes and emoji. Others (É and a hard blank, say) also meet by chance, so
of them two must stand side by side."""
QUOTES = "‚„…‘’“”–—›»«\xa0"

HALF = re.compile("[\ud800-\udfff]")
LOST = "\ufffd"
BOM = "\ufeff"
UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u00ad\u200b\u2060\u202a-\u202e\u2066-\u2069]")
UNSEEN_ANYWHERE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
SCRIPTS_THAT_USE_THEM = re.compile("[\u0590-\u08ff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
"""Hebrew and Arabic set marks of direction, Thai, Lao, Burmese and Khmer breaks between words."""
LINE_END = re.compile("\r\n?")


def _turned_back(found: re.Match[str]) -> str:
    """What it was before the wrong decoding; itself where that cannot be told for sure."""
    run = found.group()
    if len(run) == 1:
        return run.encode("latin-1").decode("cp1252", errors="ignore") or run
    try:
        was = bytes(SECOND[letter] for letter in run).decode("utf-8")
    except UnicodeDecodeError:
        return run
    if len(was) > 1:
        return was
    if run[0] not in SURE or (run[0] == "â" and run[1] == "\xa0"):
        return run
    before, after = found.string[: found.start()][-1:], found.string[found.end() :][:1]
    # the end of a word in capitals (AMANHÃ”) looks the same
    return run if before.isupper() and run[1] in QUOTES and not after.isalpha() else was


def find_mojibake(text: str) -> str | None:
    if text.isascii():
        return None
    for found in BROKEN.finditer(text):
        if (was := _turned_back(found)) != found.group():
            seen = found.group()[:12]
            return f"{seen} for {was[:12]}" if seen.isprintable() else f"that of {was[:12]}"
    return None


def mend_mojibake(text: str) -> str:
    """Turns back what was decoded wrongly, once or several times."""
    mended = BROKEN.sub(_turned_back, text)
    while mended != text and (again := BROKEN.sub(_turned_back_again, mended)) != mended:
        text, mended = mended, again
    return mended


def _turned_back_again(found: re.Match[str]) -> str:
    """What has been turned back once is broken still only where that is sure."""
    return _turned_back(found) if found.group()[0] in SURE else found.group()


def find_half(text: str) -> str | None:
    return "half a character" if not text.isascii() and HALF.search(text) else None


def mend_half(text: str) -> str:
    return HALF.sub("", text)


def find_lost(text: str) -> str | None:
    return "the sign for an unreadable character (U+FFFD)" if LOST in text else None


def find_bom(text: str) -> str | None:
    return "a byte-order mark" if BOM in text else None


def mend_bom(text: str) -> str:
    return text.replace(BOM, "")


def find_crlf(text: str) -> str | None:
    return "a carriage return" if "\r" in text else None


def mend_crlf(text: str) -> str:
    return LINE_END.sub("\n", text)


def find_control(text: str) -> str | None:
    # most texts are printable but for line ends and tabs, which is far quicker to know
    if text.replace("\n", "").replace("\t", "").isprintable():
        return None
    found = _unseen(text).search(text)
    return f"U+{ord(found.group()):04X}" if found else None


def mend_control(text: str) -> str:
    return _unseen(text).sub("", text)


def _unseen(text: str) -> re.Pattern[str]:
    return UNSEEN_ANYWHERE if SCRIPTS_THAT_USE_THEM.search(text) else UNSEEN
