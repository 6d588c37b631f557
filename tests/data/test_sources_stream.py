"""A pass holds a part of a file, not the file; any row is found; nothing is lost at any boundary."""

import csv
import gzip
import json
import random
import tracemalloc
import zipfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from core.data.sources import Row, Source, json_values, json_window, lines, open_source, texts
from core.errors import UserError
from core.spec import SourceSpec

WORDS = ["a", "ß", "語", "\U0001f600", '"', "\\", "\n", "{", "]", ",", "e\u0301", "\u2028", " "]


def opened(path: Path, **options: Any) -> Source:
    return open_source(SourceSpec(source=str(path), **options))


def made(count: int, seed: int = 0) -> list[Row]:
    """Rows of any length, from none to some hundred characters, with whatever a scanner may stumble over."""
    some = random.Random(seed)
    return [
        {"n": n, "text": "".join(some.choices(WORDS, k=int(some.paretovariate(0.7)) % 300))}
        for n in range(count)
    ]


def table(rows: list[Row], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["n", "text"], lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)


def parquet(rows: list[Row], path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=700)


def arrow(rows: list[Row], path: Path, stream: bool = False, codec: str | None = None) -> None:
    import pyarrow

    found = pyarrow.Table.from_pylist(rows)
    options = pyarrow.ipc.IpcWriteOptions(compression=codec)
    opener = pyarrow.ipc.new_stream if stream else pyarrow.ipc.new_file
    with opener(str(path), found.schema, options=options) as writer:
        writer.write_table(found, max_chunksize=700)


def text(parts: list[str]) -> Callable[[list[Row], Path], None]:
    before, between, after = parts

    def write(rows: list[Row], path: Path) -> None:
        said = (json.dumps(row, ensure_ascii=False) for row in rows)
        path.write_text(before + between.join(said) + after, encoding="utf-8")

    return write


def pretty(rows: list[Row], path: Path) -> None:
    said = (json.dumps(row, ensure_ascii=False, indent=2) for row in rows)
    path.write_text("\ufeff" + ",\n".join(said), encoding="utf-8")


KINDS: dict[str, tuple[str, Callable[..., None]]] = {
    "lines": ("rows.jsonl", text(["", "\n", "\n"])),
    "list": ("rows.json", text(["[", ", \n", "]\n"])),
    "one line": ("rows.json", text(["[", ",", "]"])),
    "pretty": ("rows.json", pretty),
    "nested": (
        "rows.json",
        text(['{"about": {"n": [1, 2]}, "valid": [{"n": 0}], "train": [', ",", '], "x": 1}']),
    ),
    "table": ("rows.csv", table),
    "parquet": ("rows.parquet", parquet),
    "arrow": ("rows.arrow", arrow),
    "arrow stream": ("rows.arrow", lambda rows, path: arrow(rows, path, stream=True)),
    "feather": ("rows.feather", lambda rows, path: arrow(rows, path, codec="zstd")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_row_is_found_before_and_after_a_pass(kind: str, tmp_path: Path) -> None:
    name, write = KINDS[kind]
    rows = made(3_500)
    write(rows, tmp_path / name)
    expected = [{"n": str(row["n"]), "text": row["text"]} for row in rows] if kind == "table" else rows
    found = opened(tmp_path / name)
    assert found.row(2_345) == expected[2_344]
    assert list(found.rows()) == expected
    assert found.place and found.place() == pytest.approx(found.size, rel=0.05)
    for number in (1, 999, 1_000, 1_001, 1_002, 2_000, 2_001, 3_500, 17):
        assert found.row(number) == expected[number - 1], number
    assert found.row(3_501) is None and list(found.start(3_499)) == expected[3_498:]
    assert found.count in (None, 3_500)


@pytest.mark.parametrize("kind", [*KINDS, "gzip", "zip"])
def test_the_number_of_rows_can_be_told_from_the_first(kind: str, tmp_path: Path) -> None:
    """Also when the pass was left: what was read ahead of the rows does not count."""
    name, write = KINDS.get(kind, KINDS["lines"])
    some = random.Random(0)
    write([{"n": n, "text": f"{some.getrandbits(2_000):x}"} for n in range(20_000)], tmp_path / name)
    path = tmp_path / name
    if kind == "gzip":
        path = tmp_path / "rows.jsonl.gz"
        path.write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    if kind == "zip":
        path = tmp_path / "rows.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(tmp_path / name, name)
    found = opened(path)
    assert found.place and found.size
    if found.count is not None:
        assert found.count == 20_000
        return
    passing = found.rows()
    for _ in range(1_000):
        next(passing)
    about = pytest.approx(20_000, rel=0.5 if kind == "feather" else 0.1)  # its batches are of 700 rows
    assert 1_000 * found.size / found.place() == about
    passing.close()  # type: ignore[attr-defined]
    assert 1_000 * found.size / found.place() == about


@pytest.mark.parametrize("step", [1, 7, 64])
@pytest.mark.parametrize("kind", ["list", "one line", "pretty", "nested"])
def test_a_window_may_end_anywhere(
    kind: str, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a character, an escape, a number or a word, also where no value is looked at whole."""
    monkeypatch.setattr(json_window, "STEP", step)
    monkeypatch.setattr(json_values, "SMALL", 64)
    name, write = KINDS[kind]
    rows = [
        *made(40, seed=step),
        {"n": -12.5e-7, "t": True, "f": False, "none": None, "text": "\ud83d\ude00\\u"},
    ]
    rows[-1]["text"] = "\u00e9\U0001f600"
    write(rows, tmp_path / name)
    assert list(opened(tmp_path / name).rows()) == rows


@pytest.mark.parametrize("kind", ["list", "pretty"])
def test_a_mistake_far_into_a_file_is_named_by_its_line(kind: str, tmp_path: Path) -> None:
    name, write = KINDS[kind]
    write(made(5_000), tmp_path / name)
    raw = (tmp_path / name).read_text(encoding="utf-8")
    at = raw.index('"n": 4000') + 3
    (tmp_path / name).write_text(raw[:at] + raw[at + 1 :], encoding="utf-8")
    line = raw.count("\n", 0, at) + 1
    found = opened(tmp_path / name)
    assert len(list(islice(found.rows(), 3_000))) == 3_000
    with pytest.raises(UserError) as caught:
        list(found.rows())
    assert f"{name} line {line} is not JSON: expecting ':' delimiter" in caught.value.line()
    cut = raw[: raw.index('"n": 3000')]
    (tmp_path / name).write_text(cut, encoding="utf-8")
    with pytest.raises(UserError, match="is not JSON"):
        list(opened(tmp_path / name).rows())


def test_a_broken_line_in_the_middle_of_a_pass(tmp_path: Path) -> None:
    rows = [json.dumps(row) for row in made(2_000)]
    rows[1_500] = rows[1_500][:-2]
    rows[1_600] = "[1]"
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(rows))
    passing = opened(path).rows()
    assert len(list(islice(passing, 1_500))) == 1_500
    with pytest.raises(UserError, match=r"rows.jsonl line 1501 is not JSON: "):
        next(passing)
    rows[1_500] = ""
    path.write_text("\n".join(rows))
    with pytest.raises(UserError, match=r"row 1600 is no row: it is \[1\]"):
        list(opened(path).rows())


def test_a_broken_byte_far_into_a_file(tmp_path: Path) -> None:
    for name, write in (KINDS["lines"], KINDS["list"], KINDS["table"]):
        rows = [{"n": n, "text": "plain"} for n in range(9_000)]
        write(rows, tmp_path / name)
        raw = (tmp_path / name).read_bytes()
        at = raw.rindex(b"plain")
        (tmp_path / name).write_bytes(raw[:at] + b"\xe9" + raw[at + 1 :])
        with pytest.raises(UserError) as caught:
            list(opened(tmp_path / name).rows())
        line = raw.count(b"\n", 0, at) + 1
        assert f"{name} is not UTF-8 text: line {line} holds the byte 0xe9" in caught.value.line()


@pytest.mark.parametrize("kind", KINDS)
def test_a_pass_does_not_hold_the_file(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_values, "SMALL", 1 << 18)
    name, write = KINDS[kind]
    path = tmp_path / name
    write([{"n": n, "text": f"{n} " * 200} for n in range(9_000)], path)
    tracemalloc.start()
    found = opened(path)
    assert sum(1 for _ in found.rows()) == 9_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20, f"{peak >> 20} MiB"  # of 9 MiB


def test_a_line_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (lines, json_window):
        monkeypatch.setattr(module, "LONGEST", 1 << 20)
    monkeypatch.setattr(json_values, "SMALL", 1 << 19)
    monkeypatch.setattr(json_window.Window.take, "__defaults__", (1 << 20,))
    long = json.dumps({"text": "x" * (2 << 20)})
    (tmp_path / "rows.jsonl").write_text(f'{{"text": "y"}}\n{long}\n')
    with pytest.raises(UserError, match="line 2 is longer than 1 MiB"):
        list(opened(tmp_path / "rows.jsonl").rows())
    (tmp_path / "rows.json").write_text(f'[{{"text": "y"}},\n{long}]')
    with pytest.raises(UserError, match="line 2 begins a value longer than"):
        list(opened(tmp_path / "rows.json").rows())
    (tmp_path / "one.json").write_text(json.dumps({"a": "b", "c": "x" * (2 << 20)}))
    with pytest.raises(UserError, match="line 1 begins a value longer than"):
        opened(tmp_path / "one.json")


def test_one_object_too_large_to_be_looked_at_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_values, "SMALL", 1_000)
    path, some = tmp_path / "one.json", made(300)
    path.write_text(json.dumps({"about": ["x"], "mine": some, "turns": [{"role": "user"}] * 99}))
    assert list(opened(path).rows()) == some
    path.write_text(json.dumps({"turns": [{"role": "user"}] * 999, "text": "x" * 9_999}))
    assert len(list(opened(path).rows())) == 1
    path.write_text(json.dumps({"mine": some, "yours": some}))
    with pytest.raises(UserError, match="which of its lists is meant is not clear: mine, yours"):
        opened(path)


# ---- tables ----


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ('a,b\n1,say "hi" now\n2,"x" y\n3,z\n', [["1", 'say "hi" now'], ["2", "x y"], ["3", "z"]]),
        ('a,b\n1,"two\n\nlines, ""quoted"""\n\n2,x', [["1", 'two\n\nlines, "quoted"'], ["2", "x"]]),
        ("a,b\r1,x\r2,y\r", [["1", "x"], ["2", "y"]]),
        ('a,b\r\n1,"x\ry"\r\n2,z\r\n', [["1", "x\ny"], ["2", "z"]]),
        (
            'a,b\n1,"x"y\n2,"long"er\n\n3,"and, ""so"" on"\n',
            [["1", "xy"], ["2", "longer"], ["3", 'and, "so" on']],
        ),
    ],
)
def test_quotes_and_line_ends_of_tables(content: str, rows: list[list[str]], tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content.encode())
    assert [list(row.values()) for row in opened(path).rows()] == rows


def test_a_quote_that_is_never_closed_is_refused_not_swallowed(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('a,b\n1,x\n2,"y\n' + "3,z\n" * 3_000)
    with pytest.raises(UserError, match="is not a table's row"):
        list(opened(path).rows())


# ---- plain text ----


def test_a_large_text_is_read_in_pieces_that_join_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "WHOLE", 1_000)
    monkeypatch.setattr(texts, "PIECE", 500)
    monkeypatch.setattr(texts, "MOST", 1_000)
    some = random.Random(1)
    for ends in ("\n\n", "\n", " "):
        whole = ends.join("語 " * some.randrange(200) for _ in range(80)) + "x" * 3_000 + "\n\nend"
        path = tmp_path / "book.txt"
        path.write_text(whole, encoding="utf-8")
        found = opened(path)
        pieces = [row["text"] for row in found.rows()]
        assert "".join(pieces) == whole and len(pieces) > 10
        assert max(map(len, pieces)) <= 1_000
        assert [finding.code for finding in found.findings()] == ["text_pieces"]
        for number in (2, 5, len(pieces)):
            assert found.row(number) == {"text": pieces[number - 1]}
        if ends == "\n\n":
            assert all(piece.endswith("\n\n") for piece in pieces[:20])


def test_a_small_text_is_one_row(tmp_path: Path) -> None:
    (tmp_path / "note.md").write_bytes(b"\xef\xbb\xbf# one\r\n\r\ntwo\n")
    assert list(opened(tmp_path / "note.md").rows()) == [{"text": "# one\n\ntwo\n"}]
    assert opened(tmp_path / "note.md").findings() == ()


# ---- slices ----


@pytest.mark.parametrize(
    ("split", "start", "stop"),
    [
        ("train", 0, 10),
        ("train[:4]", 0, 4),
        ("train[3:]", 3, 10),
        ("train[3:5]", 3, 5),
        ("train[-3:]", 7, 10),
        ("train[:-3]", 0, 7),
        ("train[10%:50%]", 1, 5),
        ("train[-20%:]", 8, 10),
        ("train[: 15]", 0, 10),
    ],
)
def test_slices(split: str, start: int, stop: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"n": n} for n in range(10)]
    path.write_text("\n".join(map(json.dumps, rows)))
    found = opened(path, split=split)
    assert list(found.rows()) == rows[start:stop]
    assert found.row(2) == rows[start + 1] and found.row(stop - start + 1) is None


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("train[20:]", "of rows.jsonl is empty"),
        ("train[3]", "cannot be read"),
        ("train[:x]", "cannot be read"),
        ("train[:120%]", "more than all"),
        ("test", "rows.jsonl has no split test: a file is one split"),
    ],
)
def test_slices_that_are_none(split: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"n": 1}\n{"n": 2}\n')
    with pytest.raises(UserError) as caught:
        opened(tmp_path / "rows.jsonl", split=split)
    assert said in caught.value.line()
