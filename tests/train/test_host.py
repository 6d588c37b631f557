"""What waits in the host's memory comes back as it left, in plain memory where there is no card."""

from typing import Any

import pytest
import torch

from core.plan.dial import Hold
from core.train.engine import host as module
from core.train.engine import layers, peft_layers
from core.train.engine.host import Host

HIDDEN, WIDE, LAYERS, TOKENS = 32, 96, 4, 64


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLAB", 2**16)  # some tensors end one and begin the next
    torch._dynamo.reset()


def model() -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=HIDDEN,
        intermediate_size=WIDE,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=50,
    )
    lora = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    lora._register_custom_module(peft_layers.layers_for("lora", "cpu"))
    tuned = get_peft_model(AutoModelForCausalLM.from_config(config), lora).train()
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return tuned


def waiting(tuned: Any, kinds: list[Hold]) -> Host:
    there = Host(tuned.parameters(), HIDDEN, cuda=False)
    holder = layers.Holder(HIDDEN, compiled=False, random=False, loose=False, host=there)
    holder.compiled = True
    holder._run = torch.compile(layers._held, backend="aot_eager_decomp_partition")
    holder.take_all(layers.decoder_layers(tuned), kinds)
    return there


def forward(tuned: Any, first: int = 0) -> Any:
    ids = (torch.arange(2 * TOKENS).view(2, TOKENS) + first) % 50
    return tuned.base_model.model.model(input_ids=ids, use_cache=False).last_hidden_state.square().mean()


def gradients(tuned: Any, first: int = 0) -> torch.Tensor:
    tuned.zero_grad()
    forward(tuned, first).backward()
    return torch.cat([one.grad.flatten() for one in tuned.parameters() if one.grad is not None])


@pytest.mark.parametrize(
    "kinds",
    [
        [Hold.WIDE] * LAYERS,
        [Hold.HOST] * LAYERS,
        [Hold.ALL, Hold.WIDE, Hold.ALL, Hold.WIDE],
        [Hold.WIDE, Hold.HOST, Hold.WIDE, Hold.HOST],
        [Hold.WIDE, Hold.ALL, Hold.ALL, Hold.ALL],
    ],
    ids=["wide", "host", "some", "both", "one"],
)
def test_layers_that_wait_learn_the_same_pass_after_pass(kinds: list[Hold]) -> None:
    plain, tuned = model(), model()
    there = waiting(tuned, kinds)
    taken = set()
    for first in (0, 7, 21):
        torch.testing.assert_close(gradients(tuned, first), gradients(plain, first), rtol=1e-4, atol=1e-7)
        assert not there._parked and there._used == 0
        taken.add(there.bytes)
    assert len(taken) == 1 and taken.pop() > 0, "the memory of the first pass is used again by the others"


def test_a_pass_that_never_goes_backward_leaves_nothing_behind() -> None:
    plain, tuned = model(), model()
    there = waiting(tuned, [Hold.HOST] * LAYERS)
    forward(tuned)
    taken = there.bytes
    torch.testing.assert_close(gradients(tuned), gradients(plain), rtol=1e-4, atol=1e-7)
    assert there.bytes == taken


def test_only_narrow_tensors_leave_and_weights_stay() -> None:
    tuned = model()
    there = waiting(tuned, [Hold.WIDE] * LAYERS)
    loss = forward(tuned)
    per_token = {one.size.numel() // (2 * TOKENS) for one in there._parked}
    # the layer's input, queries, keys and values, what attention makes, its projection; no gate and no up
    assert max(per_token) == HIDDEN
    own = {one.shape for one in tuned.parameters()}
    assert not own & {one.size for one in there._parked}
    loss.backward()


def test_a_tensor_that_lies_turned_in_memory_comes_back_as_it_lay() -> None:
    there = Host([], HIDDEN, cuda=False)
    turned = torch.randn(2, TOKENS, 4, 8).transpose(1, 2)
    with there.layer(torch.empty(2, TOKENS, HIDDEN), True):
        parked = there.pack(turned)
    assert not isinstance(parked, torch.Tensor)
    back = there.unpack(parked)
    assert back.stride() == turned.stride() and torch.equal(back, turned)


def test_a_tensor_with_gaps_stays() -> None:
    there = Host([], HIDDEN, cuda=False)
    gaps = torch.randn(2, TOKENS, 2 * HIDDEN)[..., :HIDDEN]
    with there.layer(torch.empty(2, TOKENS, HIDDEN), True):
        assert there.pack(gaps) is gaps


class Mark:
    """A place in the card's work, which is done when somebody has waited for it."""

    def __init__(self) -> None:
        self.done = False

    def synchronize(self) -> None:
        self.done = True


@pytest.mark.parametrize(
    ("size", "open_"),
    [
        (10, [[0], [0, 1], [1, 2], [2, 3]]),
        (5, [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]),
        (30, [[0], [1], [2], [3]]),
    ],
    ids=["two layers", "small ones", "a large one"],
)
def test_the_host_is_held_back_when_too_much_is_on_its_way(size: int, open_: list[list[int]]) -> None:
    near, marks, seen = module.Near(ahead=20), [Mark() for _ in open_], []
    for at, mark in enumerate(marks):
        near.reached(mark, size)
        seen.append([place for place in range(at + 1) if not marks[place].done])
    assert seen == open_


def test_each_layer_is_a_mark_forward_and_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    tuned, marks = model(), []
    there = waiting(tuned, [Hold.ALL, Hold.HOST, Hold.WIDE, Hold.HOST])
    real = Host._stay_near

    def marked(self: Host, stream: Any) -> None:
        marks.append((self._at, self._moved > 0))
        real(self, stream)

    monkeypatch.setattr(Host, "_stay_near", marked)
    for _ in range(2):
        marks.clear()
        gradients(tuned)
        there_, back = marks[:3], marks[3:]
        assert [at for at, _ in there_] == [-1] * 3, "three layers wait"
        assert [at for at, _ in back] == [2, 1, 0], "and are wanted from the last one on"
        assert [moved for _, moved in (*there_[1:], *back)] == [True] * 5
    assert there._at == -1
