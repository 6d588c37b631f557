"""The `?` panel: what the focused field means, in plain words."""

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static


def term_of(widget: Widget | None, otherwise: str) -> str:
    """The glossary key of a widget: its own `.term`, else that of what holds it, else the step's."""
    for place in widget.ancestors_with_self if widget is not None else ():
        term = getattr(place, "term", None)
        if isinstance(term, str) and term:
            return term
    return otherwise


class HelpPanel(Static):
    """Hidden until asked for; follows the focus while open. It lies over the page and takes no focus."""

    DEFAULT_CSS = """
    HelpPanel {
        display: none; layer: above; dock: right; width: 44; height: auto; max-height: 90%;
        margin: 1 1 2 0; padding: 1 2; background: $panel; border: round $primary; color: $foreground;
        border-title-color: $primary; border-subtitle-color: $text-muted;
    }
    HelpPanel.-open { display: block; }
    """

    def on_mount(self) -> None:
        self.border_title = "What is this?"
        self.border_subtitle = "? or esc closes"

    @property
    def is_open(self) -> bool:
        return self.has_class("-open")

    def explain(self, key: str) -> None:
        """Show one term of the glossary, and the terms beside it."""
        from core.glossary import term

        entry = term(key)
        if entry is None:
            self.update(Content(f"There is no entry for {key} yet."))
            return
        see = (
            Content.styled("\n\nsee also  " + ", ".join(entry.see), "$foreground-muted")
            if entry.see
            else Content("")
        )
        self.update(Content.assemble((entry.name, "bold $primary"), "\n\n", entry.text, see))
