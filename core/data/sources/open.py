"""Opens what a spec names as its source: a file, a folder, a data set of the Hub or a web address."""

from core.data.load import load
from core.data.sources.source import Source
from core.spec import SourceSpec


def open_source(spec: SourceSpec) -> Source:
    """The source, ready for passes. UserError: not there, nothing readable in it, broken, or no network."""
    found = load(spec.source, spec.split, spec.limit)
    rows = found.rows
    return Source(
        found.name,
        rows=lambda: iter(rows),
        count=len(rows),
        jump=lambda number: iter(rows[number - 1 :]),
        dropped_column=found.dropped_column,
    )
