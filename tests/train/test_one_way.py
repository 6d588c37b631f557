"""What the command shows, what the wizard asks for and what the worker trains on are one: ids and mask."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from core.cli.app import main as finetui
from core.data.viewer import Viewer
from core.job import run_job
from core.train import trainer, worker
from core.train.batches import IGNORED
from tests.train.conftest import Make
from tui import find_out
from tui.journey import Journey

TALKS = [
    [("system", "Be kind."), ("user", "What colour is the sky?"), ("assistant", "The sky is blue.")],
    [
        ("user", "What colour is the grass?"),
        ("assistant", "The grass is green."),
        ("user", "And the snow in winter?"),
        ("assistant", "The snow is white, and it is cold."),
    ],
]
LENGTH = 48


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    path = tmp_path / "talks.jsonl"
    rows = [{"messages": [{"role": role, "content": said} for role, said in talk]} for talk in TALKS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def trained(example: dict[str, Any]) -> tuple[list[int], list[int]]:
    """Ids, and the labels that a trainer makes of what is learned."""
    kept = [token for token in example["tokens"] if not token["cut"]]
    ids = [token["id"] for token in kept]
    marks = [token["learned"] for token in kept]
    labels = [
        one if place and mark else IGNORED for place, (one, mark) in enumerate(zip(ids, marks, strict=True))
    ]
    return ids, labels


def test_command_wizard_view_and_first_batch_have_the_same_ids_and_mask(
    make_run: Make,
    tiny: Path,
    talks: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    by_command = []
    for row in (1, 2):
        call = ["data", str(talks), "--model", str(tiny), "--template", "chatml", "--length", str(LENGTH)]
        assert finetui([*call, "--eval", "0", "--row", str(row), "--json"]) == 0
        by_command.append(trained(json.loads(capsys.readouterr().out)["example"]))
    assert len(by_command[1][0]) == LENGTH, "the second row is cut"

    journey = Journey()
    for key, value in (
        ("model", str(tiny)),
        ("data.source", str(talks)),
        ("data.eval", 0.0),
        ("template", "chatml"),
        ("length", LENGTH),
    ):
        assert not find_out.choose(journey, key, value)
    by_wizard = [
        trained(run_job("core.data.inspect", {**find_out.data_request(journey), "row": row})["example"])
        for row in (0, 1)
    ]

    async def viewed() -> list[Any]:
        async with Viewer() as viewer:
            await viewer.open(find_out.data_request(journey))
            return [trained((await viewer.row(row))["example"]) for row in (1, 2)]

    batches: list[Any] = []
    collate = trainer.collate

    def seen(rows: Any, **how: Any) -> Any:
        batches.append((rows, collate(rows, **how)))
        return batches[-1][1]

    monkeypatch.setattr(trainer, "collate", seen)
    run = make_run(
        "one-way",
        data={"source": str(talks), "eval": 0.0},
        length=LENGTH,
        batch=2,
        steps=1,
        evaluate={"every": 1},
    )
    assert worker.work(run) == 0
    rows, first = batches[0]
    by_worker = [
        (ids[: len(row["input_ids"])].tolist(), labels[: len(row["input_ids"])].tolist())
        for ids, labels, row in zip(first["input_ids"], first["labels"], rows, strict=True)
    ]
    assert by_command == by_wizard == asyncio.run(viewed()) == sorted(by_worker, key=by_command.index)
