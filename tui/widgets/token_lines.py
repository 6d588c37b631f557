"""A row's tokens as lines: what is learned of them, what is special, where it is cut. Pure functions.

A learned token is underlined on a coloured ground and its line has a bar in the margin, so that it can
be told from a masked one without colour. Special tokens stand in a box of their own colour. What is cut is
struck through, below a line that says where.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from textual.content import Content

HEAD, TAIL = 3000, 1000
"""Tokens drawn of an example that is longer than both together."""

END_NOTE = " ◀ learned: the answer ends here"


@dataclass(frozen=True)
class Token:
    text: str
    learned: bool
    special: bool = False
    cut: bool = False
    id: int = 0
    rejected: bool = False
    """Of the answer that is not preferred."""


def tokens_of(example: dict[str, Any] | None) -> tuple[Token, ...]:
    """The tokens of a data report's `example`; none when there is no example.

    Of a preference the other answer follows, from where it differs.
    """
    chosen = (example or {}).get("tokens") or ()
    other = ((example or {}).get("rejected") or {}).get("tokens") or ()
    shared = next(
        (place for place, (a, b) in enumerate(zip(chosen, other, strict=False)) if a["id"] != b["id"]),
        min(len(chosen), len(other)),
    )
    return (*(_token(one) for one in chosen), *(_token(one, True) for one in other[shared:]))


def _token(one: dict[str, Any], rejected: bool = False) -> Token:
    learned, special, cut = (bool(one.get(key)) for key in ("learned", "special", "cut"))
    return Token(str(one["text"]), learned, special, cut, int(one.get("id") or 0), rejected)


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


class _Page:
    """Pieces of text put behind each other into lines of `room` cells and a margin of two."""

    def __init__(self, width: int) -> None:
        self.room = max(width - 2, 4)
        self._lines: list[list[tuple[str, str]]] = [[]]
        self._bars = [""]
        self._used = 0

    def put(self, piece: str, style: str, bar: str = "") -> None:
        size = cell_len(piece)
        if self._used + size > self.room and self._used:
            word = [] if piece[:1] in " ↵" else self._word_begun(self.room - size)
            self.end()
            for part, look in word:
                self._lines[-1].append((part, look))
                self._used += cell_len(part)
            self._bars[-1] = bar if word else ""
        self._lines[-1].append((piece, style))
        self._bars[-1] = bar or self._bars[-1]
        self._used += size

    def _word_begun(self, room: int) -> list[tuple[str, str]]:
        """Takes the beginning of a word off the line's end, if what goes on with it then has room."""
        line = self._lines[-1]
        begun = next((at for at in range(len(line) - 1, 0, -1) if line[at][0][:1] == " "), 0)
        word = line[begun:]
        if not begun or sum(cell_len(part) for part, _ in word) > room:
            return []
        del line[begun:]
        return word

    def end(self) -> None:
        self._lines.append([])
        self._bars.append("")
        self._used = 0

    def rule(self, words: str, style: str) -> None:
        """A line of its own across the page."""
        if self._lines[-1]:
            self.end()
        self.put(f"── {words} ".ljust(self.room, "─")[: self.room], style)
        self.end()

    def lines(self) -> list[Content]:
        return [
            Content.assemble(("▌ " if bar else "  ", bar), *pieces)
            for pieces, bar in zip(self._lines, self._bars, strict=True)
        ]


def token_lines(
    tokens: Sequence[Token],
    width: int,
    end: str = "",
    *,
    ids: bool = False,
    pieces: Sequence[int] = (),
    length: int | None = None,
) -> list[Content]:
    """The tokens wrapped to lines of at most `width` cells.

    `end`: the text of the end-of-turn token. `ids`: each token apart, with its number in the vocabulary,
    instead of as text. `pieces`: where each piece of a split row begins. `length`: named where a row is cut.
    """
    page = _Page(width)
    hidden = max(len(tokens) - HEAD - TAIL, 0)
    starts = set(pieces[1:])
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else None
        if before and token.rejected and not before.rejected:
            page.rule("the other answer, which is to become less likely", "$text-warning")
        elif token.cut and not (before and before.cut):
            where = f" at {length:,}" if length and index else ""
            page.rule(f"cut here{where}: the rest is not trained on", "bold $text-warning")
        elif index in starts:
            page.rule(f"piece {sorted(starts).index(index) + 2} of {len(starts) + 1}", "$text-accent")
        if hidden and HEAD <= index < len(tokens) - TAIL:
            if index == HEAD:
                page.put(f" … {hidden:,} tokens more … ", "$foreground 60% italic")
            continue
        style, bar = _style(token, index), _bar(token)
        if ids:
            _put_apart(page, token, style, bar)
            continue
        for part_index, part in enumerate(visible(token.text).split("\n")):
            if part_index:
                page.end()
            for piece in _pieces(part, page.room):
                page.put(piece, style, bar)
        if token.learned and not token.rejected and end and token.text.strip() == end.strip():
            page.put(END_NOTE, "$text-success bold", bar)
    return page.lines()


def _put_apart(page: _Page, token: Token, style: str, bar: str) -> None:
    """The token with its number; blanks are seen, a line break does not break the line."""
    text = visible(token.text).replace("\n", "").replace(" ", "·") or "∅"
    number = f" {token.id}  "
    for piece in _pieces(text, max(page.room - len(number), 4)):
        if page._used + cell_len(piece) + len(number) > page.room and page._used:
            page.end()
        page.put(piece, style, bar)
    page.put(number, "$foreground 50%", bar)


def _bar(token: Token) -> str:
    if not token.learned or token.cut:
        return ""
    return "$warning" if token.rejected else "$success"


def _style(token: Token, index: int) -> str:
    # neighbours differ a little, so that one sees where a token begins
    if token.cut:
        return f"strike $foreground {'40%' if index % 2 else '50%'}"
    shade = "30%" if index % 2 else "18%"
    if token.learned and token.rejected:
        return f"underline $text-warning on $warning {shade}"
    if token.learned:
        return f"underline $text-success on $success {shade}" + (" bold" if token.special else "")
    if token.special:
        return "$foreground 70% on $panel-lighten-1"
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
