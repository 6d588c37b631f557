"""PDF and Word files as text, a row each, through pypdf and python-docx (`finetui[documents]`)."""

import io
from collections.abc import Iterator
from typing import Any

from core.data.sources.packed import DataFile
from core.data.sources.source import Row, Source
from core.errors import UserError


def open_document(file: DataFile) -> Source:
    """One row with the document's text.

    Pages of a PDF are parted by a blank line; of a Word file the paragraphs and tables are read in their
    order, a table's row as one line with tabs. UserError: it cannot be read or holds no text.
    """
    text = _pdf if file.inner.suffix.lower() == ".pdf" or file.inner.stem.lower().endswith(".pdf") else _docx

    def rows() -> Iterator[Row]:
        with file.open() as stream:
            yield {"text": text(io.BytesIO(stream.read()), file)}

    return Source(file.name, rows, file.size, 1, file.place)


def missing(package: str, what: str) -> UserError:
    """The error where a package that reads `what` is not installed."""
    return UserError(f"{what} needs {package}", "it is not installed", f"pip install {package}", code=1)


def _pdf(stream: Any, file: DataFile) -> str:
    try:
        import pypdf
    except ImportError:
        raise missing("pypdf", f"reading {file.name}") from None
    try:
        reader = pypdf.PdfReader(stream)
        if reader.is_encrypted and not reader.decrypt(""):
            raise UserError(f"{file.name} is encrypted", "it needs a password", "save it without one")
        pages = [page.extract_text().strip() for page in reader.pages]
    except UserError:
        raise
    except Exception as error:  # pypdf raises whatever a broken file makes its parser stumble over
        raise UserError(f"{file.name} cannot be read as PDF", str(error), "check the file") from None
    text = "\n\n".join(page for page in pages if page)
    if not text:
        count = f"{len(pages)} page{'' if len(pages) == 1 else 's'}"
        why = f"its {count} hold pictures only, as a scan does"
        raise UserError(
            f"{file.name} holds no text", why, "run text recognition over it, for instance ocrmypdf"
        )
    return text


def _docx(stream: Any, file: DataFile) -> str:
    try:
        import docx
    except ImportError:
        raise missing("python-docx", f"reading {file.name}") from None
    try:
        document = docx.Document(stream)
        parts = [
            "\n".join("\t".join(cell.text for cell in row.cells) for row in part.rows)
            if hasattr(part, "rows")
            else part.text
            for part in document.iter_inner_content()
        ]
    except Exception as error:  # zip, XML or a missing part, each with its own error
        raise UserError(f"{file.name} cannot be read as DOCX", str(error), "check the file") from None
    text = "\n\n".join(part for part in parts if part.strip())
    if not text:
        raise UserError(f"{file.name} holds no text", "it has no paragraph with words", "check the file")
    return text
