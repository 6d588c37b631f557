"""Runs on a CUDA GPU: `python -m pytest tests/train/test_gpu.py -m gpu`. Random weights, no network.

Each method in bf16 and fp16, with and without recompute, DoRA and dropout, 8-bit and paged optimisers;
what is saved loads and has the loss that was told; where memory runs out, a run goes on with less.
"""

import contextlib
import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.data.rows import build
from core.data.tokenizer import load_tokenizer
from core.job import environment
from core.runs.events import Checkpoint, End, Error, Eval, Finding, Gpu, Start, Step
from core.runs.folder import RunFolder
from core.runs.history import replay
from core.train import worker
from core.train.device import Device
from tests.train.conftest import Make
from tests.train.following import told, told_of

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def small(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 8 layers x 512 in bf16, with the tiny model's tokenizer: about 25 M parameters."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("small")
    AutoTokenizer.from_pretrained(tiny).save_pretrained(folder)
    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=8192,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        initializer_range=0.05,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=3,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


BF16: dict[str, dict[str, Any]] = {
    "full": {"method": "full", "learning_rate": 1e-3},
    "full, recompute, 8-bit": {
        "method": "full",
        "learning_rate": 1e-3,
        "recompute": 1,
        "optimizer": "adamw_8bit",
    },
    "full, adafactor": {"method": "full", "learning_rate": 1e-3, "optimizer": "adafactor"},
    "lora": {"method": "lora"},
    "lora, recompute, paged": {"method": "lora", "recompute": 1, "optimizer": "paged_adamw_8bit"},
    "lora, dora, dropout": {"method": "lora", "lora": {"rank": 8, "dora": True, "dropout": 0.1}},
    "lora, compiled": {"method": "lora", "compile": True, "recompute": 0},
    "lora, compiled, accumulate": {
        "method": "lora",
        "compile": True,
        "recompute": 0,
        "batch": 4,
        "accumulate": 2,
    },
    "lora, compiled, in the host": {"method": "lora", "compile": True, "recompute": 1},
    "qlora": {"method": "qlora"},
    "qlora, recompute, 8-bit": {"method": "qlora", "recompute": 1, "optimizer": "adamw_8bit"},
    "qlora, dora, rslora": {"method": "qlora", "lora": {"rank": 8, "dora": True, "rslora": True}},
}
FP16: dict[str, dict[str, Any]] = {
    f"{method}, fp16": {"method": method, "precision": "fp16", "learning_rate": 1e-3}
    for method in ("full", "lora", "qlora")
}
CASES = {**{name: {"precision": "bf16", **changes} for name, changes in BF16.items()}, **FP16}


@pytest.fixture(scope="module", params=list(CASES))
def done(request: pytest.FixtureRequest, make_run: Make, small: Path) -> RunFolder:
    import torch

    torch.compiler.reset()  # a run has a process of its own
    settings = {"model": str(small), "steps": 30, "learning_rate": 3e-3, "batch": 8}
    run = make_run("gpu", **{**settings, **CASES[request.param]})
    assert worker.work(run) == 0, told_of(run, Error)
    return run


def test_it_learns_and_measures_memory(done: RunFolder) -> None:
    steps = told_of(done, Step)
    assert told_of(done, End) == [End("finished")]
    losses = [one.loss for one in steps]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    assert all(one.memory and one.memory > 20 * 2**20 for one in steps)
    before, *_, after = told_of(done, Eval)
    assert after.loss < 0.9 * before.loss
    assert any(one.gpus and one.gpus[0]["memory_used"] for one in told_of(done, Gpu))


def test_the_result_loads_and_has_the_loss_that_was_told(done: RunFolder) -> None:
    import torch
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM

    from core.train.model import four_bits

    spec = done.spec()
    device = Device("cuda", spec.precision)
    more: dict[str, Any] = {"dtype": device.dtype, "device_map": {"": 0}}
    if spec.method == "qlora":
        more |= {"quantization_config": four_bits(device)}
    kind = AutoModelForCausalLM if spec.method == "full" else AutoPeftModelForCausalLM
    model = kind.from_pretrained(done.result(), **more).eval()
    held_out = build(spec, load_tokenizer(spec.model), lambda *_: None).eval
    assert held_out
    total, count = 0.0, 0
    for row in held_out:
        ids = torch.tensor([row["input_ids"]], device="cuda")
        with torch.no_grad(), device.autocast():
            words = torch.log_softmax(model(input_ids=ids).logits[0, :-1].float(), dim=-1)
        learned = torch.tensor(row["learned"][1:], device="cuda").bool()
        total -= float(words.gather(1, ids[0, 1:, None])[:, 0][learned].sum())
        count += int(learned.sum())
    assert total / count == pytest.approx(told_of(done, Eval)[-1].loss, rel=0.05)


@pytest.mark.parametrize("compiled", [False, True], ids=["", "compiled"])
@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(
    make_run: Make, small: Path, when, method, compiled
) -> None:
    settings = {
        "model": str(small),
        "method": method,
        "compile": compiled,
        "recompute": 0,
        "precision": "bf16",
        "steps": 40,
        "save": {"every": 10},
        "learning_rate": 1e-3,
    }
    once, twice = make_run("once", **settings), make_run("twice", **settings)
    assert worker.work(once) == 0
    when(twice, lambda event: isinstance(event, Step) and event.step >= 15, twice.stop_file.touch)
    assert worker.work(twice) == 0
    assert told_of(twice, Checkpoint)[-1].reason == "stop"
    assert worker.work(twice) == 0
    assert [one.step for one in replay(twice).steps] == list(range(1, 41))
    assert replay(twice).losses[-1] == pytest.approx(replay(once).losses[-1], rel=0.1)


@contextlib.contextmanager
def room_of(size: float) -> Iterator[None]:
    """So many bytes more than are held now are all that this process may have."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()
    share = (torch.cuda.memory_reserved() + size) / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, share))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def to_its_end(run: RunFolder) -> int:
    """As the worker does, but in one program."""
    times = 0
    while (code := worker.work(run, times)) == worker.AGAIN:
        times += 1
        gc.collect()
    return code


def short(run: RunFolder) -> list[Finding]:
    return [one for one in told_of(run, Finding) if one.code == "out_of_memory"]


def test_where_nothing_helps_running_out_of_memory_is_one_line_with_numbers(
    make_run: Make, small: Path
) -> None:
    # enough for the weights, too little for gradients and any moments
    run = make_run("oom", model=str(small), method="full", precision="bf16", batch=32, recompute=0)
    with room_of(70 * 2**20):
        assert to_its_end(run) == 1
    (error,) = told_of(run, Error)
    assert "ran out of memory before the first step" in error.what
    assert "more were wanted" in error.why and "start it anew with" in error.todo
    assert len(short(run)) <= 3


def test_a_run_that_is_short_of_memory_goes_on_with_less(make_run: Make, small: Path) -> None:
    import torch

    settings = {"model": str(small), "precision": "bf16", "batch": 32, "recompute": 0, "compile": False}
    plenty, little = make_run("plenty", **settings), make_run("little", **settings)
    gc.collect()
    before = torch.cuda.memory_allocated()
    assert to_its_end(plenty) == 0 and not short(plenty)
    peak = json.loads(plenty.report_file.read_text())["peak_gpu_bytes"] - before
    with room_of(0.75 * peak):
        assert to_its_end(little) == 0
    assert 1 <= len(short(little)) <= 3
    assert all("more were wanted" in one.why and "goes on from the" in one.what for one in short(little))
    spec = little.spec()
    assert spec.batch * spec.accumulate == 32 and (spec.recompute, spec.batch) != (0, 32)
    assert [one.step for one in replay(little).steps] == list(range(1, 13))
    assert replay(little).losses[-1] == pytest.approx(replay(plenty).losses[-1], rel=0.1)


def test_the_card_is_empty_when_the_worker_begins_anew(make_run: Make, small: Path) -> None:
    """What the first program held is with the driver again before the second asks for any."""
    run = make_run("process", model=str(small), precision="bf16", steps=8, save={"every": 3}, compile=False)
    with run.log.open("wb") as log:
        worked = subprocess.run(
            [sys.executable, "-P", "-m", "tests.train.short_of_memory", str(run.path), "5"],
            stdout=log,
            stderr=log,
            env=environment(),
        )
    assert worked.returncode == 0, run.log.read_text()
    assert [one.step for one in replay(run).steps] == list(range(1, 9)) and len(short(run)) == 1
    events = [record.event for record in told(run)]
    begins = [place for place, event in enumerate(events) if isinstance(event, Start)]
    first, second = (
        next(one.gpus[0]["memory_used"] for one in events[begin:] if isinstance(one, Gpu)) for begin in begins
    )
    assert second < first + 100 * 2**20
