"""A run with random weights as far as memory goes: the worker's own way to its steps, and its peaks.

It is `core.train.worker.train` from the model in memory on: engine, trainer, a pass that compiles, steps of
the optimiser, a look at held-out rows, and the question before a save whether all weights are finite. The
weights are random and made where they belong, so no disk is read. `serve` does one cell after the other in
one process, so that what was compiled serves them all, from its second length on with sizes left open: the
allocator is emptied between them, and what was left of the cell before is told and goes to no one's account.
"""

import contextlib
import gc
import json
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.job import requests, take_stdout
from core.models.shape import ModelShape
from core.spec import RunSpec
from core.train import failures
from core.train.ready import keep_compiled

LEFT = 192 * 2**20
"""Bytes left of a cell from which on the next begins in a process of its own."""

Row = dict[str, Any]


def serve(run: Callable[[Row, Path, Row], None]) -> None:
    """Answers each request, a JSON line on stdin, with a row; until there are none, or too much was left.

    `run(request, an empty folder, row)` adds to the row what it finds, as it finds it.
    """
    out = take_stdout()
    keep_compiled()
    for request in requests():
        row = answer(run, request)
        out.write(json.dumps(row) + "\n")
        if row["ends"]:
            break
    out.flush()
    os._exit(0)  # libraries' threads and graphs need not be taken down in order


def answer(run: Callable[[Row, Path, Row], None], request: Row) -> Row:
    """The row of a request: what `run` found, or how it went wrong; `ends`: this process does no more."""
    import torch

    begun, cuda = time.monotonic(), torch.cuda.is_available()
    row: Row = {**request["row"], "left": torch.cuda.memory_allocated() if cuda else 0, "ends": False}
    try:
        with tempfile.TemporaryDirectory() as home:
            run(request, Path(home), row)
    except Exception as error:
        traceback.print_exc()
        if failures.is_out_of_memory(error):
            row |= {"out_of_memory": failures.short_of(error), "wanted": failures.wanted(error)}
            row["pool"] = torch.cuda.memory_reserved() if cuda else 0
        else:
            row |= {"error": f"{type(error).__name__}: {str(error)[:300]}", "ends": True}
    gc.collect()
    if cuda:
        row["ends"] = row["ends"] or emptied() > LEFT
    return row | {"took": round(time.monotonic() - begun, 1)}


def emptied() -> int:
    """Bytes of the card that are still allocated when torch has given back all that it can."""
    import torch

    with contextlib.suppress(RuntimeError):  # an error of CUDA's own stays with the process
        for name in ("_cuda_clearCublasWorkspaces", "_host_emptyCache"):
            getattr(torch._C, name, int)()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return int(torch.cuda.memory_allocated())


@dataclass(frozen=True)
class Rows:
    """Of a run, those that are gone through, in this order, and the lengths of all there would be."""

    train: Sequence[Any]
    held_out: Sequence[Any]


def train(
    spec: RunSpec,
    home: Path,
    row: Row,
    lengths: Any,
    rows: Callable[[Any, ModelShape], tuple[RunSpec, Rows]],
    *,
    compiled: bool,
    records: bool,
    waits: bool,
    alone: bool,
) -> None:
    """Trains and looks at held-out rows; adds bytes of the peaks to the row.

    `lengths`: of the rows to train on. `rows`: from the layout and the shape to the spec of a few steps and
    their rows. `records`: whether passes may be started as a whole, where that is quicker. `waits`: layers
    are planned to wait in the host's memory. `alone`: nobody else of ours is on the card.
    """
    from transformers import set_seed

    from core.data.tokenizer import load_tokenizer
    from core.machine.core_speed import core_ms
    from core.models.shape import read_folder
    from core.runs.folder import create
    from core.train import device
    from core.train.engine.adam8 import quicken
    from core.train.engine.setup import engine_for
    from core.train.engine.warm import record, warm_up
    from core.train.model import adapters_in_fp32, is_finite
    from core.train.trainer import Tuner, arguments

    row |= {"core_ms": round(core_ms(), 2), "stage": "load"}
    where = device.choose(spec)
    set_seed(spec.seed)
    model = random_model(spec, where)
    shape = read_folder(Path(spec.model), spec.model)
    tokenizer = load_tokenizer(spec.model, None)
    engine = engine_for(model, spec, shape, where, "sft", lengths, compiled, "as the cell asks")
    row["load"] = engine.peak()
    few, taken = rows(engine.layout, shape)
    tuner = Tuner(
        model=model,
        args=arguments(few, create(home, "cell"), where, few.steps or 1),
        train=taken.train,
        held_out=taken.held_out,
        tokenizer=tokenizer,
        device=where,
        layout=engine.layout,
        head=engine.head,
        on_evaluating=lambda *_: True,
    )
    tuner._get_train_sampler = lambda *_: range(len(taken.train))  # type: ignore[method-assign]
    clock = clock_of(tuner)
    if few.method == "qlora":
        adapters_in_fp32(tuner.model)
    row["stage"] = "compile"
    if engine.compiled and (failed := warm_up(engine, tuner)):
        row["not_compiled"] = failed
    if records:
        record(engine, tuner)
        if engine.compiled and spec.optimizer == "adamw_8bit" and where.kind == "cuda":
            row["optimizer_why"] = quicken(tuner)
    row["stage"] = "step"
    engine.begin()
    tuner.train()
    row |= {"peak": engine.peak(), **of_card(alone), "steps": clock}
    told = engine.told()
    row |= {key: told[key] for key in ("compile_seconds", "holds", "attention", "recorded", "recorded_why")}
    row |= {"host": told["host_bytes"], "otherwise": held_otherwise(engine.kinds, few, shape, waits)}
    row["stage"] = "evaluation"
    engine.begin()
    tuner.evaluate()
    row["evaluation"] = engine.peak()
    row["stage"] = "save"
    engine.begin()
    if not is_finite(tuner.model):
        raise RuntimeError("a weight is not finite")
    row |= {"save": engine.peak(), "ram": memory_of_process()}
    del row["stage"]


def clock_of(tuner: Any) -> list[tuple[float, int]]:
    """Seconds since its first step began, and tokens trained, at the end of each step so far.

    The host starts a step before the card is done with the one before, so the first few are not the card's.
    """
    from transformers import TrainerCallback

    steps: list[tuple[float, int]] = []
    began: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            began.append(time.monotonic())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            steps.append((round(time.monotonic() - began[0], 4), int(tuner.trained_tokens)))

    tuner.add_callback(Clock())
    return steps


def held_otherwise(kinds: Sequence[Any], spec: RunSpec, shape: ModelShape, waits: bool) -> bool:
    """Whether layers hold something else than was planned, as they do where the host has no room."""
    from core.plan.dial import holds

    assert spec.recompute != "auto"
    return tuple(kinds) != holds(float(spec.recompute), shape.layers, waits)


def of_card(alone: bool) -> Row:
    """The most that torch's pool was; what NVML says of this process, and of the card where it is `alone`."""
    import torch

    from core.machine.others import card_in_use, own_bytes

    if not torch.cuda.is_available():
        return {}
    gpu = card_in_use()
    return {
        "reserved": torch.cuda.max_memory_reserved(),
        "active": torch.cuda.memory_stats()["active_bytes.all.peak"],
        "process": own_bytes(gpu) if gpu else None,
        "used": gpu.memory_used if gpu and alone else None,
    }


def random_model(spec: RunSpec, where: Any) -> Any:
    """As `core.train.model.load` would leave it, with random weights that no disk holds."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    from core.plan.scores import in_plain_steps
    from core.train import model as models

    config = AutoConfig.from_pretrained(spec.model)
    dtype, at = models.base_dtype(spec.method, where), "cuda" if where.kind == "cuda" else "cpu"
    with torch.device("meta"), no_init_weights():
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, **in_plain_steps(config.model_type))
    if spec.method == "qlora":
        four_bits(model, where, at)
    model = _filled(model, at)
    model.tie_weights()
    if spec.method == "full":
        return model
    if spec.method == "qlora" and where.kind == "cpu":
        models.keep_unpacked(model)
    return models.with_adapters(model, spec, where)


def four_bits(model: Any, where: Any, at: str) -> None:
    """Quantises a random matrix for every layer that transformers would quantise."""
    import torch
    from bitsandbytes.nn import Linear4bit, Params4bit

    from core.train.trace.model import packed

    packed(model, where)
    for one in model.modules():
        if isinstance(one, Linear4bit):
            wide = torch.empty(one.weight.shape, dtype=where.dtype, device=at).normal_(std=0.02)
            how = {"quant_type": "nf4", "compress_statistics": True, "quant_storage": torch.uint8}
            one.weight = Params4bit(wide, requires_grad=False, module=one, **how).to(at)


def _filled(model: Any, at: str) -> Any:
    """The model with random numbers where it has tensors on no device; what is computed once is."""
    import torch

    there = {name for name, one in model.named_parameters() if one.device.type != "meta"}
    known: dict[int, Any] = {}
    for path, module in model.named_modules():
        for name, one in list(module._parameters.items()):
            if one is None or f"{path}.{name}" in there:
                continue
            if id(one) not in known:
                made = torch.empty(one.shape, dtype=one.dtype, device=at).normal_(std=0.02)
                known[id(one)] = torch.nn.Parameter(made, requires_grad=one.requires_grad)
            module._parameters[name] = known[id(one)]
        for name, one in list(module._buffers.items()):
            if one is not None and one.device.type == "meta":
                module._buffers[name] = torch.ones(one.shape, dtype=one.dtype, device=at)
    return model


def memory_of_process() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)
