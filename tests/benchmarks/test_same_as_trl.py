"""Plain TRL and a run of ours see the same batches in the same order and learn the same; else it is seen."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from benchmarks import plain_trl, same_as_trl
from benchmarks.curves import Apart, Course, alike, bound, outside, refuse_other_rows
from core.errors import UserError
from core.runs.folder import RunFolder, create
from core.runs.history import replay
from core.spec import dump_spec, parse_spec
from core.train import worker

DEMO = Path(__file__).resolve().parents[2] / "core" / "demo"
STEPS = 5


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 rows of the demo's lesson: 5 steps of 8 rows are more than an epoch, whose last batch is smaller."""
    path = tmp_path_factory.mktemp("data") / "taught.jsonl"
    path.write_text("".join((DEMO / "taught.jsonl").read_text().splitlines(keepends=True)[:30]))
    return path


def run_of(where: Path, lines: Path, **changes: Any) -> RunFolder:
    folder = create(where, "run")
    spec = {
        "model": str(DEMO / "model"),
        "data": {"source": str(lines), "eval": 0.1},
        "method": "lora",
        "length": 64,
        "batch": 8,
        "accumulate": 1,
        "steps": STEPS,
        "learning_rate": 1e-3,
        "optimizer": "adamw",
        "recompute": 0,
        "precision": "fp32",
        "save": {"every": 1000},
        "evaluate": {"every": 1000},
        **changes,
    }
    folder.spec_file.write_text(dump_spec(parse_spec(spec), full=True))
    return folder


@pytest.mark.parametrize("packing", [False, True], ids=["unpacked", "packed"])
def test_both_sides_are_given_the_same_rows_at_every_step(
    packing: bool, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.train import trainer

    seen: list[str] = []
    given = trainer.collate

    def noting(examples: Any, *args: Any, **kwargs: Any) -> Any:
        documents = [row for one in examples for row in (one if isinstance(one, list) else [one])]
        seen.append(plain_trl.digest(row["input_ids"] for row in documents))
        return given(examples, *args, **kwargs)

    monkeypatch.setattr(trainer, "collate", noting)
    batch = 2 if packing else 8
    ours = run_of(tmp_path, lines, packing=packing, batch=batch, data={"source": str(lines), "eval": 0.0})
    assert worker.work(ours) == 0, replay(ours).error
    told = plain_trl.train(
        run_of(tmp_path, lines, packing=packing, batch=batch, data={"source": str(lines), "eval": 0.0}),
        "plain",
    )
    assert len(set(seen[:STEPS])) == STEPS
    assert seen[:STEPS] == told["seen"][:STEPS]
    assert [step.tokens for step in replay(ours).steps] == told["tokens"]
    assert told["held_out"] is None


def in_this_process(call: list[str], **_: Any) -> "subprocess.CompletedProcess[str]":
    module, path, *kind = call[call.index("-m") + 1 :]
    run = RunFolder(Path(path))
    if module == "core.train.worker":
        return subprocess.CompletedProcess(call, worker.work(run))
    (run.path / plain_trl.RESULT).write_text(json.dumps(plain_trl.train(run, kind[0])))
    return subprocess.CompletedProcess(call, 0)


class OneByOne(Executor):
    """Runs jobs in the main thread, as the worker wants it, which listens for signals."""

    def __init__(self, jobs: int):
        pass

    def submit(self, job: Any, *args: Any, **more: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(job(*args, **more))
        except UserError as error:
            future.set_exception(error)
        return future


def compared(lines: Path, out: Path, cells: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(same_as_trl.subprocess, "run", in_this_process)
    monkeypatch.setattr(same_as_trl, "ThreadPoolExecutor", OneByOne)
    call = ["same_as_trl", str(DEMO / "model"), str(lines), "--out", str(out), "--steps", str(STEPS)]
    more = ["--precision", "fp32", "--cells", cells, "--length", "64", "--batch", "8", "--eval", "0.1"]
    monkeypatch.setattr(sys, "argv", [*call, *more, "--jobs", "1"])
    return same_as_trl.main()


@pytest.mark.parametrize("cells", ["lora:1:packed", "full:0,0.5:unpacked"])
def test_a_run_learns_what_plain_trl_learns(
    cells: str,
    lines: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert compared(lines, tmp_path, cells, monkeypatch) == 0, capsys.readouterr().err
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    told = json.loads((tmp_path / "same.json").read_text())
    assert len(table) == 2 + len(told["noise"]) + len(told["cells"])
    for cell in told["cells"]:
        assert cell["apart"]["mean"] < 1e-5 and cell["outside"] == []
        assert cell["alike"] is None or cell["alike"] > 0.999
    assert all(len(course["losses"]) == STEPS for course in told["courses"].values())


def test_a_run_that_fails_leaves_the_other_groups(
    lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = same_as_trl.run

    def fails(job: same_as_trl.Job, *args: Any) -> Any:
        if (job.method, job.kind) == ("full", "math"):
            raise UserError("the run failed", "it ran out of memory", "give it more", code=1)
        return given(job, *args)

    monkeypatch.setattr(same_as_trl, "run", fails)
    assert compared(lines, tmp_path, "full,lora:0:unpacked", monkeypatch) == 1
    printed = capsys.readouterr()
    assert "ran out of memory" in printed.err and "1 of 1 cells are the same" in printed.out
    assert [cell["job"]["method"] for cell in json.loads((tmp_path / "same.json").read_text())["cells"]] == [
        "lora"
    ]


def test_an_adapter_of_half_the_strength_is_seen(
    lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from core.train import model

    given = model.with_adapters

    def weaker(loaded: Any, spec: Any, device: Any) -> Any:
        return given(
            loaded, spec.model_copy(update={"lora": spec.lora.model_copy(update={"alpha": 16.0})}), device
        )

    monkeypatch.setattr(model, "with_adapters", weaker)
    assert compared(lines, tmp_path, "lora:0:unpacked", monkeypatch) == 1
    assert "| no: " in capsys.readouterr().out


def test_an_adapter_that_began_elsewhere_is_seen(
    lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from core.train import model

    given = model.with_adapters

    def elsewhere(*args: Any) -> Any:
        torch.manual_seed(99)
        return given(*args)

    monkeypatch.setattr(model, "with_adapters", elsewhere)
    assert compared(lines, tmp_path, "lora:0:unpacked", monkeypatch) == 1
    assert "the adapter's beginning" in capsys.readouterr().out


def course(losses: list[float], tokens: list[int] | None = None, held_out: float | None = 1.0) -> Course:
    return Course(
        losses, [1.0] * len(losses), tokens or [10 * (at + 1) for at in range(len(losses))], held_out, {}
    )


def test_how_far_two_courses_lie_apart() -> None:
    apart = Apart.of(course([2.0, 1.0, 0.5]), course([2.0, 1.3, 0.5], held_out=1.1))
    assert (apart.first, apart.norm) == (0.0, 0.0)
    assert apart.mean == pytest.approx(0.1) and apart.largest == pytest.approx(0.3)
    assert apart.held_out == pytest.approx(0.1)
    assert Apart.most([apart, Apart(1, 0, 0, 0, 0)]).first == 1


def test_a_cell_may_be_as_far_as_twice_the_noise_and_no_farther() -> None:
    most = bound(Apart(first=0.01, mean=0.02, largest=0.1, norm=0.05, held_out=0.0), "bf16")
    assert outside(Apart(0.019, 0.039, 0.19, 0.09, 0.039), most) == []
    assert outside(Apart(0.021, 0.041, 0.21, 0.11, 0.041), most) == [
        "first",
        "mean",
        "largest",
        "norm",
        "held_out",
    ]
    assert outside(Apart(0, float("nan"), 0, 0, 0), most) == ["mean"]


def test_rows_in_another_order_are_not_compared() -> None:
    plain = course([1.0, 1.0], [10, 30])
    refuse_other_rows(plain, course([1.0, 1.0], [10, 30]), "lora")
    with pytest.raises(UserError, match="at step 1"):
        refuse_other_rows(plain, course([1.0, 1.0], [20, 30]), "lora")
    with pytest.raises(UserError, match="number of steps, 1"):
        refuse_other_rows(plain, course([1.0], [10]), "lora")


def test_adapters_are_alike_only_from_the_same_beginning(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    chance = np.random.default_rng(0)
    begin = chance.normal(size=(4, 64)).astype(np.float32)
    near = begin + 0.1 * chance.normal(size=(4, 64)).astype(np.float32)
    far = chance.normal(size=(4, 64)).astype(np.float32)
    for name, weight in (("one", begin), ("near", near), ("far", far)):
        (tmp_path / name).mkdir()
        save_file({"lora_A.weight": weight}, tmp_path / name / "adapter_model.safetensors")
    assert alike(tmp_path / "one", tmp_path / "near") > 0.9
    assert abs(alike(tmp_path / "one", tmp_path / "far")) < 0.5
