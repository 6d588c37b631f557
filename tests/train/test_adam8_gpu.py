"""The compiled step of 8-bit AdamW on a card: `python -m pytest tests/train/test_adam8_gpu.py -m gpu`."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bitsandbytes.optim import AdamW
from torch import nn

from core.train.engine import adam8
from core.train.engine.adam8 import CompiledAdamW

pytestmark = pytest.mark.gpu


def stepped(make: Any, dtype: torch.dtype) -> Any:
    random = torch.Generator("cuda").manual_seed(3)
    sizes = [(512, 2048), (2048, 512), (256, 256), (4096,), (70, 100)]
    weights = [
        nn.Parameter((torch.randn(one, generator=random, device="cuda") * 0.02).to(dtype)) for one in sizes
    ]
    optimizer = make([{"params": weights, "lr": 1e-4, "weight_decay": 0.01}])
    for _ in range(10):
        for one in weights:
            one.grad = (torch.randn(one.shape, generator=random, device="cuda") * 1e-3).to(dtype)
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=["bf16", "fp32"])
def test_it_comes_to_what_bitsandbytes_kernel_comes_to(dtype: torch.dtype) -> None:
    theirs, ours = (stepped(make, dtype) for make in (adam8._plain, CompiledAdamW))
    assert adam8._differs(theirs, ours) == ""


def test_it_needs_no_memory_of_its_own() -> None:
    weight = nn.Parameter(torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16))
    weight.grad = torch.randn_like(weight)
    optimizer = CompiledAdamW([{"params": [weight], "lr": 1e-4}])
    optimizer.step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    optimizer.step()
    assert torch.cuda.max_memory_allocated() - before < 2**20


def test_it_is_the_quicker_one_for_large_weights() -> None:
    model = nn.Sequential(*(nn.Linear(4096, 8192, bias=False) for _ in range(4))).to("cuda", torch.bfloat16)

    def create() -> None:
        tuner.optimizer = AdamW([{"params": list(model.parameters())}], optim_bits=8)

    tuner = SimpleNamespace(model=model, create_optimizer=create, optimizer=None)
    said = adam8.quicken(tuner)
    assert said.startswith("compiled: ") and isinstance(tuner.optimizer, CompiledAdamW), said
