"""What the engine does on a CUDA card alone: `python -m pytest tests/train/test_engine_gpu.py -m gpu`.

Layers in the host's memory, rows end to end, four-bit weights; in bf16, against what transformers, PEFT and
bitsandbytes compute. Gradients are compared by their direction and length, since bf16 rounds each product.
"""

import gc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, cross_entropy

from core.models.shape import shape_from_config
from core.plan.dial import Hold
from core.spec import parse_spec
from core.train import model as models
from core.train.batches import FOR_THE_LOSS, IGNORED, collate
from core.train.device import Device
from core.train.engine import host
from core.train.engine.setup import Engine, engine_for

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("fresh_compiler")]

CARD = Device("cuda", "bf16")
LENGTHS = (500, 130, 260, 40)


def fresh(**more: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(7)
    sizes = {"hidden_size": 256, "intermediate_size": 640, "num_hidden_layers": 4}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2} | more
    config = LlamaConfig(
        vocab_size=512,
        initializer_range=0.06,
        max_position_embeddings=1024,
        **sizes,
    )
    with torch.device("cuda"):
        return LlamaForCausalLM(config).to(torch.bfloat16).train()


def packed_in_four_bits(folder: Any) -> Any:
    from transformers import AutoModelForCausalLM

    if not (folder / "config.json").exists():
        fresh().save_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(
        folder, device_map={"": 0}, dtype=torch.bfloat16, quantization_config=models.four_bits(CARD)
    ).train()


def plain_lora(model: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    tuned = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")).train()
    torch.manual_seed(8)
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn_like(weight) * 0.05)
    return tuned


def ours(
    model: Any,
    plain: Any,
    recompute: float,
    method: str = "lora",
    compiled: bool | None = None,
    **more: Any,
) -> tuple[Any, Engine]:
    """Compiled from where layers wait in the host's memory: those that are not compiled cannot."""
    compiled = recompute > 0 if compiled is None else compiled
    mapping = {"model": "m", "data": "d", "method": method, "recompute": recompute, "batch": 4, "length": 512}
    spec = parse_spec({**mapping, "lora": {"rank": 8}, **more})
    tuned = models.with_adapters(model, spec, CARD)
    learned = {name: one for name, one in plain.state_dict().items() if "lora_" in name}
    assert not tuned.load_state_dict(learned, strict=False).unexpected_keys
    shape = shape_from_config("m", model.config.to_dict())
    return tuned.train(), engine_for(tuned, spec, shape, CARD, "sft", np.array(LENGTHS), compiled, "")


def rows(packed: bool = False) -> list[Any]:
    chance = np.random.default_rng(1)
    made = [{"input_ids": chance.integers(3, 512, size).tolist(), "learned": [1] * size} for size in LENGTHS]
    return [[made[0]], made[1:]] if packed else made


def alone() -> dict[str, Any]:
    """The rows side by side, with a mask, as any trainer gives them."""
    batch = collate(rows(), 0)
    lengths = torch.tensor(LENGTHS)[:, None]
    mask = (torch.arange(batch["input_ids"].shape[1])[None] < lengths).long()
    return batch | {"attention_mask": mask}


def learned_from(model: Any, batch: dict[str, Any], keep: bool = False) -> tuple[float, torch.Tensor]:
    """The mean loss, and the gradients of all that learns in one line; `keep`: added to those before."""
    if not keep:
        model.zero_grad()
    inputs = {name: one for name, one in batch.items() if name not in FOR_THE_LOSS}
    inputs = {name: one.cuda() if isinstance(one, torch.Tensor) else one for name, one in inputs.items()}
    with CARD.autocast():
        logits = model(**inputs, use_cache=False).logits.float()
    labels = batch["labels"].cuda()
    loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)
    loss.backward()
    return loss.item(), torch.cat(
        [one.grad.flatten().float() for one in model.parameters() if one.grad is not None]
    )


def assert_near(one: tuple[float, torch.Tensor], other: tuple[float, torch.Tensor]) -> None:
    assert one[0] == pytest.approx(other[0], rel=2e-3)
    assert one[1].shape == other[1].shape
    assert cosine_similarity(one[1], other[1], dim=0).item() > 0.999
    assert one[1].norm().item() == pytest.approx(other[1].norm().item(), rel=0.01)


@pytest.mark.parametrize("packing", [False, True], ids=["unpacked", "packed"])
@pytest.mark.parametrize("recompute", [0.0, 0.5, 0.75, 1.0])
def test_rows_on_one_line_learn_the_same(recompute: float, packing: bool) -> None:
    plain = plain_lora(fresh())
    model, engine = ours(fresh(), plain, recompute, packing=packing)
    assert engine.layout.kind == "lines"
    assert (engine.holder.host is not None) == (recompute > 0)
    expected = learned_from(plain, alone())
    for _ in range(3):  # the host's memory is used again by every pass
        assert_near(learned_from(model, collate(rows(packing), 0, engine.layout)), expected)


def test_what_waited_in_the_host_is_what_left() -> None:
    plain = plain_lora(fresh())
    found = []
    for recompute, kind in ((0.5, Hold.WIDE), (1.0, Hold.HOST)):
        model, engine = ours(fresh(), plain, recompute)
        assert engine.kinds == (kind,) * 4
        batch = collate(rows(), 0, engine.layout)
        found.append([learned_from(model, batch) for _ in range(2)][-1])
    # not bit by bit: kernels of both kinds are tuned apart, and may sum in another order
    (loss, gradients), (other_loss, others) = found
    assert loss == pytest.approx(other_loss, rel=1e-5)
    torch.testing.assert_close(gradients, others, rtol=1e-2, atol=3e-4)
    assert cosine_similarity(gradients, others, dim=0).item() > 0.9999
    assert gradients.norm().item() == pytest.approx(others.norm().item(), rel=2e-3)


@pytest.mark.parametrize("recompute", [0.5, 1.0])
def test_what_is_on_its_way_to_the_host_is_little(recompute: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the card holds what has left, since the host starts all layers before the first copy is done."""
    many = 12
    sizes = {"hidden_size": 4096, "intermediate_size": 4096, "num_hidden_layers": many}
    sizes |= {"num_attention_heads": 32, "num_key_value_heads": 8}
    row = {"input_ids": [3 + at % 500 for at in range(8192)], "learned": [1] * 8192}
    beyond, waits = [], 0
    for ahead in (host.AHEAD, 2**40):
        monkeypatch.setattr(host, "AHEAD", ahead)
        model, engine = ours(fresh(**sizes), plain_lora(fresh(**sizes)), recompute, length=8192)
        batch = collate([row] * 2, 0, engine.layout)
        learned_from(model, batch)
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        learned_from(model, batch)
        torch.cuda.synchronize()
        held = torch.cuda.memory_stats()["active_bytes.all.peak"]
        beyond.append(held - torch.cuda.max_memory_allocated())
        waits = engine.holder.host.bytes
    most = 2**29 + 2 * waits // many  # one layer's may be on its way besides, and one comes back
    assert beyond[0] < most < beyond[1], (beyond, waits)


def test_layers_in_the_host_leave_room_on_the_card() -> None:
    taken = {}
    for recompute in (0.0, 0.5, 1.0):
        model, engine = ours(fresh(), plain_lora(fresh()), recompute)
        batch = collate(rows(), 0, engine.layout)
        learned_from(model, batch)
        inputs = {name: one for name, one in batch.items() if name not in FOR_THE_LOSS}
        inputs = {name: one.cuda() if isinstance(one, torch.Tensor) else one for name, one in inputs.items()}
        gc.collect()  # the models before this one
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        with CARD.autocast():
            held = model.base_model.model.model(**inputs, use_cache=False).last_hidden_state
        torch.cuda.synchronize()
        taken[recompute] = torch.cuda.memory_allocated() - before
        held.sum().backward()
    assert taken[1.0] < taken[0.5] < taken[0.0]


@pytest.mark.parametrize("recompute", [0.0, 0.5, 1.0])
def test_four_bit_layers_learn_what_peft_s_learn(recompute: float, tmp_path: Any) -> None:
    plain = plain_lora(packed_in_four_bits(tmp_path))
    model, engine = ours(packed_in_four_bits(tmp_path), plain, recompute, method="qlora")
    batch = collate(rows(), 0, engine.layout)
    assert_near(learned_from(model, batch), learned_from(plain, alone()))


@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize("packing", [False, True], ids=["unpacked", "packed"])
def test_recorded_passes_learn_the_same(packing: bool, method: str, tmp_path: Any) -> None:
    base = fresh if method == "lora" else lambda: packed_in_four_bits(tmp_path)
    plain = plain_lora(base())
    model, engine = ours(base(), plain, 0.0, method, compiled=True, packing=packing)
    graphs = engine.holder.graphs
    assert graphs is not None
    layout = replace(engine.layout, borders=9)
    once = learned_from(plain, alone())
    learned_from(model, collate(rows(packing), 0, layout))
    graphs.on = True
    weights = [one for one in model.parameters() if one.requires_grad]
    for _ in range(3):
        assert_near(learned_from(model, collate(rows(packing), 0, layout)), once)
    fewer = collate(rows(packing)[:1], 0, layout)
    graphs.on = False
    others = learned_from(model, fewer)
    graphs.on = True
    assert_near(learned_from(model, fewer), others)
    assert_near(learned_from(model, collate(rows(packing), 0, layout)), once)
    # a second and a third pass of one step add their gradients
    for _ in range(2):
        before = [one.grad.clone() for one in weights]
        now = learned_from(model, fewer, keep=True)
        added = torch.cat([(one.grad - b).flatten() for one, b in zip(weights, before, strict=True)])
        assert_near((now[0], added), others)
    with torch.no_grad():  # a recording sees the adapters as they are now
        for one in (*weights, *(other for other in plain.parameters() if other.requires_grad)):
            one.mul_(1.5)
    assert_near(learned_from(model, collate(rows(packing), 0, layout)), learned_from(plain, alone()))
    torch.cuda.synchronize()
    assert graphs.bytes > 0 and graphs.peak() > torch.cuda.memory_allocated()


def test_a_four_bit_weight_is_read_as_bitsandbytes_reads_it(tmp_path: Any) -> None:
    from bitsandbytes import functional

    from core.train.engine import adapter  # noqa: F401  its ops are called by name

    layer = packed_in_four_bits(tmp_path).model.layers[0].mlp.up_proj
    packed, state = layer.weight, layer.weight.quant_state
    like = torch.empty(0, dtype=torch.bfloat16, device="cuda")
    told = [state.absmax, state.offset, state.state2.absmax, state.state2.code, like]
    weight = torch.ops.finetui.dequantised(
        packed.data, told, list(state.shape), [state.blocksize, state.state2.blocksize]
    )
    assert torch.equal(weight, functional.dequantize_4bit(packed.data, state).to(torch.bfloat16))
