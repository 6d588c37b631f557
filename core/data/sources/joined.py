"""What is made of sources: several in a row, a part of one, one without its index column."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from core.data.sources.source import Row, Source
from core.data.sources.splits import Slice

LOOKED_AT = 200


def concatenated(name: str, sources: Sequence[Source]) -> Source:
    """The rows of several sources of one kind, one after another."""
    if len(sources) == 1:
        return replace(sources[0], name=name)
    counts = [source.count for source in sources]
    now = 0

    def passing(number: int) -> Iterator[Row]:
        nonlocal now
        for now, source in enumerate(sources):
            seen = counts[now]
            if seen is None:
                seen = 0
                for seen, row in enumerate(source.rows(), 1):
                    if seen >= number:
                        yield row
                counts[now] = seen
            elif number <= seen:
                yield from source.start(number)
            number = max(1, number - seen)

    def place() -> int:
        done = sum(source.size or 0 for source in sources[:now])
        here = sources[now].place
        return done + (here() if here else 0)

    return Source(
        name,
        rows=lambda: passing(1),
        size=None if any(one.size is None for one in sources) else sum(one.size or 0 for one in sources),
        count=None if any(count is None for count in counts) else sum(count or 0 for count in counts),
        place=place,
        jump=passing,
        findings=lambda: tuple(finding for source in sources for finding in source.findings()),
    )


def part(source: Source, wanted: Slice, limit: int | None) -> Source:
    """The rows of a slice, and of those the first `limit`."""
    if wanted.start is None and wanted.stop is None and limit is None:
        return source
    known = source.count

    def bounds() -> tuple[int, int | None]:
        nonlocal known
        if known is None and wanted.needs_count():
            known = sum(1 for _ in source.rows())
        start, stop = wanted.bounds(known)
        if limit is not None:
            stop = start + limit if stop is None else min(stop, start + limit)
        return start, stop

    def passing(number: int) -> Iterator[Row]:
        start, stop = bounds()
        first = start + number - 1
        left = None if stop is None else max(0, stop - first)
        yield from islice(source.start(first + 1), left)

    count = None
    if known is not None:
        start, stop = bounds()
        count = max(0, (known if stop is None else min(stop, known)) - start)
    return replace(source, rows=lambda: passing(1), jump=passing, count=count, size=None, place=None)


def without_index(source: Source) -> Source:
    """Without a first column that only counts the rows ("", "Unnamed: 0", "__index_level_0__").

    That is told from the first rows; in a later row a value that counts nothing is kept in its column.
    """
    name = next(iter(next(source.rows(), {})), None)
    if name is None or not re.fullmatch(r"|Unnamed: ?\d+|__index_level_\d+__", name):
        return source
    if not all(str(row.get(name, "")).isdigit() for row in islice(source.rows(), LOOKED_AT)):
        return source

    def cleaned(rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            if str(row.get(name, "")).isdigit():
                del row[name]
            yield row

    return replace(
        source,
        rows=lambda: cleaned(source.rows()),
        jump=lambda number: cleaned(source.start(number)),
        dropped_column=name,
    )
