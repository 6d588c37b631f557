"""Data sets of the Hub and folders that datasets saved, without a network."""

import time
from pathlib import Path
from typing import Any

import pytest

from core.data.sources import Source, hub, open_source
from core.errors import UserError
from core.spec import SourceSpec

ROWS = [{"prompt": f"q{n}", "completion": f"a{n}"} for n in range(10)]


def opened(source: str | Path, **options: Any) -> Source:
    return open_source(SourceSpec(source=str(source), **options))


def refused(source: str | Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        list(opened(source, **options).rows())
    line = caught.value.line()
    assert "\n" not in line and caught.value.todo
    return line


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A Hub that answers: its data set someone/rows is a folder here with two splits."""
    import datasets

    folder = tmp_path / "rows"
    folder.mkdir()
    for name, some in (("train", ROWS), ("validation", ROWS[:2])):
        datasets.Dataset.from_list(some).to_json(folder / f"{name}.jsonl")
    load, builder = datasets.load_dataset, datasets.load_dataset_builder

    def here(name: str) -> str:
        if name != "someone/rows":
            raise datasets.exceptions.DatasetNotFoundError(f"Dataset '{name}' doesn't exist on the Hub")
        return str(folder)

    monkeypatch.setattr(hub, "_reach", lambda name: None)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(
        datasets,
        "load_dataset",
        lambda name, config=None, **more: load(here(name), config, cache_dir=str(tmp_path / "cache"), **more),
    )
    monkeypatch.setattr(
        datasets, "load_dataset_builder", lambda name, config=None: builder(here(name), config)
    )
    return folder


def test_a_dataset_of_the_hub(online: Path) -> None:
    found = opened("someone/rows")
    assert list(found.rows()) == ROWS and found.count == 10
    assert found.splits == ("train", "validation") and found.eval == "validation"
    assert found.row(7) == ROWS[6] and found.row(11) is None
    assert list(opened("https://huggingface.co/datasets/someone/rows", split="validation").rows()) == ROWS[:2]


@pytest.mark.parametrize("stream", [False, True], ids=["mapped", "streamed"])
def test_part_of_a_dataset(stream: bool, online: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "LARGE", -1 if stream else 1 << 40)
    found = opened("someone/rows", split="train[2:9]", limit=3)
    assert list(found.rows()) == ROWS[2:5] and found.row(2) == ROWS[3] and found.row(4) is None
    assert list(opened("someone/rows", split="train[50%:]").rows()) == ROWS[5:]


def test_what_the_hub_does_not_have(online: Path) -> None:
    assert "neither a file here nor a dataset" in refused("someone/no-rows")
    assert "has no split test: it has train, validation" in refused("someone/rows", split="test")
    assert "no such configuration: it has default" in refused("someone/rows", config="german")


def test_a_missing_configuration_is_answered_with_their_names(online: Path) -> None:
    (online / "README.md").write_text(
        "---\nconfigs:\n- config_name: main\n  data_files: train.jsonl\n"
        "- config_name: socratic\n  data_files: validation.jsonl\n---\n"
    )
    line = refused("someone/rows")
    assert "has several configurations: it has main, socratic. Name one of them as config" in line
    assert list(opened("someone/rows", config="socratic").rows()) == ROWS[:2]


def test_a_gated_one_and_one_without_a_network(online: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    for error, said in (
        (
            datasets.exceptions.DatasetNotFoundError("Dataset 'a/b' is a gated dataset."),
            "accept them at https://",
        ),
        (ConnectionError("reset"), "the Hub does not answer"),
        (OSError(28, "No space left on device"), "the disk is full"),
        (RuntimeError("Dataset scripts are no longer supported"), "no longer supported"),
    ):

        def load_dataset(*given: Any, error: Exception = error, **named: Any) -> Any:
            raise error

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        assert said.lower() in refused("a/b").lower()


def test_no_network_is_said_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    class Dead:
        def dataset_info(self, *args: Any, **kwargs: Any) -> None:
            raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "HfApi", Dead)
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        opened("someone/some-rows")
    assert "the Hub does not answer" in caught.value.line() and caught.value.code == 1
    assert time.monotonic() - started < 20  # importing datasets is the most of it


def test_a_folder_that_datasets_saved(tmp_path: Path) -> None:
    import datasets

    one = datasets.Dataset.from_list(ROWS)
    one.save_to_disk(tmp_path / "one")
    assert list(opened(tmp_path / "one").rows()) == ROWS
    both = datasets.DatasetDict({"train": one, "valid": one.select(range(2))})
    both.save_to_disk(tmp_path / "both")
    found = opened(tmp_path / "both", split="train[-3:]")
    assert list(found.rows()) == ROWS[-3:] and found.row(2) == ROWS[-2] and found.count == 3
    assert found.splits == ("train", "valid") and found.eval == "valid"
    assert list(opened(tmp_path / "both", split="valid").rows()) == ROWS[:2]
    assert "both has no split test: it has train, valid" in refused(tmp_path / "both", split="test")


def test_pictures_stay_as_they_are_stored(tmp_path: Path) -> None:
    """Decoding them would want further packages, and no row of text needs it."""
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "image": datasets.Image()})
    table = datasets.Dataset.from_list([{"text": "a", "image": None}], features=features)
    table.save_to_disk(tmp_path / "seen")
    assert list(opened(tmp_path / "seen").rows()) == [{"text": "a", "image": None}]
