"""Any file becomes rows, or one line that names the file and the place in it."""

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.data.sources import Row, Source, open_source
from core.errors import UserError
from core.spec import SourceSpec
from tests.data.conftest import write_jsonl
from tests.test_light import heavy_after

ROWS = [{"prompt": f"q{n}", "completion": f'a{n}\nwith, a; tab\t and "quotes"'} for n in range(3)]


def opened(path: Path, **options: Any) -> Source:
    return open_source(SourceSpec(source=str(path), **options))


def rows_of(path: Path, **options: Any) -> list[Row]:
    return list(opened(path, **options).rows())


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        rows_of(path, **options)
    line = caught.value.line()
    assert "\n" not in line and "Traceback" not in line and caught.value.todo
    return line


def csv_text(separator: str, index: bool = False) -> str:
    def field(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    head = (
        ["", *ROWS[0]] if index else list(ROWS[0]),
        *([str(n)] * index + [*map(field, row.values())] for n, row in enumerate(ROWS)),
    )
    return "\n".join(separator.join(cells) for cells in head) + "\n"


SHAPES = {
    "list.json": json.dumps(ROWS),
    "lines.jsonl": "\n".join(map(json.dumps, ROWS)),
    "lines named.json": "\n\n".join(map(json.dumps, ROWS)) + "\n",
    "crlf.jsonl": "\r\n".join(map(json.dumps, ROWS)),
    "bom.jsonl": "\ufeff" + "\n".join(map(json.dumps, ROWS)),
    "pretty.jsonl": "\n".join(json.dumps(row, indent=2) for row in ROWS),
    "nested.json": json.dumps({"version": "1", "data": ROWS}),
    "pretty nested.json": json.dumps({"version": "1", "rows": ROWS}, indent=1),
    "splits.json": json.dumps({"validation": ROWS[:1], "train": ROWS}),
    "comma.csv": csv_text(","),
    "semicolon.csv": csv_text(";"),
    "tab.tsv": csv_text("\t"),
    "index.csv": csv_text(",", index=True),
}


PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("packing", ["", ".gz", ".bz2", ".xz", ".zip"])
def test_the_same_rows_in_any_wrapping(name: str, packing: str, tmp_path: Path) -> None:
    raw = SHAPES[name].encode()
    path = tmp_path / (name + packing)
    if packing == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("__MACOSX/._" + name, b"\0")
            archive.writestr("folder/" + name, raw)
    else:
        path.write_bytes(PACK[packing](raw))
    found = opened(path)
    assert list(found.rows()) == ROWS and found.row(2) == ROWS[1]
    assert found.place and found.size and found.place() <= found.size


def test_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    turns = [{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(turns), tmp_path / "rows.parquet")
    assert rows_of(tmp_path / "rows.parquet") == turns
    (tmp_path / "no.parquet").write_bytes(b"not at all")
    assert "no.parquet is not a Parquet file" in refused(tmp_path / "no.parquet")


def test_utf16_and_text_and_strings(tmp_path: Path) -> None:
    (tmp_path / "wide.jsonl").write_text(json.dumps(ROWS[0], ensure_ascii=False), encoding="utf-16")
    assert rows_of(tmp_path / "wide.jsonl") == ROWS[:1]
    (tmp_path / "book.txt").write_text("one\r\n\r\ntwo\n")
    assert rows_of(tmp_path / "book.txt") == [{"text": "one\n\ntwo\n"}]
    (tmp_path / "strings.json").write_text('["one", "two"]')
    assert rows_of(tmp_path / "strings.json") == [{"text": "one"}, {"text": "two"}]


BROKEN = {
    "line.jsonl": ('{"a": 1}\n{"a": 2}\n{"a": "b\n{"a": 4}\n', "line.jsonl line 3 is not JSON"),
    "lines.jsonl": ('{"a": 1}\nno\n{"a": 2}\nno\n', "line 2 is not JSON (and 1 more)"),
    "first.jsonl": ("{'a': 1}\n{\"a\": 2}\n", "line 1 is not JSON"),
    "list.json": ('[{"a": 1},\n {"a": 2},\n {"a" 3}]', "list.json line 3 is not JSON"),
    "pretty.json": ('{\n "a": 1\n}\n{\n "a": \n}\n', "pretty.json line 6 is not JSON"),
    "mixed.json": ('[{"a": 1}, "b"]', "mixed.json row 2 is no row"),
    "number.json": ("[1, 2]", "number.json row 1 is no row"),
    "prose.json": ("once upon a time", "prose.json is not JSON"),
    "registry.json": ('{"one": {"url": "x"}, "two": {"url": "y"}}', "registry.json holds no rows"),
    "empty.jsonl": ("", "empty.jsonl is empty"),
    "blank.txt": (" \n\n", "blank.txt is empty"),
    "none.json": ("[]", "none.json is empty"),
    "head.csv": ("a,b\n", "head.csv is empty"),
    "wide.csv": ("a,b\n1,2\n1,2,3\n", "wide.csv line 3 has 3 fields"),
    "open.csv": ('a,b\n1,2\n"1,2\n3,4\n', "is not a table's row"),
    "twice.csv": ("a,a\n1,2\n", "names a column twice"),
    "what.xls": ("PK", "what.xls is of a kind that cannot be read"),
    "what.docx": ("PK", "what.docx cannot be read as DOCX"),
    "what.pdf": ("%PDF-1.4", "what.pdf cannot be read as PDF"),
    "what.zip": ("PK", "what.zip is not a zip file"),
    "what.arrow": ("ARROW1", "what.arrow is not an Arrow file"),
    "note.urls": ("https://example.org\nexample.com\n", "'example.com' is no web address"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_one_line_for_what_is_broken(name: str, tmp_path: Path) -> None:
    content, said = BROKEN[name]
    (tmp_path / name).write_text(content)
    assert said in refused(tmp_path / name)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("a,b\n1,2\n1,caf\u00e9\n".encode("latin-1"))
    assert "latin.csv is not UTF-8 text: line 3 holds the byte 0xe9" in refused(tmp_path / "latin.csv")
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n' * 99)[:-9])
    assert "torn.jsonl.gz cannot be read" in refused(tmp_path / "torn.jsonl.gz")


def test_what_is_not_there(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", ROWS)
    assert f"Did you mean {tmp_path / 'train.jsonl'}" in refused(tmp_path / "trian.jsonl")
    assert "there is no folder" in refused(tmp_path / "no" / "train.jsonl")
    with pytest.raises(UserError, match="no configuration en"):
        opened(tmp_path / "train.jsonl", config="en")


def test_one_conversation_with_tools_is_one_row(tmp_path: Path) -> None:
    """Its tools are a list of objects too, but no rows."""
    row = {"tools": [{"type": "function"}], "messages": [{"role": "user", "content": "q"}]}
    (tmp_path / "one.jsonl").write_text(json.dumps(row) + "\n")
    assert rows_of(tmp_path / "one.jsonl") == [row]


def test_limit_takes_the_first_rows(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", ROWS)
    assert rows_of(path, limit=2) == ROWS[:2]
    assert rows_of(path, split="train[1:]", limit=1) == ROWS[1:2]


def test_an_index_column_is_named_and_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",text\n0,x\n1,y\n")
    found = opened(tmp_path / "a.csv")
    assert list(found.rows()) == [{"text": "x"}, {"text": "y"}] and found.dropped_column == ""
    (tmp_path / "b.csv").write_text(",text\nx,y\n")
    assert rows_of(tmp_path / "b.csv") == [{"": "x", "text": "y"}]


UGLY = {
    "bom_approved_schools.csv": 5384,
    "crlf_instr.jsonl": 20,
    "empty.jsonl": "is empty",
    "empty_array.json": "is empty",
    "empty_null_missing_nonstring_outputs.json": 20,
    "jsonl_named_json.json": 20,
    "mixed_schema.jsonl": 11,
    "nested_data_key.json": 10,
    "one_2MB_row.jsonl": 21,
    "one_bad_line.jsonl": "line 11 is not JSON",
    "pretty_printed_objects.jsonl": 10,
    "semicolon_instr.csv": 20,
    "unnamed_index_col.csv": 20,
    "utf8_bom_instr.jsonl": 20,
}


@pytest.mark.parametrize("name", UGLY)
def test_real_ugly_files(name: str, shared: Path) -> None:
    path, expected = shared / "data" / "ugly" / name, UGLY[name]
    if isinstance(expected, str):
        assert name in (line := refused(path)) and expected in line
    else:
        assert len(rows_of(path)) == expected


def test_opening_a_file_brings_nothing_heavy(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", ROWS)
    code = (
        "from core.data.sources import open_source; from core.spec import SourceSpec; "
        f"assert open_source(SourceSpec(source={str(tmp_path / 'rows.jsonl')!r})).row(3)"
    )
    assert heavy_after(code) == []
