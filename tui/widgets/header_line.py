"""The one line on top of every screen: where I am at the left, how things stand at the right."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static


class HeaderLine(Horizontal):
    """` finetui  Runs › model · data                         ● training  step 412 / 1,350`"""

    DEFAULT_CSS = """
    HeaderLine { height: 1; background: $surface; padding: 0 1; }
    HeaderLine #crumb { width: 1fr; height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    HeaderLine #status { width: auto; max-width: 60%; height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._ends = {"crumb": Static(id="crumb"), "status": Static(id="status")}
        self._shown: dict[str, Content] = {}

    def compose(self) -> ComposeResult:
        yield from self._ends.values()

    def show(self, crumb: str, status: str | Content = "") -> None:
        """Draw both ends. The crumb is plain text; the status may be styled Content."""
        place = f" › {crumb}" if crumb else ""
        here = Content.assemble(("finetui", "bold $primary"), ("  Runs", "$foreground-muted"), place)
        self._draw("crumb", here)
        self._draw("status", status if isinstance(status, Content) else Content(status))

    def _draw(self, end: str, content: Content) -> None:
        """Repaint what changed; only another width is worth arranging the whole screen anew."""
        before = self._shown.get(end)
        if before is None or not content.is_same(before):
            self._shown[end] = content
            resized = before is None or before.cell_length != content.cell_length
            self._ends[end].update(content, layout=resized)
