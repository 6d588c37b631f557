"""Number formats: what is trained is in fp32 above a half-precision base, and computes what fp32 computes.

Run on the CPU with its bf16 autocast, which follows the same rules as the GPU's.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import UserError
from core.spec import RunSpec
from core.train import device as devices
from core.train import model as models
from core.train.device import Device
from tests.train.conftest import Make

ADAPTERS: dict[str, dict[str, Any]] = {
    "plain": {"rank": 4},
    "dropout": {"rank": 4, "dropout": 0.5},
    "dora": {"rank": 4, "dora": True},
    "rslora": {"rank": 4, "rslora": True},
}


def spec_of(make_run: Make, **changes: Any) -> RunSpec:
    return make_run(**changes).spec()


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_adapters_learn_in_fp32_over_a_bf16_base(make_run: Make, tiny: Path, method: str, kind: str) -> None:
    device = Device("cpu", "bf16")
    spec = spec_of(make_run, method=method, lora=ADAPTERS[kind])
    model = models.load(spec, tiny, device)
    trained = {one.dtype for one in model.parameters() if one.requires_grad}
    frozen = {one.dtype for one in model.parameters() if not one.requires_grad}
    assert trained == {torch.float32}
    assert frozen == ({torch.bfloat16} if method == "lora" else {torch.bfloat16, torch.uint8})
    with device.autocast():
        loss = model(input_ids=IDS, labels=IDS).loss
    loss.backward()
    gradients = [one.grad for one in model.parameters() if one.requires_grad]
    assert all(one is not None and one.dtype == torch.float32 and one.isfinite().all() for one in gradients)


IDS = torch.arange(4, 44).reshape(2, 20)


def test_bf16_gives_the_loss_and_gradients_of_fp32_within_its_own_rounding(
    make_run: Make, tiny: Path
) -> None:
    found = {}
    for precision in ("fp32", "bf16"):
        device = Device("cpu", precision)
        torch.manual_seed(3)
        model = models.load(spec_of(make_run), tiny, device)
        with device.autocast():
            loss = model(input_ids=IDS, labels=IDS).loss
        loss.backward()
        found[precision] = (
            loss.item(),
            torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None]),
        )
    assert found["bf16"][0] == pytest.approx(found["fp32"][0], rel=0.01)
    like = torch.nn.functional.cosine_similarity(found["bf16"][1], found["fp32"][1], dim=0)
    assert like > 0.99


def test_no_copy_of_the_inputs_is_kept_in_fp32(make_run: Make, tiny: Path) -> None:
    """A LoRA layer's input is kept once, in bf16, for the backward pass."""
    device = Device("cpu", "bf16")

    def kept(cast: bool) -> int:
        model = models.load(spec_of(make_run), tiny, device)
        models.cast_inputs(model, cast)
        wide = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal wide
            wide += tensor.dtype == torch.float32 and tensor.shape[:2] == IDS.shape
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor), device.autocast():
            model(input_ids=IDS, labels=IDS)
        return wide

    assert (
        models.load(spec_of(make_run), tiny, device)
        .base_model.model.model.layers[0]
        .self_attn.q_proj.cast_input_dtype_enabled
        is False
    )
    assert kept(False) <= kept(True)


def test_fp16_trains_all_weights_of_a_full_run_in_fp32(make_run: Make) -> None:
    assert models.base_dtype("full", Device("cuda", "fp16")) is torch.float32
    assert models.base_dtype("lora", Device("cuda", "fp16")) is torch.float16
    assert models.base_dtype("full", Device("cuda", "bf16")) is torch.bfloat16


class Card:
    """Stands in for torch's view of a card: which this machine may not have."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
        monkeypatch.setattr(devices, "keep_memory_whole", lambda: None)  # it asks the card for some


def test_bf16_is_refused_on_a_card_without_it(make_run: Make, monkeypatch) -> None:
    Card(monkeypatch, (7, 5))
    with pytest.raises(UserError, match=r"Tesla T4 cannot train in bf16: .*8\.0, it has 7\.5.*fp16"):
        devices.choose(spec_of(make_run, precision="bf16"))
    assert devices.choose(spec_of(make_run, precision="fp16")) == Device("cuda", "fp16")
    assert devices.choose(spec_of(make_run, precision="auto")) == Device("cuda", "fp16")
    Card(monkeypatch, (8, 9))
    assert devices.choose(spec_of(make_run, precision="bf16")) == Device("cuda", "bf16")


def test_the_first_of_several_gpus_is_left_visible(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-b,GPU-a")
    assert devices.one_gpu() == ["GPU-a"]
    assert devices.os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-b"


def test_weights_that_are_no_numbers_are_seen(make_run: Make, tiny: Path) -> None:
    model = models.load(spec_of(make_run), tiny, Device("cpu", "fp32"))
    assert models.is_finite(model)
    with torch.no_grad():
        next(one for one in model.parameters() if one.requires_grad).view(-1)[0] = float("nan")
    assert not models.is_finite(model)
