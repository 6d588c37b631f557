"""Web addresses as sources: a page's clean text as a row, lists of pages, and data files that are fetched.

What was fetched is kept for a day, so that what was looked at is what is trained on.
"""

import hashlib
import html
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from core.data.findings import Finding
from core.data.sources.documents import missing
from core.data.sources.kinds import kind_of
from core.data.sources.packed import DataFile, cache
from core.data.sources.source import Row, Source
from core.errors import UserError

TIMEOUT = 20
"""Seconds that a server may be silent."""
PAGE = 32 << 20
"""Bytes of the largest page."""
SPARE = 1 << 30
"""Bytes of disk that a download leaves free."""
KEPT = 24 * 3600
"""Seconds for which what was fetched is used again without asking."""
AT_ONCE = 4
LIST = 1 << 20
"""Bytes of the largest list of addresses."""

ADDRESS = re.compile(r"https?://\S+", re.IGNORECASE)
AGENT = "finetui (reads pages for fine-tuning, at its user's word)"
SUFFIX = {
    "application/json": ".json",
    "application/jsonl": ".jsonl",
    "application/x-ndjson": ".jsonl",
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "application/vnd.apache.parquet": ".parquet",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "text/html": ".html",
    "application/xhtml+xml": ".html",
}


def is_address(text: str) -> bool:
    return bool(ADDRESS.fullmatch(text))


def addresses_in(file: DataFile) -> list[str]:
    """The addresses of a list of pages: a file of nothing but addresses, one a line; [] where it is none."""
    if file.size > LIST or file.inner.suffix.lower() not in (".urls", ".txt"):
        return []
    text = file.head(LIST).decode(errors="replace")
    found = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    wrong = next((line for line in found if not is_address(line)), None)
    if file.kind == "pages" and (wrong or not found):
        why = f"{wrong!r} is no web address" if wrong else "it names no page"
        raise UserError(f"{file.name} is no list of pages", why, "write one address a line")
    return [] if wrong else found


def open_address(address: str, open_file: Callable[[DataFile, str], Source], split: str) -> Source:
    """A page as one row, or the rows of a data file. UserError: it cannot be fetched or is neither."""
    path = fetch(address)
    if path.suffix == ".html":
        return open_pages(address, [address])
    name = urllib.parse.unquote(urllib.parse.urlsplit(address).path).rsplit("/", 1)[-1]
    return open_file(DataFile(path, label=name or address), split)


def open_pages(name: str, addresses: list[str]) -> Source:
    """A row {text, url, title} for each page. Pages that fail are left out and told as a finding.

    UserError: none of them can be read.
    """
    failed: list[str] = []

    def rows() -> Iterator[Row]:
        failed.clear()
        left = iter(dict.fromkeys(addresses))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while some := list(islice(left, AT_ONCE)):
                for found in pool.map(_tried, some):
                    if isinstance(found, UserError):
                        failed.append(found.line())
                    else:
                        yield found
        if len(failed) == len(set(addresses)):
            raise UserError(f"{name} gives no text", "; ".join(failed[:3]), "check the addresses", code=1)

    def findings() -> tuple[Finding, ...]:
        if not failed:
            return ()
        many = f"{len(failed)} of {len(set(addresses))} pages could not be read and are left out"
        said = "; ".join(failed[:10]) + ("; …" if len(failed) > 10 else "")
        return (Finding("warn", "pages_failed", f"{many}: {said}", todo="check these addresses"),)

    count = 1 if len(addresses) == 1 else None
    return Source(name, rows, count=count, findings=findings)


def _tried(address: str) -> Row | UserError:
    try:
        return page(address)
    except UserError as error:
        return error


def page(address: str) -> Row:
    """A page's clean text with its address and title. UserError: it cannot be fetched or holds no text."""
    path = fetch(address)
    if path.suffix in (".txt", ".md"):
        return {"text": path.read_text(encoding="utf-8", errors="replace"), "url": address, "title": ""}
    if path.suffix != ".html":
        raise UserError(
            f"{address} is no page", f"it is a {path.suffix[1:]} file", "give it as a source of its own"
        )
    kept = path.with_suffix(".row.json")
    if kept.exists() and kept.stat().st_mtime >= path.stat().st_mtime:
        row: Row = json.loads(kept.read_text(encoding="utf-8"))
        return row
    row = {"text": "", "url": address, "title": ""} | _extracted(path.read_bytes(), address)
    part = kept.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(row), encoding="utf-8")
    part.replace(kept)
    return row


def _extracted(body: bytes, address: str) -> Row:
    try:
        import trafilatura
    except ImportError:
        raise missing("trafilatura lxml_html_clean", f"reading {address}") from None
    found = trafilatura.bare_extraction(body, url=address, with_metadata=True, include_comments=False)
    text = ((getattr(found, "text", None) if found else None) or "").strip()
    if not text:
        raise UserError(
            f"{address} holds no text", "it may be made by scripts in the browser", "save it as text"
        )
    title = getattr(found, "title", None) or ""
    return {"text": text, "title": html.unescape(title)}


def fetch(address: str) -> Path:
    """The file in which what lies at an address is kept; its suffix says what it is.

    An older copy serves where the network does not. UserError: no answer, refused, or too large.
    """
    folder = cache("web") / hashlib.sha256(address.encode()).hexdigest()[:24]
    folder.mkdir(exist_ok=True)
    older = [path for path in folder.iterdir() if path.stem == "content" or path.name.startswith("content.")]
    older = [path for path in older if not path.name.endswith((".row.json", ".part"))]
    if older and time.time() - older[0].stat().st_mtime < KEPT:
        return older[0]
    try:
        path = _download(address, folder)
    except (urllib.error.URLError, OSError, ValueError) as error:
        if older and not isinstance(error, urllib.error.HTTPError):
            return older[0]
        raise _failed(address, error) from None
    for other in older:
        if other != path:
            other.unlink(missing_ok=True)
    return path


def _download(address: str, folder: Path) -> Path:
    request = urllib.request.Request(address, headers={"User-Agent": AGENT, "Accept": "*/*"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        name = urllib.parse.urlsplit(address).path.rsplit("/", 1)[-1]
        begin = answer.read(1 << 16)
        suffix = _suffix(name, answer.headers.get_content_type(), begin)
        if suffix is None:
            what = answer.headers.get_content_type()
            raise UserError(f"{address} cannot be read", f"it is {what}", "give a page or a data file")
        most = PAGE if suffix == ".html" else shutil.disk_usage(folder).free - SPARE
        size = int(answer.headers.get("Content-Length") or 0)
        part = folder / f"{os.getpid()}.part"
        try:
            with part.open("wb") as out:
                out.write(begin)
                for block in iter(partial(answer.read, 1 << 20), b""):
                    out.write(block)
                    if out.tell() > most:
                        break
            if max(part.stat().st_size, size) > most:
                why = (
                    f"it is larger than {most >> 20:,} MiB"
                    if suffix == ".html"
                    else "the disk has no room for it"
                )
                raise UserError(f"{address} is too large", why, "fetch it by other means and give the file")
            if size and part.stat().st_size < size:
                raise OSError(f"the connection broke off after {part.stat().st_size:,} of {size:,} bytes")
            return part.replace(folder / f"content{suffix}")
        finally:
            part.unlink(missing_ok=True)


def _suffix(name: str, content_type: str, begin: bytes) -> str | None:
    """What is to be read: by its first bytes if it is a page, by its name, or by what the server calls it."""
    looks = begin[:1_000].lstrip().lower()
    if looks.startswith((b"<!doctype html", b"<html")):
        kind = kind_of(name)
        if kind in (None, "text"):
            return ".html"
        what = f"{name} is a web page there, not a file"
        raise UserError(what, "the server answers with HTML", "give the address of the raw file")
    if kind_of(name) and kind_of(name) != "pages":
        return (
            "".join(Path(name).suffixes[-2:])
            if Path(name).suffix in (".gz", ".bz2", ".xz")
            else Path(name).suffix
        )
    return SUFFIX.get(content_type)


def _failed(address: str, error: Any) -> UserError:
    if isinstance(error, urllib.error.HTTPError):
        why = f"the server answers {error.code} {error.reason}"
    else:
        reason = getattr(error, "reason", None) or error
        why = "the server is silent" if isinstance(reason, TimeoutError) else f"no connection ({reason})"
    return UserError(f"{address} cannot be fetched", why, "check the address or the network", code=1)
