"""Runs cells of one shape on the card, for `benchmarks.memory_grid`: a request on stdin, a JSON line a cell.

Each cell is the worker's own way from a model in memory to its steps (`core.train.worker.train`): engine,
trainer, a pass that compiles, then STEPS steps of the optimiser on full rows, and a look at held-out rows.
Two things differ from a run. The weights are random and made where they belong, so no disk is read. And one
process does all cells of a shape, so that what was compiled serves them all, from its second length on with
sizes left open: the allocator is emptied between
them, and what was left of the cell before is told and goes to no one's account. Passes are not recorded as
CUDA graphs, which a run does only where there is room to spare.
"""

import gc
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks.memory_grid_cells import Cell
from core.job import take_stdout
from core.spec import RunSpec
from core.train.ready import keep_compiled

STEPS = 2
"""Of the optimiser: its state is made in the first, so the second is as full as any."""
LEFT = 256 * 2**20
"""Bytes left of a cell from which on the next begins in a process of its own."""


def main() -> int:
    out, request = take_stdout(), json.load(sys.stdin)
    keep_compiled()
    begun = time.monotonic()
    for told in request["cells"]:
        cell = Cell(**told)
        row = one(cell, request["folder"])
        out.write(json.dumps(row) + "\n")
        late = time.monotonic() - begun > request["seconds"]
        if row.get("left", 0) > LEFT or row.get("broke") or late:
            break
    out.flush()
    os._exit(0)  # libraries' threads and graphs need not be taken down in order


def one(cell: Cell, folder: str) -> dict[str, Any]:
    """The cell's row: bytes of torch's peak (`peak`), its pool (`reserved`), all on the card (`used`)."""
    import torch

    begun = time.monotonic()
    cuda = torch.cuda.is_available()
    row: dict[str, Any] = {**cell.to_dict(), "left": torch.cuda.memory_allocated() if cuda else 0}
    try:
        with tempfile.TemporaryDirectory() as home:
            row |= run(cell, folder, Path(home))
    except torch.OutOfMemoryError as error:
        row["out_of_memory"] = str(error).splitlines()[0][:200]
    except Exception as error:
        traceback.print_exc()
        row |= {"error": f"{type(error).__name__}: {str(error)[:300]}", "broke": True}
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return row | {"took": round(time.monotonic() - begun, 1)}


def run(cell: Cell, folder: str, home: Path) -> dict[str, Any]:
    """Trains, looks at held-out rows, and tells the peaks."""
    import numpy as np
    import torch
    from transformers import set_seed

    from core.data.tokenizer import load_tokenizer
    from core.models.shape import read_folder
    from core.runs.folder import create
    from core.train import device
    from core.train.engine.setup import engine_for
    from core.train.engine.warm import warm_up
    from core.train.model import adapters_in_fp32
    from core.train.trainer import Tuner, arguments

    torch._dynamo.config.recompile_limit = 64  # type: ignore[assignment]
    spec = cell.spec(folder, STEPS)
    where = device.choose(spec)
    set_seed(spec.seed)
    model = random_model(spec, where)
    shape = read_folder(Path(folder), folder)
    tokenizer = load_tokenizer(folder, None)
    rows = rows_of(cell, shape.vocab, STEPS)
    lengths = np.array([cell.length] if not cell.packed else pack_of(cell.length))
    engine = engine_for(model, spec, shape, where, "sft", lengths, cell.compiled, "as the cell asks")
    tuner = Tuner(
        model=model,
        args=arguments(spec, create(home, "cell"), where, STEPS),
        train=rows,
        held_out=rows[: cell.batch],
        tokenizer=tokenizer,
        device=where,
        layout=engine.layout,
        head=engine.head,
        on_evaluating=lambda *_: True,
    )
    if cell.method == "qlora":
        adapters_in_fp32(tuner.model)
    told: dict[str, Any] = {}
    if engine.compiled and (failed := warm_up(engine, tuner)):
        told["not_compiled"] = failed
    engine.begin()
    tuner.train()
    told |= {"peak": engine.peak(), "compile_seconds": engine.compile_seconds}
    if where.kind == "cuda":
        free, total = torch.cuda.mem_get_info()
        told |= {"reserved": torch.cuda.max_memory_reserved(), "used": total - free}
    told["host"] = engine.holder.host.bytes if engine.holder.host else 0
    told["holds"] = engine.told()["holds"]
    told["attention"] = engine.attention
    engine.begin()
    tuner.evaluate()
    told["evaluation"] = engine.peak()
    told["ram"] = memory_of_process()
    return told


def pack_of(length: int) -> list[int]:
    """Tokens of the rows that fill a pack: a long one and shorter ones."""
    return [length // 2, length // 4, length - length // 2 - length // 4]


def rows_of(cell: Cell, vocab: int, steps: int) -> list[Any]:
    """Full rows for so many steps, or packs of some rows each; every token is learned."""

    def row(length: int, seed: int) -> dict[str, list[int]]:
        return {"input_ids": [(seed + 7 * n) % vocab for n in range(length)], "learned": [1] * length}

    count = cell.batch * steps
    if cell.packed:
        return [[row(length, place) for length in pack_of(cell.length)] for place in range(count)]
    return [row(cell.length, place) for place in range(count)]


def random_model(spec: RunSpec, where: Any) -> Any:
    """As `core.train.model.load` would leave it, with random weights that no disk holds."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    from core.train import model as models

    config = AutoConfig.from_pretrained(spec.model)
    dtype, at = models.base_dtype(spec.method, where), "cuda" if where.kind == "cuda" else "cpu"
    with torch.device("meta"), no_init_weights():
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
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
            wide = torch.randn(one.weight.shape, dtype=where.dtype, device=at) * 0.02
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


if __name__ == "__main__":
    sys.exit(main())
