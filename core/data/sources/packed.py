"""One data file as a stream of bytes, whatever it is packed in, that says how far it has been read."""

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import platformdirs

from core.data.sources.kinds import MARKS, kind_of
from core.errors import UserError

BUFFER = 1 << 20
AHEAD = 1 << 16
MANY_MEMBERS = 100_000

BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError)
"""What reading a packed file may raise."""


class DataFile:
    """A file, or a member of a zip. `name`: for messages; `size`: bytes, packed but for a zip's member."""

    def __init__(self, path: Path, member: zipfile.ZipInfo | None = None, label: str | None = None):
        self.path, self.member = path, member
        self.name = label or (f"{path.name}:{member.filename}" if member else path.name)
        self.kind = kind_of(member.filename if member else path)
        self.size = member.file_size if member else path.stat().st_size
        self._open: Any = None
        self._at = 0
        self.unread: Callable[[], int] = int
        """Bytes that the newest pass took from the file but has not come to yet."""

    @property
    def inner(self) -> Path:
        """The name by which the file's content is known: of the member, or of the file."""
        return Path(self.member.filename) if self.member else self.path

    def place(self) -> int:
        """Bytes of `size` that the newest pass has come to."""
        if self._open is not None and not self._open.closed:
            self._at = self._open.tell() - self.unread()
        return max(0, min(self.size, self._at))

    @contextlib.contextmanager
    def open(self) -> Iterator[Any]:
        """The unpacked bytes, seekable. UserError: it cannot be read or is torn."""
        try:
            with contextlib.ExitStack() as stack:
                packing = None if self.member else self.packing()
                if self.member:
                    archive = stack.enter_context(zipfile.ZipFile(self.path))
                    raw: Any = stack.enter_context(archive.open(self.member))
                else:
                    raw = stack.enter_context(self.path.open("rb", buffering=0))
                ahead = AHEAD if packing else BUFFER
                stream = stack.enter_context(io.BufferedReader(_unpacked(raw, packing), ahead))
                self._open, self.unread = raw if packing else stream, int
                try:
                    yield stream
                finally:
                    self.place()
        except BROKEN as error:
            raise UserError(f"{self.name} cannot be read", str(error), "check the file") from None

    def packing(self) -> str | None:
        """gzip, bz2 or xz by its first bytes, whatever the file calls itself."""
        with self.path.open("rb") as file:
            head = file.read(6)
        return next((name for mark, name in MARKS.items() if head.startswith(mark)), None)

    def head(self, size: int) -> bytes:
        """The first bytes, unpacked."""
        with self.open() as stream:
            found: bytes = stream.read(size)
        return found

    def unpacked(self) -> Path:
        """A path at which the unpacked file lies: its own, or a copy that is kept in the cache."""
        if self.member is None and self.packing() is None:
            return self.path
        stat = self.path.stat()
        mark = f"{self.path.absolute()} {stat.st_size} {stat.st_mtime_ns} {self.name}"
        kept = cache("unpacked") / hashlib.sha256(mark.encode()).hexdigest()[:32]
        if not kept.exists():
            part = kept.with_suffix(f".{os.getpid()}")
            try:
                with self.open() as stream, part.open("wb") as out:
                    shutil.copyfileobj(stream, out, BUFFER)
                part.replace(kept)
            finally:
                part.unlink(missing_ok=True)
        return kept


def _unpacked(raw: Any, packing: str | None) -> Any:
    if packing == "gzip":
        return gzip.GzipFile(fileobj=raw)
    if packing == "bz2":
        return bz2.BZ2File(raw)
    return lzma.LZMAFile(raw) if packing == "xz" else raw


def cache(room: str) -> Path:
    """A folder for what can be made or fetched again: under $FINETUI_HOME, or the user's cache."""
    given = os.environ.get("FINETUI_HOME")
    base = Path(given).expanduser() / "cache" if given else Path(platformdirs.user_cache_dir("finetui"))
    folder = base / room
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def members(path: Path) -> list[DataFile]:
    """The files in a zip, without folders and what macOS adds. UserError: no zip, or locked by a password."""
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [one for one in archive.infolist() if not one.is_dir()]
    except BROKEN as error:
        raise UserError(f"{path.name} is not a zip file", str(error), "check the file") from None
    inside = [one for one in inside if not any(part[0] in "._" for part in Path(one.filename).parts)]
    locked = next((one for one in inside if one.flag_bits & 1), None)
    if locked:
        raise UserError(f"{path.name} is encrypted", f"{locked.filename} needs a password", "unpack it first")
    if len(inside) > MANY_MEMBERS:
        raise UserError(f"{path.name} holds {len(inside):,} files", "that is too many", "unpack it first")
    return [DataFile(path, one) for one in inside]
