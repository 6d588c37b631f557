"""A calm cover for a window that has become too small; it goes when there is room again."""

from textual.app import ComposeResult
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.terminal import LEAST_COLUMNS, LEAST_ROWS


def fits(size: Size) -> bool:
    """Whether the wizard can be used at this size."""
    return size.width >= LEAST_COLUMNS and size.height >= LEAST_ROWS


class TooSmall(ModalScreen[None]):
    DEFAULT_CSS = """
    TooSmall { align: center middle; background: $background; }
    TooSmall Static { width: auto; max-width: 100%; text-align: center; color: $text-muted; }
    """

    def compose(self) -> ComposeResult:
        yield Static(
            f"The window is too small.\nMake it {LEAST_COLUMNS} x {LEAST_ROWS} or larger.\nNothing is lost."
        )
