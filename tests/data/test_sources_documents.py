"""PDF and Word files as text, and one line where there is none in them."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from core.data.sources import Source, open_source
from core.errors import UserError
from core.spec import SourceSpec

pytest.importorskip("pypdf", reason="needs pypdf, which finetui[documents] brings")
docx = pytest.importorskip("docx", reason="needs python-docx, which finetui[documents] brings")


def opened(path: Path, **options: Any) -> Source:
    return open_source(SourceSpec(source=str(path), **options))


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        opened(path)
    line = caught.value.line()
    assert "\n" not in line and caught.value.todo
    return line


def pdf(pages: list[str]) -> bytes:
    """A PDF with a line of text on each page, made by hand; "" is a page without any."""
    import pypdf
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = pypdf.PdfWriter()
    font = DictionaryObject(
        {NameObject(key): NameObject(value) for key, value in
         (("/Type", "/Font"), ("/Subtype", "/Type1"), ("/BaseFont", "/Helvetica"))}
    )  # fmt: skip
    for text in pages:
        page = writer.add_blank_page(300, 300)
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode() if text else b"")
        page[NameObject("/Contents")] = writer._add_object(stream)
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): writer._add_object(font)})}
        )
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_a_pdf_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "book.pdf").write_bytes(pdf(["one and one", "", "two"]))
    found = opened(tmp_path / "book.pdf")
    assert list(found.rows()) == [{"text": "one and one\n\ntwo"}] and found.count == 1


def test_a_scan_and_a_locked_pdf_are_said_to_be_so(tmp_path: Path) -> None:
    import pypdf

    (tmp_path / "scan.pdf").write_bytes(pdf(["", ""]))
    assert "scan.pdf holds no text: its 2 pages hold pictures only" in refused(tmp_path / "scan.pdf")
    writer = pypdf.PdfWriter(io.BytesIO(pdf(["secret"])))
    writer.encrypt("word", algorithm="RC4-128")
    writer.write(tmp_path / "locked.pdf")
    assert "locked.pdf is encrypted" in refused(tmp_path / "locked.pdf")


def test_a_word_file_keeps_the_order_of_paragraphs_and_tables(tmp_path: Path) -> None:
    document = docx.Document()
    document.add_heading("Title")
    table = document.add_table(rows=2, cols=2)
    for place, cell in enumerate(cell for row in table.rows for cell in row.cells):
        cell.text = f"c{place}"
    document.add_paragraph("")
    document.add_paragraph("End.")
    document.save(str(tmp_path / "note.docx"))
    assert list(opened(tmp_path / "note.docx").rows()) == [{"text": "Title\n\nc0\tc1\nc2\tc3\n\nEnd."}]
    docx.Document().save(str(tmp_path / "empty.docx"))
    assert "empty.docx holds no text" in refused(tmp_path / "empty.docx")


def test_a_folder_of_them(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf(["one"]))
    (tmp_path / "b.txt").write_text("two")
    assert [row["file"] for row in opened(tmp_path).rows()] == ["a.pdf", "b.txt"]


@pytest.mark.parametrize(("name", "module", "package"), [
    ("a.pdf", "pypdf", "pip install pypdf"), ("a.docx", "docx", "pip install python-docx"),
])  # fmt: skip
def test_a_missing_package_is_named(
    name: str, module: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(b"x")
    monkeypatch.setitem(sys.modules, module, None)
    line = refused(tmp_path / name)
    assert f"reading {name} needs" in line and line.lower().endswith(package)
