"""Folders and zips: which of their files are meant, and which is there to be held out."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from core.data.reading import open_held_out
from core.data.sources import Source, open_source
from core.errors import UserError
from core.spec import DataSpec, SourceSpec
from tests.data.conftest import write_jsonl

ROWS = [{"prompt": f"q{n}", "completion": f"a{n}"} for n in range(6)]


def opened(path: Path, **options: Any) -> Source:
    return open_source(SourceSpec(source=str(path), **options))


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        list(opened(path, **options).rows())
    line = caught.value.line()
    assert "\n" not in line and caught.value.todo
    return line


def test_a_folder_holds_splits(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", ROWS)
    write_jsonl(tmp_path / "valid.jsonl", ROWS[:1])
    (tmp_path / "README.md").write_text("about")
    (tmp_path / ".hidden.jsonl").write_text("")
    found = opened(tmp_path)
    assert list(found.rows()) == ROWS and found.name == "train.jsonl"
    assert found.splits == ("train", "valid") and found.eval == "valid"
    assert list(opened(tmp_path, split="valid").rows()) == ROWS[:1]
    assert list(opened(tmp_path, split="validation[:1]").rows()) == ROWS[:1]
    assert "which is meant by the split test is not clear" in refused(tmp_path, split="test")
    write_jsonl(tmp_path / "test_socratic.jsonl", ROWS[:2])
    assert len(list(opened(tmp_path, split="test_socratic").rows())) == 2
    assert len(list(opened(tmp_path, split="test").rows())) == 2
    write_jsonl(tmp_path / "test.jsonl", ROWS[:3])
    assert len(list(opened(tmp_path, split="test").rows())) == 3


def test_what_is_no_folder_of_data(tmp_path: Path) -> None:
    assert "holds no data file" in refused(tmp_path)
    (tmp_path / "README.txt").write_text("about")
    assert "holds no data file" in refused(tmp_path)
    write_jsonl(tmp_path / "one.jsonl", ROWS)
    (tmp_path / "two.csv").write_text("a,b\n1,2\n")
    assert "holds 2 data files: one.jsonl, two.csv; which" in refused(tmp_path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rows.jsonl")
    assert "is neither a file nor a folder" in refused(tmp_path / "rows.jsonl")
    assert "holds no data file" in refused(tmp_path)


def test_one_file_without_a_split_in_its_name(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "mine.jsonl", ROWS)
    assert list(opened(tmp_path).rows()) == ROWS
    assert "mine.jsonl has no split test" in refused(tmp_path, split="test")


def test_a_split_beside_a_single_file_is_offered(tmp_path: Path) -> None:
    train = write_jsonl(tmp_path / "my_train.jsonl", ROWS)
    assert opened(train).eval is None
    test = write_jsonl(tmp_path / "my_test.jsonl", ROWS)
    assert opened(train).eval == str(test) and opened(test).eval is None
    valid = write_jsonl(tmp_path / "my_val.jsonl", ROWS)
    assert opened(train).eval == str(valid)
    (tmp_path / "both.json").write_text(json.dumps({"dev": ROWS[:1], "train": ROWS}))
    found = opened(tmp_path / "both.json")
    assert list(found.rows()) == ROWS and (found.splits, found.eval) == (("dev", "train"), "dev")
    assert list(opened(tmp_path / "both.json", split="validation").rows()) == ROWS[:1]
    assert "both.json has no split test: it has dev, train" in refused(tmp_path / "both.json", split="test")


def test_the_file_to_hold_out_is_read_whole_whatever_slice_is_trained_on(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", ROWS)
    valid = write_jsonl(tmp_path / "valid.jsonl", ROWS[:5])
    train = tmp_path / "train.jsonl"
    apart = open_held_out(DataSpec(source=str(train), split="train[:2]", eval=str(valid)))
    assert apart and len(list(apart.source.rows())) == 5
    apart = open_held_out(DataSpec(source=str(tmp_path), split="train[:2]", eval="valid[1:]"))
    assert apart and len(list(apart.source.rows())) == 4


def test_shards_are_one_table(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    for part in range(3):
        some = pyarrow.Table.from_pylist(ROWS[2 * part : 2 * part + 2])
        pyarrow.parquet.write_table(some, tmp_path / f"train-0000{part}-of-00003.parquet")
    pyarrow.parquet.write_table(some, tmp_path / "test-00000-of-00001.parquet")
    found = opened(tmp_path)
    assert list(found.rows()) == ROWS and found.count == 6 and found.eval == "test"
    assert [found.row(number) for number in (1, 2, 3, 6, 7)] == [*ROWS[:3], ROWS[5], None]
    assert found.place and found.place() == found.size


def test_files_of_one_kind_without_splits_are_one_table_where_their_columns_agree(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", ROWS[:4])
    write_jsonl(tmp_path / "b.jsonl.gz", ROWS[4:])
    found = opened(tmp_path)
    assert found.row(5) == ROWS[4] and list(found.rows()) == ROWS and found.row(6) == ROWS[5]
    write_jsonl(tmp_path / "c.jsonl", [{"text": "x"}])
    line = refused(tmp_path)
    assert "their columns differ: a.jsonl has prompt, completion, c.jsonl has text" in line
    (tmp_path / "c.jsonl").unlink()
    (tmp_path / "a.json").write_text(json.dumps(ROWS))
    assert "holds 3 data files" in refused(tmp_path)  # a.json and a.jsonl may well be the same rows


def test_folders_within_a_folder(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("about")
    for split, some in (("train", ROWS), ("validation", ROWS[:1])):
        (tmp_path / "data" / split).mkdir(parents=True)
        write_jsonl(tmp_path / "data" / split / "0000.jsonl", some)
    found = opened(tmp_path)
    assert list(found.rows()) == ROWS and found.eval == "validation"
    assert list(opened(tmp_path, split="validation").rows()) == ROWS[:1]
    assert list(opened(tmp_path, config="data").rows()) == ROWS


def test_a_folder_of_documents_gives_a_row_a_file(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a.md", "b.txt", "test.md", "train-times.md"):
        (tmp_path / name).write_text(f"about {name}")
    found = opened(tmp_path)
    names = ["a.md", "b.txt", "test.md", "train-times.md"]
    assert list(found.rows()) == [{"text": f"about {name}", "file": name} for name in names]
    assert found.row(3) == {"text": "about test.md", "file": "test.md"}
    (tmp_path / "README.md").write_text("first of all")
    (tmp_path / "b.txt").unlink()
    assert len(list(opened(tmp_path).rows())) == 4  # among notes alone, the readme is one of them
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    assert "which is meant" in refused(tmp_path)


def test_zips(tmp_path: Path) -> None:
    path = tmp_path / "rows.zip"

    def write(files: dict[str, str]) -> Path:
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        return path

    lines = ["".join(json.dumps(row) + "\n" for row in some) for some in (ROWS[:4], ROWS[4:])]
    assert list(opened(write({"a.jsonl": lines[0], "b.jsonl": lines[1]})).rows()) == ROWS
    both = write({"x/train.jsonl": lines[0], "x/valid.jsonl": lines[1]})
    assert list(opened(both).rows()) == ROWS[:4] and opened(both).eval == "valid"
    assert list(opened(both, split="valid").rows()) == ROWS[4:]
    assert "which is meant" in refused(write({"a.jsonl": lines[0], "b.csv": "a,b\n1,2"}))
    assert "holds no data file" in refused(write({"a.exe": ""}))
    assert "is a zip within another" in refused(write({"a.zip": "PK"}))
    assert "rows.zip:a.jsonl line 2 is not JSON" in refused(write({"a.jsonl": '{"n": 1}\n{"n\n{"n": 3}'}))
    assert [row["file"] for row in opened(write({"x/a.txt": "x", "b.md": "y"})).rows()] == ["x/a.txt", "b.md"]


def test_a_locked_zip_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "rows.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rows.jsonl", '{"n": 1}\n')
    raw = bytearray(path.read_bytes())
    raw[6] |= 1  # the mark of encryption, in the member's head and in the list of members
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    assert "rows.zip is encrypted: rows.jsonl needs a password" in refused(path)


def test_parquet_and_arrow_within_a_zip(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.write(tmp_path / "rows.parquet", "rows.parquet")
    found = opened(tmp_path / "rows.zip")
    assert list(found.rows()) == ROWS and found.row(4) == ROWS[3]


SHARED = {
    "gsm8k": 7_473,
    "mlx-wikisql": 1_000,
    "mlx-wwdc25": 1_800,
    "hh-rlhf": 2_312,
    "minicpm": "which is meant by the split train is not clear",
    "litgpt": "which is meant by the split train is not clear",
    "llamafactory": "which is meant by the split train is not clear",
    "torchtune": "their columns differ",
}


@pytest.mark.parametrize("name", SHARED)
def test_real_folders(name: str, shared: Path) -> None:
    path, expected = shared / "data" / name, SHARED[name]
    if isinstance(expected, str):
        assert expected in refused(path)
    else:
        assert len(list(opened(path).rows())) == expected
