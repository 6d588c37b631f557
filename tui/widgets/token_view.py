"""One example as the model sees it: every token, what is learned of it, and where it ends.

A learned token is underlined on a coloured ground and its line has a bar in the margin, so that it can
be told from a masked one without colour. Special tokens are bold.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

SPECIAL = re.compile(r"^\s*(<[^<>\s]+>|\[/?[A-Z_]+\])\s*$")
HEAD, TAIL = 3000, 1000
"""Tokens drawn of an example that is longer than both together."""

END_NOTE = " ◀ learned: the answer ends here"


@dataclass(frozen=True)
class Token:
    text: str
    learned: bool


def tokens_of(example: dict[str, Any] | None) -> tuple[Token, ...]:
    """The tokens of a data report's `example`; none when there is no example."""
    found = (example or {}).get("tokens") or ()
    return tuple(Token(str(one["text"]), bool(one["learned"])) for one in found)


def visible(text: str) -> str:
    """A token's text with what cannot be seen made visible; a line break stays, after its mark."""
    shown = []
    for char in text:
        if char == "\n":
            shown.append("↵\n")
        elif char == "\t":
            shown.append("→")
        elif char < " ":
            shown.append(chr(0x2400 + ord(char)))
        elif char == "\x7f":
            shown.append("\u2421")
        else:
            shown.append(char)
    return "".join(shown)


def is_special(text: str, end: str = "") -> bool:
    return bool(SPECIAL.match(text)) or (bool(end) and text.strip() == end.strip())


def token_lines(tokens: Sequence[Token], width: int, end: str = "") -> list[Content]:
    """The tokens wrapped to lines of at most `width` cells. `end`: the text of the end-of-turn token."""
    lines: list[list[tuple[str, str]]] = [[]]
    learned_on: list[bool] = [False]
    room = max(width - 2, 4)
    used = 0

    def put(piece: str, style: str, learned: bool) -> None:
        nonlocal used
        size = cell_len(piece)
        if used + size > room and used:
            lines.append([])
            learned_on.append(False)
            used = 0
        lines[-1].append((piece, style))
        learned_on[-1] = learned_on[-1] or learned
        used += size

    hidden = max(len(tokens) - HEAD - TAIL, 0)
    for index, token in enumerate(tokens):
        if hidden and HEAD <= index < len(tokens) - TAIL:
            if index == HEAD:
                put(f" … {hidden:,} tokens more … ", "$foreground 60% italic", False)
            continue
        style = _style(token, index, end)
        for part_index, part in enumerate(visible(token.text).split("\n")):
            if part_index:
                lines.append([])
                learned_on.append(False)
                used = 0
            for piece in _pieces(part, room):
                put(piece, style, token.learned)
        if token.learned and end and token.text.strip() == end.strip():
            put(END_NOTE, "$text-success bold", False)
    return [
        Content.assemble(("▌ " if learned else "  ", "$success"), *pieces)
        for pieces, learned in zip(lines, learned_on, strict=True)
    ]


def _style(token: Token, index: int, end: str) -> str:
    # neighbours differ a little, so that one sees where a token begins
    bold = "bold " if is_special(token.text, end) else ""
    if token.learned:
        return f"{bold}underline $text-success on $success {'30%' if index % 2 else '18%'}"
    if bold:
        return "bold $text-warning"
    return "$foreground 65%" if index % 2 else "$foreground 85%"


def _pieces(text: str, room: int) -> list[str]:
    """A token too long for a line in pieces that fit; wide characters count as two cells."""
    if cell_len(text) <= room:
        return [text] if text else []
    pieces, piece, size = [], "", 0
    for char in text:
        wide = cell_len(char)
        if size + wide > room:
            pieces.append(piece)
            piece, size = "", 0
        piece, size = piece + char, size + wide
    return [*pieces, piece]


class TokenView(VerticalScroll, can_focus=True):
    """Scrolls over one example's tokens."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("home", "scroll_home", "Top", show=False),
        Binding("end", "scroll_end", "Bottom", show=False),
    ]
    DEFAULT_CSS = """
    TokenView { height: 1fr; scrollbar-size-vertical: 1; }
    TokenView > Static { height: auto; width: 1fr; }
    """
    term = "loss mask"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._tokens: tuple[Token, ...] = ()
        self._end = ""
        self._wide = 0

    def compose(self) -> ComposeResult:
        yield Static()

    def show(self, tokens: Sequence[Token], end: str = "") -> None:
        """Takes another example and stands at its top."""
        self._tokens, self._end, self._wide = tuple(tokens), end, 0
        self.query_one(Static).update("")
        self._draw()
        self.scroll_home(animate=False)

    def say(self, text: Content) -> None:
        """Shows words in place of an example."""
        self._tokens, self._wide = (), 0
        self.border_title = self.border_subtitle = ""
        self.query_one(Static).update(text)

    def on_resize(self, event: Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        width = self.scrollable_content_region.width
        if width and width != self._wide and self._tokens:
            self._wide = width
            self.query_one(Static).update(Content("\n").join(token_lines(self._tokens, width, self._end)))
