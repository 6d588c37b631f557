"""JSON values one after another from a file of any size: a window moves over it and forgets what it left."""

import codecs
import json
from typing import Any

from core.data.sources.json_lines import said
from core.data.sources.lines import LONGEST, encoding, not_text
from core.data.sources.packed import DataFile
from core.errors import UserError

STEP = 1 << 16
BLANK = " \t\r\n"
TAIL = 16
"""Characters at the window's end where a mistake may only be a value that is not whole yet."""


class Window:
    """Text of `stream` from a byte that begins a row; `text[at:]` is what is not read yet."""

    def __init__(self, file: DataFile, stream: Any, offset: int = 0, line: int = 1):
        self.file, self._stream = file, stream
        head = stream.read(4)
        stream.seek(offset)
        self.wide = encoding(head) != "utf-8"
        if not offset and head.startswith(codecs.BOM_UTF8):
            offset = len(stream.read(len(codecs.BOM_UTF8)))
        self._decoder = codecs.getincrementaldecoder("utf-16" if self.wide else "utf-8")()
        self._json = json.JSONDecoder()
        self.text, self.at, self.whole = "", 0, False
        self._offset, self._line = offset, line
        file.unread = lambda: len(self.text) - self.at

    def more(self) -> bool:
        """Forget what was read and add as much again as is left; False at the file's end."""
        if self.whole:
            return False
        if not self.wide:
            self._offset += len(self.text[: self.at].encode())
        self._line += self.text.count("\n", 0, self.at)
        left = self.text[self.at :]
        raw = self._stream.read(max(STEP, len(left)))
        self.whole = not raw
        try:
            self.text, self.at = left + self._decoder.decode(raw, final=self.whole), 0
        except UnicodeDecodeError as error:
            # what was decoded before the broken byte is counted within the error's own bytes
            raise not_text(self.file, self._line + left.count("\n"), error) from None
        return True

    def peek(self) -> str:
        """The next character that is not blank, "" at the file's end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in BLANK:
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def take(self, most: int = LONGEST) -> Any:
        """The next value. UserError: it is not JSON. OverflowError: it is longer than `most` characters."""
        while True:
            try:
                value, end = self._json.raw_decode(self.text, self.at)
                if end < len(self.text) or self.whole:
                    self.at = end
                    return value
            except (ValueError, RecursionError) as error:
                if self.whole or not self._may_go_on(error):
                    raise self.broken(error) from None
            if len(self.text) - self.at > most:
                raise OverflowError(most)
            self.more()

    def _may_go_on(self, error: Exception) -> bool:
        if not isinstance(error, json.JSONDecodeError):
            return False
        return error.msg.startswith("Unterminated string") or error.pos >= len(self.text) - TAIL

    def skip(self, character: str) -> None:
        """Pass over a character that must come next."""
        if self.peek() != character:
            raise self.broken(json.JSONDecodeError(f"Expecting {character!r}", self.text, self.at))
        self.at += 1

    def broken(self, error: Exception) -> UserError:
        pos = error.pos if isinstance(error, json.JSONDecodeError) else self.at
        line = self._line + self.text.count("\n", 0, pos)
        why = said(error, pos - self.text.rfind("\n", 0, pos))
        return UserError(f"{self.file.name} line {line} is not JSON", why, "mend the file there")

    def too_long(self) -> UserError:
        _, line = self.place()
        return UserError(
            f"{self.file.name} line {line:,} begins a value longer than {LONGEST >> 20} MiB",
            "a row of that size cannot be learned from",
            "write a list of rows, or one row a line",
        )

    def place(self) -> tuple[int, int]:
        """The byte and the line at which the window stands; the byte is -1 where it cannot be known."""
        line = self._line + self.text.count("\n", 0, self.at)
        return (-1 if self.wide else self._offset + len(self.text[: self.at].encode())), line
