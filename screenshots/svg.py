"""Redraws a Textual SVG screenshot to look alike everywhere: cell graphics as shapes, words pinned to cells.

Rich writes each run of text as one <text>; braille, blocks and boxes then come from whatever font the viewer
falls back to, at another width, and the picture falls apart. Here those characters become paths.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from rich.cells import cell_len

CELL_W, CELL_H, ASCENT = 12.2, 24.4, 18.5
"""Rich's cell in SVG units, and how far a baseline lies below its cell's top."""

TEXT = re.compile(
    r'<text class="([^"]+)" x="([\d.]+)" y="([\d.]+)" textLength="[\d.]+"( clip-path="[^"]+")>([^<]*)</text>'
)
FILL = re.compile(r"\.([\w-]+) \{ fill: (#[0-9a-f]{6})")

ARMS = {
    "─": "lr", "│": "ud", "┌": "rd", "┐": "ld", "└": "ur", "┘": "ul",
    "├": "udr", "┤": "udl", "┬": "lrd", "┴": "lru", "┼": "lrud",
}  # fmt: skip
"""Light box drawing characters by the sides of the cell that their arms reach."""

HEAVY = {"━": (0.0, 1.0), "╸": (0.0, 0.5), "╺": (0.5, 1.0)}
"""Heavy horizontal lines: from and to, in cells."""

CORNERS = {"╭": (1, 1), "╮": (-1, 1), "╰": (1, -1), "╯": (-1, -1)}

QUADRANTS = {
    "▖": "c", "▗": "d", "▘": "a", "▙": "acd", "▚": "ad",
    "▛": "abc", "▜": "abd", "▝": "b", "▞": "bc", "▟": "bcd",
}  # fmt: skip
"""By the quarters that are filled: a b above, c d below."""


SHADES = {"░": 0.25, "▒": 0.5, "▓": 0.75}


def redraw(svg: str) -> str:
    """The same picture, its cell graphics as shapes."""
    fills = dict(FILL.findall(svg))

    def one(match: re.Match[str]) -> str:
        style, x, y, clip, text = match.groups()
        left, top = float(x), float(y) - ASCENT
        return "".join(run(style, fills.get(style, "#c5c8c6"), left, top, clip, html.unescape(text)))

    family = "font-family: Fira Code"
    return TEXT.sub(one, svg).replace(f"{family}, monospace", f"{family}, DejaVu Sans Mono, monospace")


def run(style: str, colour: str, left: float, top: float, clip: str, text: str) -> Iterator[str]:
    """One run of characters of one style: its shapes as a path a kind, and each word as a text of its own."""
    filled, stroked, words = [], [], [("", left)]
    x = left
    for character in text:
        shape, line = blocks(character, x, top), lines(character, x, top)
        filled.append(shape)
        stroked.append(line)
        if character in SHADES:
            path = box(x, top, CELL_W, CELL_H)
            yield f'<path fill="{colour}" fill-opacity="{SHADES[character]}" d="{path}"/>'
        step = CELL_W * cell_len(character)
        if shape or line or character in SHADES or character.isspace():
            words.append(("", x + step))
        else:
            word, start = words[-1]
            words[-1] = (word + character, start)
        x += step
    if any(filled):
        yield f'<path shape-rendering="crispEdges" fill="{colour}" d="{"".join(filled)}"/>'
    if any(stroked):
        yield f'<path fill="none" stroke="{colour}" stroke-width="1.5" d="{"".join(stroked)}"/>'
    for word, start in words:
        if word:
            body, length = html.escape(word, quote=False), cell_len(word) * CELL_W
            yield (
                f'<text class="{style}" x="{start:.1f}" y="{top + ASCENT:.1f}" '
                f'textLength="{length:.1f}"{clip}>{body}</text>'
            )


def box(x: float, y: float, width: float, height: float) -> str:
    return f"M{x:.2f} {y:.2f}h{width:.2f}v{height:.2f}h{-width:.2f}z"


def blocks(character: str, x: float, y: float) -> str:
    """Path of a braille or block element character in the cell at (x, y); "" for any other."""
    code = ord(character)
    if 0x2800 <= code <= 0x28FF:
        bits = code - 0x2800
        order = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
        dots = [order[i] for i in range(8) if bits >> i & 1]
        return "".join(
            box(x + CELL_W * (0.25 + 0.5 * c) - 2, y + CELL_H * (0.125 + 0.25 * r) - 2, 4, 4) for c, r in dots
        )
    eighth = CELL_H / 8
    if 0x2581 <= code <= 0x2588:
        n = code - 0x2580
        return box(x, y + CELL_H - n * eighth, CELL_W + (0.2 if n == 8 else 0), n * eighth)
    if 0x2589 <= code <= 0x258F:
        return box(x, y, CELL_W * (0x2590 - code) / 8, CELL_H)
    if character in QUADRANTS:
        at = {"a": (0, 0), "b": (1, 0), "c": (0, 1), "d": (1, 1)}
        spots = [at[q] for q in QUADRANTS[character]]
        return "".join(box(x + CELL_W / 2 * c, y + CELL_H / 2 * r, CELL_W / 2, CELL_H / 2) for c, r in spots)
    if character in HEAVY:
        start, end = HEAVY[character]
        return box(x + start * CELL_W, y + CELL_H / 2 - 2, (end - start) * CELL_W, 4)
    if character == "▀":
        return box(x, y, CELL_W, CELL_H / 2)
    if character == "▐":
        return box(x + CELL_W / 2, y, CELL_W / 2, CELL_H)
    if character == "▔":
        return box(x, y, CELL_W, eighth)
    if character == "▕":
        return box(x + CELL_W * 7 / 8, y, CELL_W / 8, CELL_H)
    return ""


def lines(character: str, x: float, y: float) -> str:
    """Stroke path of a light box drawing character in the cell at (x, y); "" for any other."""
    cx, cy = x + CELL_W / 2, y + CELL_H / 2
    if arms := ARMS.get(character):
        ends = {"l": (x, cy), "r": (x + CELL_W, cy), "u": (cx, y), "d": (cx, y + CELL_H)}
        return "".join(f"M{cx:.2f} {cy:.2f}L{ends[a][0]:.2f} {ends[a][1]:.2f}" for a in arms)
    if character in CORNERS:
        h, v = CORNERS[character]
        return (
            f"M{cx:.2f} {cy + v * CELL_H / 2:.2f}L{cx:.2f} {cy + v * 6:.2f}"
            f"Q{cx:.2f} {cy:.2f} {cx + h * CELL_W / 2:.2f} {cy:.2f}"
        )
    return ""
