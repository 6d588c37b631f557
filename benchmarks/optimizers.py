"""Seconds of an optimiser's step alone, by kind: `python -m benchmarks.optimizers [--shape NAME]`.

Weights have the sizes of the shape's, in bf16 on a card, with gradients; embeddings are left out, and with
--layers N all layers beyond N. Each kind makes some steps, and the quickest counts, host and card together.
Prints a line a kind, and writes one as JSON with --out FILE.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.random_model import DEMO, describe

KINDS = ("adamw", "adamw_8bit", "adamw_8bit compiled")
STEPS = 6


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", default="llama-3.1-8b")
    parser.add_argument("--layers", type=int, help="as many as the shape has, or fewer")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    where = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"{'step':<22}{'weights':>10}{'ms':>9}{'ps a weight':>13}{'MiB more':>10}")
    for kind in KINDS:
        row = {"step": kind, "shape": asked.shape, **timed(kind, sizes(asked.shape, asked.layers), where)}
        each = row["seconds"] / row["weights"] * 1e12
        told = f"{row['weights'] / 1e6:>8,.0f} M{1000 * row['seconds']:>9.1f}{each:>13.1f}"
        print(f"{kind:<22}{told}{row['more'] / 2**20:>10.1f}", flush=True)
        if asked.out:
            with asked.out.open("a", encoding="utf-8") as out:
                out.write(json.dumps(row) + "\n")


def sizes(shape: str, layers: int | None) -> list[tuple[int, ...]]:
    """Of all weights of its layers, and of its head where that is a weight of its own."""
    import torch
    from transformers import AutoModelForCausalLM

    config, _ = describe(shape, DEMO)
    config.num_hidden_layers = layers or config.num_hidden_layers
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    seldom = {id(model.get_input_embeddings().weight)}
    return [tuple(one.shape) for one in model.parameters() if id(one) not in seldom]


def timed(kind: str, some: list[tuple[int, ...]], where: str) -> dict[str, Any]:
    """Seconds of the quickest step, and bytes that a step takes beside what stands."""
    import torch

    dtype = torch.bfloat16 if where == "cuda" else torch.float32
    weights = []
    for size in some:
        weight = torch.nn.Parameter(torch.empty(size, device=where, dtype=dtype).normal_(std=0.02))
        weight.grad = torch.empty_like(weight).normal_(std=1e-3)
        weights.append(weight)
    optimizer = made(kind, [{"params": weights, "lr": 1e-5, "weight_decay": 0.01}])
    seconds, more = [], 0
    for _ in range(STEPS):
        if where == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        begun = time.perf_counter()
        optimizer.step()
        if where == "cuda":
            torch.cuda.synchronize()
            more = torch.cuda.max_memory_allocated() - before
        seconds.append(time.perf_counter() - begun)
    count = sum(one.numel() for one in weights)
    del optimizer, weights
    gc.collect()
    if where == "cuda":
        torch.cuda.empty_cache()
    return {"weights": count, "seconds": min(seconds[2:]), "more": more, "first": seconds[0]}


def made(kind: str, groups: list[dict[str, Any]]) -> Any:
    if kind == "adamw":
        import torch

        return torch.optim.AdamW(groups, fused=True)
    from core.train.engine.adam8 import AdamW, CompiledAdamW

    return CompiledAdamW(groups) if kind.endswith("compiled") else AdamW(groups, optim_bits=8)


if __name__ == "__main__":
    main()
