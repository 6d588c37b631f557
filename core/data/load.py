"""All rows of a source at once, for what is not streamed yet."""

from dataclasses import dataclass

from core.data.sources.open import not_there, open_source
from core.data.sources.source import Row
from core.spec import SourceSpec

__all__ = ["Source", "load", "not_there"]


@dataclass(frozen=True)
class Source:
    """What was read. `name`: what to call it in a message."""

    name: str
    rows: list[Row]
    dropped_column: str | None = None
    """An index column that a spreadsheet or pandas left behind; it is not in the rows."""


def load(source: str, split: str = "train", limit: int | None = None) -> Source:
    """All rows, or the first `limit`. UserError as `open_source` and its passes."""
    found = open_source(SourceSpec(source=source, split=split, limit=limit))
    return Source(found.name, list(found.rows()), found.dropped_column)
