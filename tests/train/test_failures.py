"""What goes wrong is one line that says what, why and what to do; nothing bad is saved as a success."""

import contextlib
import errno
import os
import resource
import shutil
import subprocess
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import UserError
from core.machine.gpus import Gpu, Process
from core.runs.events import Checkpoint, End, Error, Follow, Start, Step
from core.runs.folder import RunFolder
from core.runs.state import status
from core.train import checkpoints, failures, ready, worker
from core.train.checkpoints import is_whole, newest_whole
from tests.train.conftest import Make
from tests.train.following import told_of


def failed(run: RunFolder) -> Error:
    """The one error of a run that failed, with the traceback kept to the log."""
    assert worker.work(run) == 1
    (error,) = told_of(run, Error)
    assert told_of(run, End)[-1].state == "failed"
    assert status(run).state == "failed"
    assert "\n" not in error.what + error.why + error.todo and "Traceback" not in error.why
    assert error.todo and error.log == str(run.log)
    return error


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch": None}, "batch must be decided"),
        ({"precision": "bf16"}, "torch sees none"),
        ({"model": "/nowhere/at/all"}, "/nowhere/at/all is not there"),
        ({"lora": {"targets": ["no_such_layer"]}}, "no_such_layer"),
    ],
)
def test_what_cannot_run_is_refused(make_run: Make, monkeypatch, changes: dict, said: str) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run = make_run(**changes)
    error = failed(run)
    assert said in f"{error.what}: {error.why}"
    assert not told_of(run, Step) and run.result() is None


def test_a_report_without_its_package_names_the_command(make_run: Make, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    run = make_run(report=["mlflow"])
    assert "pip install mlflow" in failed(run).todo


def test_a_folder_that_is_no_model(make_run: Make, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    assert "no config.json" in failed(make_run(model=str(tmp_path))).why


def test_a_model_without_weights(make_run: Make, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    error = failed(make_run(model=str(tmp_path / "bare")))
    assert "cannot be loaded" in error.what and "safetensors" in error.why + error.todo


def test_a_damaged_spec(make_run: Make) -> None:
    run = make_run()
    run.spec_file.write_text("model: [")
    assert "damaged" in failed(run).what


def test_rows_that_teach_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="nothing would be learned"):
        ready.refuse_nothing_learned([{"input_ids": [1, 2], "learned": [1, 0]}])
    ready.refuse_nothing_learned([{"input_ids": [1, 2], "learned": [0, 1]}])


def test_a_loss_that_is_not_a_number_is_no_success(make_run: Make, tiny: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    broken = tmp_path / "broken"
    shutil.copytree(tiny, broken)
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    model.save_pretrained(broken)
    run = make_run(model=str(broken), save={"every": 1})
    error = failed(run)
    assert "not a number" in error.what and "learning_rate" in error.todo
    assert len(told_of(run, Step)) == 1 and told_of(run, Step)[0].loss is None
    assert run.result() is None and not run.checkpoint_list()


def test_weights_that_are_not_numbers_are_never_a_checkpoint(make_run: Make, when, monkeypatch) -> None:
    """The loss is taken before the step: a step that breaks the weights shows only in them."""
    import torch
    from transformers import Trainer

    real = Trainer._save_checkpoint

    def poison(self, model, trial):
        if self.state.global_step == 4:
            weight = next(one for one in model.parameters() if one.requires_grad)
            with torch.no_grad():
                weight.view(-1)[0] = float("inf")
        return real(self, model, trial)

    monkeypatch.setattr(Trainer, "_save_checkpoint", poison)
    run = make_run(save={"every": 2})
    error = failed(run)
    assert "a weight is not a number any more at step 4" in error.what
    assert "checkpoint of step 2 is kept" in error.why
    assert [step for step, _ in run.checkpoint_list()] == [2] and run.result() is None


def test_a_full_disk_keeps_the_last_good_checkpoint(make_run: Make, when) -> None:
    """No file may grow past a limit from the first checkpoint on, as on a disk that has no more room."""
    run = make_run("full-disk", method="full", steps=16, save={"every": 4}, evaluate={"every": 1000})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = 100_000
    try:
        when(
            run,
            lambda event: isinstance(event, Checkpoint),
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1])),
        )
        error = failed(run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.what == "the disk is full" and "GiB are free" in error.why
    assert "finetui resume" in error.todo
    kept, path = run.checkpoint_list()[-1]
    assert is_whole(path) and kept == told_of(run, Checkpoint)[-1].step
    assert not checkpoints.writing(run).exists(), "what was half written gives its room back"

    assert worker.work(run) == 0
    assert told_of(run, Start)[-1].resumed_from == kept
    assert told_of(run, Step)[-1].step == 16


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=8m", "finetui-test", str(disk)]
    if shutil.which("mount") is None or subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield disk
    # lazily: accelerate keeps the loader of a run that broke off, and with it the rows that it maps
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_others_fill_is_told_though_it_is_full(
    make_run: Make, when, small_disk: Path, monkeypatch
) -> None:
    made = make_run("others", steps=300, save={"every": 50}, evaluate={"every": 1000})
    run = RunFolder(small_disk / "others")
    shutil.copytree(made.path, run.path)
    when(run, lambda event: isinstance(event, Checkpoint), lambda: _fill(small_disk / "junk"))
    monkeypatch.setattr(checkpoints, "SPARE_BYTES", 0)
    error = failed(run)
    assert "full" in error.what and error.todo.endswith(f"finetui resume {run.name}")
    follow = Follow(run.events_file)
    assert follow.poll() and follow.damaged <= 1, "at most the line that did not fit"
    assert is_whole(run.checkpoint_list()[-1][1])


def _fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)


def test_too_little_room_is_told_before_the_first_step(make_run: Make, monkeypatch) -> None:
    run = make_run()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 1000, 1000))
    error = failed(run)
    assert "too full" in error.what and "0.00 GiB are free" in error.why
    assert not told_of(run, Step)


@pytest.mark.parametrize("damage", ["cut weights", "cut optimizer", "no state", "cut state"])
def test_a_torn_checkpoint_is_passed_over(make_run: Make, trained: RunFolder, damage: str) -> None:
    run = make_run("torn")
    shutil.copytree(trained.checkpoints, run.checkpoints)
    (_, _), (step, newest) = run.checkpoint_list()
    assert newest_whole(run) == (step, newest)
    name = {"weights": "adapter_model.safetensors", "optimizer": "optimizer.pt"}.get(
        damage.split()[-1], "trainer_state.json"
    )
    if damage.startswith("no"):
        (newest / name).unlink()
    else:
        with (newest / name).open("r+b") as file:
            file.truncate((newest / name).stat().st_size - 10)
    assert worker.work(run) == 0
    assert told_of(run, Start)[0].resumed_from == 5
    assert [one.step for one in told_of(run, Step)] == list(range(6, 13))


@pytest.fixture(scope="module")
def trained(make_run: Make) -> RunFolder:
    run = make_run("trained")
    assert worker.work(run) == 0
    return run


def test_out_of_memory_names_the_numbers_and_what_helps_most(make_run: Make) -> None:
    import torch

    error = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.65 GiB of which "
        "1.20 GiB is free. Including non-PyTorch memory, this process has 22.40 GiB memory in use."
    )
    run = make_run(recompute=1, batch=8)
    told = failures.explain(error, run, run.spec(), 17)
    assert told.line() == (
        "the GPU ran out of memory after step 17: 2.00 GiB more were wanted, "
        "1.20 GiB of 23.65 GiB were free, this run held 22.40 GiB. "
        "Start it anew with batch: 4 and accumulate: 2"
    )


@pytest.mark.parametrize(
    ("place", "further"), [(0, "0.25"), (0.125, "0.25"), (0.25, "0.5"), (0.6, "0.75"), (0.875, "1")]
)
def test_out_of_memory_turns_the_dial_one_place_further(make_run: Make, place: float, further: str) -> None:
    run = make_run(recompute=place)
    told = failures.explain(RuntimeError("CUDA out of memory."), run, run.spec(), 3)
    assert told.todo == f"start it anew with recompute: {further}"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError(
            "[enforce fail at inline_container.cc:664] . PytorchStreamWriter failed writing file data/3"
        ),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_known_in_the_words_of_each_library(make_run: Make, error: Exception) -> None:
    assert failures.is_disk_full(error)
    assert failures.explain(error, make_run(), None, None).what == "the disk is full"
    assert not failures.is_disk_full(RuntimeError("shape mismatch"))


@pytest.mark.parametrize("said", ["CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED when calling"])
def test_running_out_of_memory_is_known_in_the_words_of_each_library(make_run: Make, said: str) -> None:
    told = failures.explain(RuntimeError(said), make_run(), None, None)
    assert told.what == "the GPU ran out of memory before the first step"
    assert not failures.is_out_of_memory(RuntimeError("CUDA error: an illegal memory access"))
    assert failures.wanted(RuntimeError(said)) == 1
    assert failures.wanted(RuntimeError("Tried to allocate 1.50 GiB. GPU 0")) == 3 * 2**29


def test_what_others_hold_of_the_card_is_named(make_run: Make, monkeypatch) -> None:
    import torch

    held = tuple(Process(pid, "ollama", "user", 5 * 2**30) for pid in (8,))
    me = Process(os.getpid(), "python", "user", 2 * 2**30)
    gpu = Gpu(0, "GPU-a", "a card", 8 * 2**30, 0, 7 * 2**30, (8, 0), True, (*held, me))
    monkeypatch.setattr(failures, "card_in_use", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 2**30)
    told = failures.explain(RuntimeError("CUDA out of memory."), make_run(), None, None)
    assert told.why.endswith("; others hold 5.00 GiB of the card (ollama, pid 8: 5.00 GiB)")
    outside = replace(gpu, processes=())
    monkeypatch.setattr(failures, "card_in_use", lambda: outside)
    told = failures.explain(RuntimeError("CUDA out of memory."), make_run(), None, None)
    assert told.why.endswith("; others hold 5.32 GiB of the card")
