"""A mixture of experts in the trainer: its config stays, and its layers are compiled whole."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import core.demo
from core.data.tokenizer import load_tokenizer
from core.models.shape import shape_from_config
from core.runs.folder import create
from core.spec import parse_spec
from core.train import model as models
from core.train.device import Device
from core.train.engine.setup import engine_for
from core.train.engine.warm import warm_up
from core.train.trainer import Tuner, arguments

CPU = Device("cpu", "bf16")
TOKENS = 64


def mixture(asks: bool) -> Any:
    from transformers import AutoModelForCausalLM, Qwen3MoeConfig

    torch.manual_seed(3)
    config = Qwen3MoeConfig(
        vocab_size=4096,
        hidden_size=64,
        intermediate_size=96,
        moe_intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        num_experts=4,
        num_experts_per_tok=2,
        output_router_logits=asks,
        router_aux_loss_coef=0.5,
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)


def tuned(home: Path, asks: bool, method: str, compiled: bool = False) -> tuple[Any, Any]:
    """The trainer of a run of two steps, and its engine."""
    told = {"model": "m", "data": "d", "method": method, "batch": 2, "accumulate": 1, "steps": 2}
    spec = parse_spec(
        {**told, "length": TOKENS, "recompute": 0.0, "learning_rate": 1e-3, "lora": {"rank": 4}}
    )
    model = mixture(asks)
    shape = shape_from_config("m", model.config.to_dict())
    if method == "lora":
        model = models.with_adapters(model, spec, CPU)
    model.train()
    engine = engine_for(model, spec, shape, CPU, "sft", np.array([TOKENS] * 4), compiled, "")
    rows = [
        {"input_ids": [(7 * at + row) % 4096 for at in range(TOKENS)], "learned": [1] * TOKENS}
        for row in range(4)
    ]
    tuner = Tuner(
        model=model,
        args=arguments(spec, create(home, "run"), CPU, 2),
        train=rows,
        held_out=None,
        tokenizer=load_tokenizer(str(Path(core.demo.__file__).parent / "model"), None),
        device=CPU,
        layout=engine.layout,
        head=engine.head,
        on_evaluating=lambda *_: True,
    )
    return tuner, engine


@pytest.mark.parametrize("method", ["full", "lora"])
def test_layers_of_experts_are_compiled_whole(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.compiler.reset()
    backend = "aot_eager_decomp_partition"
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    tuner, engine = tuned(tmp_path, False, method, compiled=True)
    assert warm_up(engine, tuner) is None
    tuner.train()
    assert engine.compiled and not engine.holder.gave_up
    assert all(told["loss"] > 0 for told in tuner.state.log_history if "loss" in told)


@pytest.mark.parametrize("asks", [False, True], ids=["silent", "asks"])
def test_the_config_decides_on_the_routers_loss_and_stays(asks: bool, tmp_path: Path) -> None:
    tuner, engine = tuned(tmp_path, asks, "full")
    assert tuner.aux_loss_enabled is asks
    assert (engine.head is None) is asks, "the library's loss adds what the routers are to learn"
    assert tuner.model.config.output_router_logits is asks
    assert tuner.model.config.router_aux_loss_coef == 0.5
    tuner.train()
    saved = tuner.model.config.to_dict()
    assert (saved["output_router_logits"], saved["router_aux_loss_coef"]) == (asks, 0.5)
