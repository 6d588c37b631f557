"""Text out of tokens as they come: whole characters only, and never a part of a stop text."""

from __future__ import annotations

from collections.abc import Callable

BROKEN = "\ufffd"
LONGEST_CHARACTER = 4  # tokens: UTF-8 needs at most four bytes, a token holds at least one


class Pieces:
    """Turns token ids into pieces of text that join to the decoding of all of them.

    A token may hold a part of a character, and what a token reads as may depend on the one before.
    So a short window is decoded twice, with and without what is new, and the difference is the piece.
    """

    def __init__(self, decode: Callable[[list[int]], str]):
        self._decode = decode
        self._ids: list[int] = []
        self._window = 0  # where the window starts
        self._said = 0  # ids[:said] were given out

    def add(self, token: int) -> str:
        """The text that is certain now; "" while a character is incomplete."""
        self._ids.append(token)
        piece = self._rest()
        if piece.endswith(BROKEN) and len(self._ids) - self._said < LONGEST_CHARACTER:
            return ""
        self._window, self._said = self._said, len(self._ids)
        return piece

    def rest(self) -> str:
        """What was held back, at the end."""
        piece = self._rest()
        self._window = self._said = len(self._ids)
        return piece

    def _rest(self) -> str:
        before = self._decode(self._ids[self._window : self._said])
        return self._decode(self._ids[self._window :])[len(before) :]


class Stops:
    """Passes text on until a stop text appears; what could be the start of one is held back."""

    def __init__(self, stops: list[str]):
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.found = False

    def add(self, text: str) -> str:
        """The text that may be shown. After a stop text was found, nothing more."""
        if self.found:
            return ""
        self._held += text
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if places:
            self.found = True
            shown, self._held = self._held[: min(places)], ""
            return shown
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        shown = self._held[: len(self._held) - keep]
        self._held = self._held[len(shown) :]
        return shown

    def rest(self) -> str:
        """What was held back for a stop text that never came."""
        held, self._held = self._held, ""
        return "" if self.found else held


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that begins `stop`."""
    return next(
        (size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0
    )
