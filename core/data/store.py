"""Rows as token ids on disk: written batch by batch as they are made, read back without loading them."""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import numpy as np
import pyarrow as pa

from core.data.fit import Piece

Row = dict[str, Any]
"""`input_ids` and `learned` (0 or 1), one each a token; `row` (from 1) in `source` (from 0), `weight`.
Of a preference also `rejected_ids`, `rejected_learned` and `prompt`, the tokens that both begin with; where
rows have a verdict `label` and `prompt`."""
Places = np.ndarray[Any, np.dtype[np.int64]]

ROWS_AT_ONCE = 512

SCHEMA = pa.schema(
    [
        ("input_ids", pa.list_(pa.int32())),
        ("learned", pa.list_(pa.uint8())),
        ("row", pa.int64()),
        ("source", pa.uint16()),
        ("weight", pa.float32()),
        ("key", pa.uint64()),
        ("asked", pa.uint64()),
        ("rejected_ids", pa.list_(pa.int32())),
        ("rejected_learned", pa.list_(pa.uint8())),
        ("prompt", pa.int32()),
        ("label", pa.bool_()),
    ]
)
FACTS = ("row", "source", "weight", "prompt", "label")


class Writer:
    """Adds rows to a file; what is not yet in it are at most `ROWS_AT_ONCE` rows."""

    def __init__(self, path: Path):
        self.path = path
        self._file = pa.OSFile(str(path), "wb")
        self._out = pa.ipc.new_file(self._file, SCHEMA)
        self._waiting: list[Piece] = []

    def add(self, piece: Piece) -> None:
        self._waiting.append(piece)
        if len(self._waiting) == ROWS_AT_ONCE:
            self._write()

    def close(self) -> None:
        self._write()
        self._out.close()
        self._file.close()

    def _write(self) -> None:
        if self._waiting:
            columns = [
                pa.array([getattr(piece, column.name) for piece in self._waiting], column.type)
                for column in SCHEMA
            ]
            self._out.write_batch(pa.record_batch(columns, schema=SCHEMA))
            self._waiting = []

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:  # a full disk would only raise again
            self._file.close()
            self.path.unlink(missing_ok=True)


class Store(Sequence[Row]):
    """What a Writer wrote, memory-mapped: a row is read from the disk when it is asked for."""

    def __init__(self, path: Path, *, forget: bool = False):
        """`forget`: the file loses its name at once, and its room is free when this process ends."""
        self._batches: list[pa.RecordBatch] = []
        self._begins = array("q")
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        at = 0
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            self._batches.append(batch)
            self._begins.append(at)
            at += batch.num_rows
        self._count = at
        if forget:
            path.unlink()

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(self._count))]
        if not -self._count <= place < self._count:
            raise IndexError(place)
        place %= self._count
        number = bisect_right(self._begins, place) - 1
        batch, at = self._batches[number], place - self._begins[number]
        row: Row = {name: _numbers(batch, name, at) for name in ("input_ids", "learned")}
        for name in FACTS:
            value = batch.column(name)[at].as_py()
            if value is not None:
                row[name] = value
        if batch.column("rejected_ids")[at].is_valid:
            row |= {name: _numbers(batch, name, at) for name in ("rejected_ids", "rejected_learned")}
        return row

    def column(self, name: str) -> Any:
        """A column of numbers as one array, copied."""
        parts = [batch.column(name).to_numpy(zero_copy_only=False) for batch in self._batches]
        return np.concatenate(parts) if parts else np.zeros(0)

    def lengths(self) -> Places:
        """Tokens of each row; of a preference those of the longer answer's."""
        found: Places = np.zeros(self._count, np.int64)
        for begin, batch in zip(self._begins, self._batches, strict=True):
            one, other = (np.diff(batch.column(name).offsets) for name in ("input_ids", "rejected_ids"))
            found[begin : begin + batch.num_rows] = np.maximum(one, other)
        return found


def _numbers(batch: pa.RecordBatch, name: str, at: int) -> list[int]:
    column = batch.column(name)
    first, last = column.offsets[at].as_py(), column.offsets[at + 1].as_py()
    numbers: list[int] = column.values[first:last].to_numpy().tolist()
    return numbers


class Rows(Sequence[Row]):
    """Some rows of a store in an order of their own; a row may be there more than once."""

    def __init__(self, store: Store, places: Places):
        self.store, self.places = store, places

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> "Rows": ...
    def __getitem__(self, place: int | slice) -> "Row | Rows":
        if isinstance(place, slice):
            return Rows(self.store, self.places[place])
        return self.store[int(self.places[place])]

    def __iter__(self) -> Iterator[Row]:
        return (self.store[int(place)] for place in self.places)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def lengths(self) -> Places:
        """Tokens of each row."""
        return self.store.lengths()[self.places]
