"""Rows seen before, word for word, by eight bytes of each."""

import hashlib
from array import array

from core.data.conversation import Conversation, Message

MOST = 2_000_000
"""Rows that are remembered, in 64 MiB. Of more, a sample: every second, fourth … by its key."""
HALF = 32


def key_of(one: Conversation) -> int:
    """64 bits of all that the row says, the same on every machine. Its weight and number do not count."""
    if one.text is not None:
        said = one.text
    elif one.tools or one.rejected or one.label is not None or any(_more(turn) for turn in one.messages):
        said = repr((one.messages, one.tools, one.rejected, one.label))
    else:
        said = "\x1f".join([f"{turn.role}\x1e{turn.content}" for turn in one.messages])
    return hashed(said)


def _more(turn: Message) -> bool:
    return bool(turn.calls or turn.thought or not turn.learn)


def hashed(text: str) -> int:
    """64 bits, never 0."""
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


class Seen:
    """A set of keys with a name each, by open addressing in two flat arrays."""

    def __init__(self, most: int = MOST) -> None:
        self.most, self.every = most, 1
        self._room(1 << 12)

    def add(self, key: int, name: int) -> int | None:
        """The name under which the key is known; None: it is new and known from now on (if in the sample)."""
        if (key >> HALF) % self.every:
            return None
        place = self._place(key)
        if self.keys[place]:
            return self.names[place]
        self.keys[place], self.names[place] = key, name
        self.count += 1
        if self.count > self.most:
            self.every *= 2
            self._again(len(self.keys))
        elif 2 * self.count > len(self.keys):
            self._again(2 * len(self.keys))
        return None

    def _place(self, key: int) -> int:
        place = key & self.mask
        while self.keys[place] and self.keys[place] != key:
            place = (place + 1) & self.mask
        return place

    def _room(self, size: int) -> None:
        self.mask, self.count = size - 1, 0
        self.keys, self.names = array("Q", bytes(8 * size)), array("Q", bytes(8 * size))

    def _again(self, size: int) -> None:
        """All that is in the sample, in a new table."""
        keys, names = self.keys, self.names
        self._room(size)
        for key, name in zip(keys, names, strict=True):
            if key and (key >> HALF) % self.every == 0:
                place = self._place(key)
                self.keys[place], self.names[place] = key, name
                self.count += 1
