"""The engine changes what is held and in which order things are computed, never what is learned.

Logits and every gradient of tiny models in float32, against the same model as transformers and PEFT have it.
"""

import functools
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from core.models.shape import shape_from_config
from core.plan.dial import Hold
from core.spec import RunSpec, parse_spec
from core.train import model as models
from core.train.batches import IGNORED, Layout, collate
from core.train.device import Device
from core.train.engine.head import Head
from core.train.engine.layers import by_pieces, decoder_layers
from core.train.engine.setup import Engine, engine_for

CPU = Device("cpu", "fp32")
LAYERS = 4
EXACT = {"rtol": 1e-5, "atol": 1e-5}
SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 80,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.15,
}
LORA: dict[str, dict[str, Any]] = {
    "lora": {"rank": 4},
    "rank 6, alpha 3": {"rank": 6, "alpha": 3},
    "rslora": {"rank": 4, "alpha": 8, "rslora": True},
    "dora": {"rank": 4, "dora": True},
    "dropout": {"rank": 4, "dropout": 0.3},
    "some layers": {"rank": 4, "targets": ["q_proj", "down_proj"]},
}
DIAL = (0.0, 0.25, 0.5, 1.0)


def fresh(family: str) -> Any:
    """A causal LM with weights that are the same each time."""
    from transformers import AutoModelForCausalLM, Gemma2Config, GPT2Config, LlamaConfig, Qwen2Config

    torch.manual_seed(7)
    if family == "gpt2":
        sizes = {"n_embd": 32, "n_layer": LAYERS, "n_head": 4, "n_positions": 64}
        config: Any = GPT2Config(vocab_size=96, initializer_range=0.15, **sizes)
    elif family == "gemma2":
        config = Gemma2Config(**SIZES, head_dim=8, sliding_window=8)
    else:
        config = {"llama": LlamaConfig, "qwen2": Qwen2Config}[family](**SIZES)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.normal_(std=0.1)  # biases begin at 0, where a lost one would not be seen
    return model.train()


def spec_of(lora: dict[str, Any] | None, recompute: float = 0.0, **more: Any) -> RunSpec:
    method = "full" if lora is None else "lora"
    wanted = {"recompute": recompute, "lora": lora or {}, "batch": 3, "length": 20, **more}
    return parse_spec({"model": "m", "data": "d", "method": method, **wanted})


def plain_model(family: str, lora: dict[str, Any] | None) -> Any:
    """As PEFT makes it, with a B that is not zero, so that what flows through it is seen."""
    if lora is None:
        return fresh(family)
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora["rank"],
        lora_alpha=lora.get("alpha", 2 * lora["rank"]),
        lora_dropout=lora.get("dropout", 0.0),
        target_modules=lora.get("targets", "all-linear"),
        use_rslora=lora.get("rslora", False),
        use_dora=lora.get("dora", False),
    )
    model = get_peft_model(fresh(family), config)
    torch.manual_seed(8)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    return model.train()


def with_engine(
    plain: Any,
    family: str,
    lora: dict[str, Any] | None,
    recompute: float,
    compiled: bool = False,
    device: Device = CPU,
    **more: Any,
) -> tuple[Any, Engine]:
    """The same model with the engine on it; the names of its weights are those of the plain one."""
    spec = spec_of(lora, recompute, **more)
    model = (
        fresh(family) if lora is None else models.with_adapters(fresh(family).to(device.dtype), spec, device)
    )
    model.load_state_dict(plain.state_dict())
    config = plain.config if lora is None else plain.get_base_model().config
    shape = shape_from_config("m", config.to_dict())
    return model.train(), engine_for(model, spec, shape, device, "sft", np.array([5, 9, 14]), compiled, "")


def rows(packed: bool = False) -> list[Any]:
    chance = np.random.default_rng(1)
    made = [
        {"input_ids": chance.integers(3, 96, size).tolist(), "learned": [0, 0, *[1] * (size - 2)]}
        for size in (14, 5, 9)
    ]
    return [[made[0], made[1]], [made[2]]] if packed else made


def learned_from(model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits of the tokens that count, and the gradient of each weight, by the logits themselves."""
    inputs = {name: batch[name] for name in ("input_ids", "position_ids") if name in batch}
    torch.manual_seed(9)  # for dropout
    logits = model(**inputs, use_cache=False).logits
    loss = cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED)
    loss.backward()
    grads = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    return logits.detach()[:, :-1][batch["labels"][:, 1:] != IGNORED], grads


def assert_same(plain: Any, model: Any, batch: dict[str, Any]) -> None:
    (logits, grads), (others, theirs) = learned_from(plain, batch), learned_from(model, batch)
    torch.testing.assert_close(others, logits, **EXACT)
    assert grads.keys() == theirs.keys() and len(grads) > LAYERS
    for name, grad in grads.items():
        torch.testing.assert_close(theirs[name], grad, **EXACT, msg=lambda said, name=name: f"{name}: {said}")


@pytest.mark.parametrize("recompute", DIAL)
@pytest.mark.parametrize("lora", [None, *LORA.values()], ids=["full", *LORA])
def test_llama_learns_the_same(lora: dict[str, Any] | None, recompute: float) -> None:
    plain = plain_model("llama", lora)
    model, engine = with_engine(plain, "llama", lora, recompute)
    assert len(engine.kinds) == LAYERS
    assert_same(plain, model, collate(rows(), 0, engine.layout))


@pytest.mark.parametrize("recompute", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("lora", [None, LORA["lora"]], ids=["full", "lora"])
@pytest.mark.parametrize("family", ["qwen2", "gemma2", "gpt2"])
def test_other_families_learn_the_same(family: str, lora: dict[str, Any] | None, recompute: float) -> None:
    plain = plain_model(family, lora)
    model, engine = with_engine(plain, family, lora, recompute)
    assert len(engine.kinds) == LAYERS
    assert_same(plain, model, collate(rows(), 0, engine.layout))


@pytest.mark.parametrize("recompute", [0.0, 1.0])
def test_packed_rows_learn_the_same(recompute: float) -> None:
    """The plain side has each row by itself, with a mask for its padding."""
    plain = plain_model("llama", LORA["lora"])
    model, engine = with_engine(plain, "llama", LORA["lora"], recompute, packing=True)
    alone, packed = collate(rows(), 0), collate(rows(packed=True), 0, engine.layout)
    _, grads = learned_from(plain, alone)
    _, others = learned_from(model, packed)
    assert grads.keys() == others.keys()
    for name, grad in grads.items():
        torch.testing.assert_close(others[name], grad, **EXACT)


@pytest.mark.parametrize("recompute", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["full", "lora", "rslora", "dora"])
def test_compiled_layers_learn_the_same(kind: str, recompute: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the compiler's own decompositions and partitions of the graph, without its kernels."""
    lora = LORA.get(kind)
    torch.compiler.reset()
    monkeypatch.setattr(
        torch, "compile", functools.partial(torch.compile, backend="aot_eager_decomp_partition")
    )
    plain = plain_model("llama", lora)
    model, engine = with_engine(plain, "llama", lora, recompute, compiled=True)
    assert engine.compiled and engine.holder.compiled
    engine.holder.begun = kind == "dora"  # which it may give up on, and then learns the same uncompiled
    assert_same(plain, model, collate(rows(), 0, engine.layout))


def test_layers_that_draw_numbers_are_compiled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.compiler.reset()
    backend = "aot_eager_decomp_partition"
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    plain = plain_model("llama", LORA["dropout"])
    model, engine = with_engine(plain, "llama", LORA["dropout"], 0.5, compiled=True)
    logits, grads = learned_from(model.train(), collate(rows(), 0, engine.layout))
    assert engine.holder.compiled and logits.isfinite().all()
    assert any(one.abs().max() > 0 for one in grads.values())


class Counted(TorchDispatchMode):
    """Which ops were run."""

    def __init__(self) -> None:
        super().__init__()
        self.ops: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.ops[str(func)] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("recompute", "layers", "linears", "attentions"),
    [(0, 0, 0, 0), (0.25, LAYERS // 2, 2, 0), (0.5, LAYERS, 2, 0), (1, LAYERS, 6, 1)],
)
def test_the_backward_pass_computes_again_what_the_dial_says(
    recompute: float, layers: int, linears: int, attentions: int
) -> None:
    """Of each such layer gate and up at 0.5, at 1 all but the last product. That one may be run again for
    nothing, where layers are not compiled."""
    plain = plain_model("llama", LORA["lora"])
    model, engine = with_engine(plain, "llama", LORA["lora"], recompute)
    batch = collate(rows(), 0, engine.layout)
    loss = model(input_ids=batch["input_ids"], use_cache=False).logits.square().mean()
    with Counted() as counted:
        loss.backward()
    again = {name: count for name, count in counted.ops.items() if "backward" not in name}
    assert layers * linears <= again.get("finetui.adapted.default", 0) <= layers * (linears + 1)
    assert sum(count for name, count in again.items() if "scaled_dot" in name) == layers * attentions


def test_without_room_in_the_host_layers_hold_their_input_alone() -> None:
    _, engine = with_engine(plain_model("llama", None), "llama", None, 1.0)
    assert engine.kinds == (Hold.INPUT,) * LAYERS and engine.holder.host is None


@pytest.mark.parametrize("how", [{"fused": True}, {"foreach": True}, {}], ids=["fused", "foreach", "plain"])
@pytest.mark.parametrize("recompute", [0.0, 1.0])
def test_what_adapters_learned_is_in_the_next_pass(recompute: float, how: dict[str, Any]) -> None:
    """In bf16, where passes that learn see rounded copies of the adapters, and others the adapters."""
    half = Device("cpu", "bf16")
    plain = plain_model("llama", LORA["lora"])
    model, engine = with_engine(plain, "llama", LORA["lora"], recompute, device=half)
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=0.1, **how)
    batch, losses = collate(rows(), 0, engine.layout), []
    for _ in range(3):
        with half.autocast():
            logits, _ = learned_from(model, batch)
            with torch.no_grad():
                again = model(
                    **{name: batch[name] for name in ("input_ids", "position_ids") if name in batch}
                )
        seen = again.logits[:, :-1][batch["labels"][:, 1:] != IGNORED]
        torch.testing.assert_close(logits, seen, rtol=0.05, atol=0.1)
        losses.append(logits)
        optimizer.step()
        optimizer.zero_grad()
    assert (losses[-1] - losses[0]).abs().max() > 0.5


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_an_mlp_in_pieces_learns_the_same(family: str) -> None:
    plain = plain_model(family, LORA["lora"])
    model, engine = with_engine(plain, family, LORA["lora"], 1.0)
    for layer in decoder_layers(model):
        by_pieces(layer, 4)
    assert_same(plain, model, collate(rows(), 0, engine.layout))


def test_a_second_pass_adds_its_gradient_to_the_first() -> None:
    plain = plain_model("llama", LORA["lora"])
    model, engine = with_engine(plain, "llama", LORA["lora"], 0.5)
    batch = collate(rows(), 0, engine.layout)
    learned_from(plain, batch)
    learned_from(model, batch)
    assert_same(plain, model, batch)


def test_what_is_not_learned_from_is_what_the_library_computes() -> None:
    plain = plain_model("llama", LORA["dropout"]).eval()
    model, engine = with_engine(plain, "llama", LORA["dropout"], 1.0)
    batch = collate(rows(), 0, engine.layout)
    model.eval()
    with torch.no_grad():
        expected = plain(input_ids=batch["input_ids"]).logits
        torch.testing.assert_close(model(input_ids=batch["input_ids"]).logits, expected, rtol=0, atol=0)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
def test_the_head_has_the_loss_and_gradients_of_the_logits(bias: bool, weighted: bool) -> None:
    torch.manual_seed(3)
    layout = Layout("rows")
    made = [{**row, "weight": 0.5 + place} for place, row in enumerate(rows())] if weighted else rows()
    batch = collate(made, 0, layout)
    hidden = torch.randn(batch["labels"].numel(), 32)
    parts = [hidden, torch.randn(96, 32) * 0.3, torch.randn(96) if bias else None]
    found = []
    for ours in (True, False):
        leaves = [None if one is None else one.clone().requires_grad_() for one in parts]
        if ours:
            loss = Head(False)(*leaves, batch["at"], batch["targets"], batch["weights"], torch.tensor(7))
        else:
            logits = torch.nn.functional.linear(*leaves).view(*batch["labels"].shape, -1)
            nats = cross_entropy(
                logits[:, :-1].flatten(0, 1),
                batch["labels"][:, 1:].flatten(),
                ignore_index=IGNORED,
                reduction="none",
            ).view(batch["labels"].shape[0], -1)
            counts = torch.tensor([row.get("weight", 1.0) for row in made])
            loss = (nats * counts[:, None]).sum() / 7
        (3 * loss).backward()
        found.append([loss.detach(), *(one.grad for one in leaves if one is not None)])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, **EXACT)


def test_the_head_adds_up_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """More learned tokens than fit one piece."""
    torch.manual_seed(4)
    hidden, weight = torch.randn(300, 16), torch.randn(50, 16)
    at, targets = torch.arange(0, 300, 2), torch.randint(0, 50, (150,))
    found = []
    for piece in (1, 2**30):
        leaves = [one.clone().requires_grad_() for one in (hidden, weight)]
        head = Head(False)
        monkeypatch.setattr(head, "_piece", piece)
        loss = head(*leaves, None, at, targets, None, 1)
        loss.backward()
        found.append([loss.detach(), *(one.grad for one in leaves)])
    for small, large in zip(*found, strict=True):
        torch.testing.assert_close(small, large, **EXACT)
