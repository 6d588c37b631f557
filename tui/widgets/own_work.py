"""Work of a screen that ends before the screen's parts go; Textual itself ends it after them."""

from textual.messages import Prune
from textual.screen import Screen, ScreenResultType


class EndsItsWork(Screen[ScreenResultType]):
    """A screen whose own work, and that of its widgets, is over as soon as it is told to go.

    Work that went on would look for widgets that are gone and take the whole program with it.
    """

    async def on_prune(self, event: Prune) -> None:
        for node in self.walk_children(with_self=True):
            self.workers.cancel_node(node)
        # Textual calls the handler of every base class, so the screen itself goes after this
