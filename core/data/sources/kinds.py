"""Which files are sources of rows, told by their names and first bytes."""

from pathlib import PurePath

KINDS = {
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "table",
    ".tsv": "table",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".markdown": "text",
    ".pdf": "document",
    ".docx": "document",
    ".urls": "pages",
}
READABLE = "JSON, JSONL, CSV, TSV, Parquet, Arrow, text, Markdown, PDF or DOCX, also packed by gzip or zip"
PACKED = (".gz", ".bz2", ".xz")
PROSE = ("text", "document")
"""Kinds of which a folder gives a row a file."""

MARKS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}


def kind_of(path: PurePath | str) -> str | None:
    """json, table, parquet, arrow, text, document, pages or zip by the name; None: not a data file's name.

    It looks through .gz, .bz2 and .xz.
    """
    path = PurePath(path)
    if path.suffix.lower() in PACKED:
        path = path.with_suffix("")
    return "zip" if path.suffix.lower() == ".zip" else KINDS.get(path.suffix.lower())
