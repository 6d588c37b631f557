"""Pictures: cell graphics become shapes, words stay words where they stood."""

import re

from textual.app import App, ComposeResult
from textual.widgets import Static

from screenshots.svg import CELL_W, redraw


class Graphics(App[None]):
    def compose(self) -> ComposeResult:
        yield Static("loss ⣿⠛ ━━╸ │╭╮ ▇▌ 1 < 2 & 3")


async def test_cell_graphics_become_shapes_and_words_keep_their_place() -> None:
    app = Graphics()
    async with app.run_test(size=(40, 3)) as pilot:
        await pilot.pause()
        svg = redraw(app.export_screenshot())
    texts = {body: float(x) for x, body in re.findall(r'<text[^>]* x="([\d.]+)"[^>]*>([^<]+)</text>', svg)}
    assert not re.search("[⠀-⣿━╸│╭▇▌]", "".join(texts))
    assert texts["loss"] == 0 and texts["&lt;"] == 21 * CELL_W and texts["&amp;"] == 25 * CELL_W
    filled, stroked = re.findall(r'<path [^>]* d="([^"]+)"', svg)
    squares = filled.count("z")
    assert squares == 8 + 4 + 3 + 2, "dots of the braille, pieces of the heavy line, two blocks"
    assert stroked.count("M") == 2 + 2 and stroked.count("Q") == 2, "a straight line and two corners"
