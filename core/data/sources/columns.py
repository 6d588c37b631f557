"""Parquet and Arrow files as rows: batch by batch, memory-mapped, any row at once."""

from collections.abc import Iterator
from typing import Any

from core.data.sources.packed import DataFile
from core.data.sources.source import Row, Source
from core.errors import UserError

BATCH = 256
"""Rows turned into Python objects at once."""
COPIED = 1 << 20
"""Bytes beyond which a batch was not just looked at in the mapped file but unpacked."""


def open_parquet(file: DataFile) -> Source:
    """The rows of a Parquet file. UserError: it is none."""
    import pyarrow
    import pyarrow.parquet

    path = file.unpacked()
    try:
        with pyarrow.parquet.ParquetFile(path) as opened:
            sizes = [opened.metadata.row_group(at).num_rows for at in range(opened.num_row_groups)]
    except (pyarrow.ArrowException, OSError) as error:
        raise _none(file, "Parquet", error) from None
    reached = _Reached(sum(sizes), file.size)

    def passing(number: int) -> Iterator[Row]:
        skip, group = number - 1, 0
        while group < len(sizes) and skip >= sizes[group]:
            skip -= sizes[group]
            group += 1
        reached.row = number - 1 - skip
        try:
            # a buffer: without one a whole column of a row group is read at once
            with pyarrow.parquet.ParquetFile(path, buffer_size=1 << 16, pre_buffer=False) as opened:
                groups = list(range(group, len(sizes)))
                for batch in opened.iter_batches(BATCH, row_groups=groups, use_threads=False):
                    reached.row += batch.num_rows
                    yield from _rows(batch, skip)
                    skip = max(0, skip - batch.num_rows)
        except (pyarrow.ArrowException, OSError) as error:
            raise _none(file, "Parquet", error) from None

    return Source(file.name, lambda: passing(1), file.size, sum(sizes), reached.place, passing)


def open_arrow(file: DataFile) -> Source:
    """The rows of an Arrow file, of its file format or its stream format. UserError: it is neither."""
    path = file.unpacked()
    reached = _Reached(1, file.size)

    def passing(number: int) -> Iterator[Row]:
        skip = number - 1
        for batch in _batches(file, path, reached):
            for at in range(skip, batch.num_rows, BATCH):
                yield from _rows(batch.slice(at, BATCH), 0)
            skip = max(0, skip - batch.num_rows)

    count = _count(_batches(file, path, reached))
    return Source(file.name, lambda: passing(1), file.size, count, reached.place, passing)


def _count(batches: Iterator[Any]) -> int | None:
    """Rows by the batches' heads alone; None where the batches are compressed and would all be unpacked."""
    import pyarrow

    before, count = pyarrow.total_allocated_bytes(), 0
    for batch in batches:
        count += batch.num_rows
        if pyarrow.total_allocated_bytes() - before > COPIED:
            return None
    return count


def _batches(file: DataFile, path: Any, reached: "_Reached") -> Iterator[Any]:
    """Record batches over the mapped file: only what is looked at is brought into memory."""
    import pyarrow

    try:
        with pyarrow.memory_map(str(path)) as mapped:
            is_file = mapped.read(6) == b"ARROW1"
            mapped.seek(0)
            if is_file:
                opened = pyarrow.ipc.open_file(mapped)
                reached.count = opened.num_record_batches
                for reached.row in range(opened.num_record_batches):
                    yield opened.get_batch(reached.row)
                reached.row = reached.count
            else:
                reached.count = mapped.size()
                for batch in pyarrow.ipc.open_stream(mapped):
                    reached.row = mapped.tell()
                    yield batch
    except (pyarrow.ArrowException, OSError) as error:
        raise _none(file, "Arrow", error) from None


def _rows(batch: Any, skip: int) -> Iterator[Row]:
    if skip < batch.num_rows:
        yield from batch.slice(skip).to_pylist()


class _Reached:
    """How far the newest pass has come, in rows, batches or bytes of `count`, told as bytes of the file."""

    def __init__(self, count: int, size: int):
        self.row, self.count, self._size = 0, count, size

    def place(self) -> int:
        return round(self._size * self.row / self.count) if self.count else self._size


def _none(file: DataFile, kind: str, error: Exception) -> UserError:
    article = "an" if kind == "Arrow" else "a"
    return UserError(f"{file.name} is not {article} {kind} file", str(error), "check the file")


def open_saved(folder: Any, split: str) -> Source:
    """A folder that `save_to_disk` of datasets made, memory-mapped. UserError: it has no such split."""
    import datasets

    from core.data.sources.splits import held_out_name, same_split

    try:
        found = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder.name} cannot be read", str(error), "save it again") from None
    if isinstance(found, datasets.Dataset):
        return mapped(folder.name, found)
    names = tuple(found)
    name = next((one for one in names if one == split), None)
    name = name or next((one for one in names if same_split(one, split)), None)
    if name is None:
        raise UserError(
            f"{folder.name} has no split {split}", f"it has {', '.join(names)}", "name one of them as split"
        )
    return mapped(folder.name, found[name], names, held_out_name(one for one in names if one != name))


def mapped(name: str, found: Any, splits: tuple[str, ...] = (), held_out: str | None = None) -> Source:
    """A `datasets.Dataset` as a source: its rows lie in mapped files, some at a time are made objects."""
    found = found.with_format(None)
    count, size = found.num_rows, found.data.nbytes
    for column, feature in found.features.items():
        if getattr(feature, "decode", False) is True and type(feature).__name__ != "Json":
            # pictures and sounds stay as bytes; decoding them wants further packages
            found = found.cast_column(column, type(feature)(decode=False))
    reached = _Reached(count, size)

    def passing(number: int) -> Iterator[Row]:
        for at in range(number - 1, count, BATCH):
            batch = found[at : at + BATCH]
            reached.row = min(count, at + BATCH)
            columns = list(batch)
            for values in zip(*batch.values(), strict=True):
                yield dict(zip(columns, values, strict=True))

    return Source(name, lambda: passing(1), size, count, reached.place, passing, splits=splits, eval=held_out)
