"""The step rail: what is done, where I am, what is open. A column at the left, or one line when narrow."""

from textual.content import Content
from textual.widgets import Static

from tui.journey import AFTER, NAMES, STEPS

STRIP_FROM = 30  # columns; a rail wider than this lies flat


class Rail(Static):
    """Draws the steps; those that may be visited are links (the palette offers the same by key)."""

    DEFAULT_CSS = """
    Rail {
        width: 14; height: 100%; padding: 1 1 0 2; 
        link-style: none; link-color: $foreground; link-background: transparent;
        link-style-hover: underline; link-color-hover: $primary; link-background-hover: transparent;
    }
    """

    def __init__(self, here: str, done: set[str]) -> None:
        super().__init__()
        self.here = here
        self.done = done
        self._drawn: Content | None = None

    def on_mount(self) -> None:
        self.draw()

    def on_resize(self) -> None:
        self.draw()

    def draw(self) -> None:
        """Show the journey as it now stands."""
        steps = [*STEPS, *AFTER]
        if self.size.width <= STRIP_FROM:
            self._show(Content("\n").join(self._cell(step, " ") for step in steps))
            return
        strip = Content("  ").join(self._cell(step, "") for step in steps)
        if strip.cell_length > self.content_size.width:
            place = steps.index(self.here)
            near = Content(" › ").join(self._cell(step, "") for step in steps[max(0, place - 1) : place + 2])
            strip = Content.assemble((f"{place + 1} of {len(steps)}  ", "$foreground-muted"), near)
        self._show(strip)

    def _show(self, drawn: Content) -> None:
        """Repaint what changed; the rail's own size never does, so nothing is arranged anew."""
        if self._drawn is None or not drawn.is_same(self._drawn):
            self._drawn = drawn
            self.update(drawn, layout=False)

    def _cell(self, step: str, gap: str) -> Content:
        name = NAMES[step]
        if step == self.here:
            return Content.styled(f"●{gap}{name}", "bold $primary")
        order = [*STEPS, *AFTER]
        finished = step in self.done or (self.here in AFTER and order.index(step) < order.index(self.here))
        if not finished:
            return Content.styled(f"·{gap}{name}" if gap else name, "$foreground-muted")
        if self.here in STEPS:  # a run that was started cannot be walked back into
            return Content.from_markup(f"[$success]✓[/]{gap}[@click=app.visit('{step}')]{name}[/]")
        return Content.from_markup(f"[$success]✓[/]{gap}{name}")
