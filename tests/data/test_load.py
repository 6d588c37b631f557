"""Any file becomes rows, or one line that names the file and the place in it."""

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest

from core.data.load import load
from core.errors import UserError
from tests.data.conftest import write_jsonl

ROWS = [{"prompt": f"q{n}", "completion": f'a{n}\nwith, a; tab\t and "quotes"'} for n in range(3)]


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(str(path), **options)
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


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_the_same_rows_in_any_wrapping(name: str, packed: bool, tmp_path: Path) -> None:
    raw = SHAPES[name].encode()
    path = tmp_path / (name + ".gz" if packed else name)
    path.write_bytes(gzip.compress(raw) if packed else raw)
    assert load(str(path)).rows == ROWS


def test_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    turns = [{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(turns), tmp_path / "rows.parquet")
    assert load(str(tmp_path / "rows.parquet")).rows == turns
    (tmp_path / "no.parquet").write_bytes(b"not at all")
    assert "no.parquet is not a Parquet file" in refused(tmp_path / "no.parquet")


def test_utf16_and_text_and_strings(tmp_path: Path) -> None:
    (tmp_path / "wide.jsonl").write_text(json.dumps(ROWS[0], ensure_ascii=False), encoding="utf-16")
    assert load(str(tmp_path / "wide.jsonl")).rows == ROWS[:1]
    (tmp_path / "book.txt").write_text("one\r\n\r\ntwo\n")
    assert load(str(tmp_path / "book.txt")).rows == [{"text": "one\n\ntwo\n"}]
    (tmp_path / "strings.json").write_text('["one", "two"]')
    assert load(str(tmp_path / "strings.json")).rows == [{"text": "one"}, {"text": "two"}]


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
    "what.docx": ("PK", "what.docx is of a kind that cannot be read"),
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
    with pytest.raises(UserError, match="web address"):
        load("https://example.org/rows.jsonl")


def test_a_folder_holds_splits(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", ROWS)
    write_jsonl(tmp_path / "valid.jsonl", ROWS[:1])
    assert len(load(str(tmp_path)).rows) == 3
    assert len(load(str(tmp_path), "valid").rows) == 1
    assert "which is meant by the split test is not clear" in refused(tmp_path, split="test")
    (tmp_path / "none").mkdir()
    assert "holds no data file" in refused(tmp_path / "none")


def test_limit_takes_the_first_rows(tmp_path: Path) -> None:
    assert load(str(write_jsonl(tmp_path / "rows.jsonl", ROWS)), limit=2).rows == ROWS[:2]


def test_an_index_column_is_named_and_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",text\n0,x\n1,y\n")
    found = load(str(tmp_path / "a.csv"))
    assert found.rows == [{"text": "x"}, {"text": "y"}] and found.dropped_column == ""
    (tmp_path / "b.csv").write_text(",text\nx,y\n")
    assert load(str(tmp_path / "b.csv")).rows == [{"": "x", "text": "y"}]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A Hub that answers; what it holds is for the test to say."""
    import huggingface_hub

    class Alive:
        def dataset_info(self, *args: Any, **kwargs: Any) -> None:
            pass

    monkeypatch.setattr(huggingface_hub, "HfApi", Alive)
    return monkeypatch


def test_a_dataset_of_the_hub(hub: pytest.MonkeyPatch) -> None:
    import datasets

    asked = []

    def load_dataset(name: str, split: str) -> Any:
        asked.append((name, split))
        return datasets.Dataset.from_list(ROWS)

    hub.setattr(datasets, "load_dataset", load_dataset)
    assert load("someone/some-rows", "test[:3]").rows == ROWS
    assert asked == [("someone/some-rows", "test[:3]")]


def test_what_the_hub_refuses(hub: pytest.MonkeyPatch) -> None:
    import datasets

    missing = datasets.exceptions.DatasetNotFoundError
    for error, said in (
        (missing("Dataset 'a/b' doesn't exist on the Hub or cannot be accessed."), "neither a file here nor"),
        (
            missing("Dataset 'a/b' is a gated dataset on the Hub."),
            "accept them at https://huggingface.co/data",
        ),
        (ValueError("Unknown split \"train\". Should be one of ['test']."), "Should be one of ['test']"),
        (ConnectionError("reset"), "the Hub does not answer"),
    ):

        def load_dataset(name: str, split: str, error: Exception = error) -> Any:
            raise error

        hub.setattr(datasets, "load_dataset", load_dataset)
        with pytest.raises(UserError) as caught:
            load("a/b")
        assert said.lower() in caught.value.line().lower()


def test_no_network_is_said_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    class Dead:
        def dataset_info(self, *args: Any, **kwargs: Any) -> None:
            raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "HfApi", Dead)
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        load("someone/some-rows")
    assert "the Hub does not answer" in caught.value.line() and caught.value.code == 1
    assert time.monotonic() - started < 20  # importing datasets is the most of it


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
        assert len(load(str(path)).rows) == expected
