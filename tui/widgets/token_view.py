"""The frame that scrolls over one row as the model sees it, or says why it sees nothing."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from core.numbers import count
from tui.widgets.token_lines import Token, token_lines, tokens_of

NEIGHBOURS = 6
"""Rows of the same pack that are named; the rest is counted."""


class TokenView(VerticalScroll, can_focus=True):
    """Scrolls over one example's tokens."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("home", "scroll_home", "Top", show=False),
        Binding("end", "scroll_end", "Bottom", show=False),
    ]
    DEFAULT_CSS = """
    TokenView { height: 1fr; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    TokenView > Static { height: auto; width: 1fr; }
    """
    term = "loss mask"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._tokens: tuple[Token, ...] = ()
        self._example: dict[str, Any] = {}
        self._end = ""
        self._length: int | None = None
        self._refused = ""
        self._ids = False
        self._wide = 0

    def compose(self) -> ComposeResult:
        yield Static()

    def show(
        self, example: dict[str, Any] | None, end: str = "", length: int | None = None, refused: str = ""
    ) -> None:
        """Takes another row and stands at its top. `refused`: why it is not trained on."""
        tokens = tokens_of(example)
        same = tokens == self._tokens
        self._tokens, self._example, self._end = tokens, example or {}, end
        self._length, self._refused, self._wide = length, refused, 0
        self._draw()
        if not same:
            self.scroll_home(animate=False)

    def show_ids(self, ids: bool) -> None:
        """Each token apart with its number, or all of them as text."""
        self._ids, self._wide = ids, 0
        self._draw()

    def say(self, text: Content) -> None:
        """Shows words in place of an example."""
        self._tokens, self._wide = (), 0
        self.border_title = self.border_subtitle = ""
        self.query_one(Static).update(text)

    def on_resize(self, event: Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        width = self.scrollable_content_region.width
        if not width or width == self._wide or not self._tokens:
            return
        self._wide = width
        lines = token_lines(
            self._tokens,
            width,
            self._end,
            ids=self._ids,
            pieces=self._example.get("pieces") or (),
            length=self._length,
        )
        if self._refused:
            lines = [Content.styled(f"✗ left out: {self._refused}", "bold $text-error"), *lines]
        self.query_one(Static).update(Content("\n").join(lines))


def numbers_line(example: dict[str, Any]) -> str:
    """How much of a row there is, what is learned of it, and what is not: for the frame's edge."""
    tokens = example.get("tokens") or ()
    kept = [one for one in tokens if not one.get("cut")]
    learned = sum(bool(one["learned"]) for one in kept)
    pieces = [f"{len(kept):,} tokens, {learned:,} learned"]
    if example.get("cut"):
        why = {"dropped": "left out by the length", "nothing": "left out: nothing to learn is left"}
        pieces.append(f"{example['cut']:,} {why.get(str(example.get('fate')), 'cut off by the length')}")
    if len(example.get("pieces") or ()) > 1:
        pieces.append(f"in {len(example['pieces'])} pieces")
    if example.get("hidden"):
        pieces.append(f"{example['hidden']:,} more not drawn")
    if example.get("weight") not in (None, 1, 1.0):
        pieces.append(f"weight {example['weight']:g}")
    if example.get("label") is not None:
        pieces.append("labelled good" if example["label"] else "labelled bad")
    return ", ".join(pieces)


def neighbours(example: dict[str, Any]) -> str:
    """`shares its pack with rows 17, 204 and 391`, or "" where nothing is packed."""
    pack = example.get("pack")
    if not pack:
        return ""
    others = [row for row in pack["rows"] if row != example.get("row")]
    if not others:
        return "alone in its pack"
    named = ", ".join(f"{row:,}" for row in others[:NEIGHBOURS])
    more = f" and {len(others) - NEIGHBOURS:,} more" if len(others) > NEIGHBOURS else ""
    place = f", from token {count(pack['start'])} on" if pack.get("start") else ", first of them"
    return f"shares its pack with row{'s' if len(others) > 1 else ''} {named}{more}{place}"
