"""All layers in one call, as a recording makes it: what goes in, which passes share one, whose gradients
stay.

The recording itself needs a card (tests/train/test_engine_gpu.py); here its place is taken by the layers
themselves, and by one that writes into the same memory each time as a recording does.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.exc import FailOnRecompileLimitHit

from core.plan.fullest import coarse
from core.train.batches import Layout, collate
from core.train.engine import graphs as module
from core.train.engine.graphs import Graphs, Inputs, Stack, free_bytes


class Layer(nn.Module):
    def __init__(self, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(4, 4))

    def forward(self, hidden: Tensor, other: Tensor, *, factor: float, pair: tuple[Tensor, Tensor]) -> Tensor:
        return torch.tanh(hidden @ self.weight) * factor + other * pair[0] + pair[1]


def stacked(monkeypatch: pytest.MonkeyPatch, recorder: Any) -> tuple[list[Layer], Graphs, list[Any]]:
    layers = [Layer(seed) for seed in range(3)]
    graphs = Graphs([one.weight for one in layers], torch.float32)
    calls = [graphs.layer(one) for one in layers]
    monkeypatch.setattr(graphs, "_record", recorder)
    graphs.on = True
    return layers, graphs, calls


def passed(calls: list[Any], hidden: Tensor, factor: float = 2.0, size: int = 1) -> Tensor:
    torch.manual_seed(5)
    other, one, two = (torch.randn(size, 4) for _ in range(3))
    for call in calls:
        hidden = call(hidden, other, factor=factor, pair=(one, two))
    return hidden


def test_layers_together_make_what_they_make_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def plainly(hidden: Tensor, inputs: Inputs) -> Any:
        stack = Stack(graphs._calls, graphs._learned, inputs)
        return stack

    layers, graphs, calls = stacked(monkeypatch, plainly)
    hidden = torch.randn(5, 4)
    together = passed(calls, hidden)
    together.sum().backward()
    grads = [one.weight.grad for one in layers]
    for one in layers:
        one.weight.grad = None
    alone = passed(layers, hidden)
    alone.sum().backward()
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(grads, [one.weight.grad for one in layers])


def test_a_recording_serves_passes_of_its_shape_and_settings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = []

    def counted(hidden: Tensor, inputs: Inputs) -> Any:
        recorded.append(hidden.shape)
        return Stack(graphs._calls, [], inputs)

    _, graphs, calls = stacked(monkeypatch, counted)
    for hidden, factor, count in (
        (torch.zeros(5, 4), 2.0, 1),
        (torch.ones(5, 4), 2.0, 1),
        (torch.ones(6, 4), 2.0, 2),
        (torch.ones(6, 4), 3.0, 3),
        (torch.ones(5, 4), 2.0, 3),
    ):
        passed(calls, hidden, factor)
        assert len(recorded) == count


def test_more_shapes_than_are_recorded_go_layer_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 1)
    layers, graphs, calls = stacked(monkeypatch, lambda hidden, inputs: Stack(graphs._calls, [], inputs))
    passed(calls, torch.ones(5, 4))
    hidden = torch.ones(7, 4)
    torch.testing.assert_close(passed(calls, hidden), passed(layers, hidden))
    assert len(graphs._recorded) == 1


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("no room"), FailOnRecompileLimitHit("compiled 64 times")], ids=repr
)
def test_a_later_recording_that_fails_ends_recording_and_not_the_run(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(hidden: Tensor, inputs: Inputs) -> Any:
        if hidden.shape[0] == 7:
            raise error
        return Stack(graphs._calls, [], inputs)

    layers, graphs, calls = stacked(monkeypatch, failing)
    passed(calls, torch.ones(5, 4))
    for size in (7, 5):
        hidden = torch.ones(size, 4)
        torch.testing.assert_close(passed(calls, hidden), passed(layers, hidden))
        assert not graphs.on


def test_a_first_recording_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(hidden: Tensor, inputs: Inputs) -> Any:
        raise RuntimeError("it cannot be captured")

    _, _, calls = stacked(monkeypatch, failing)
    with pytest.raises(RuntimeError, match="captured"):
        passed(calls, torch.ones(5, 4))


def test_weights_that_lie_elsewhere_are_recorded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = []

    def counted(hidden: Tensor, inputs: Inputs) -> Any:
        recorded.append(hidden.shape)
        return Stack(graphs._calls, [], inputs)

    layers, graphs, calls = stacked(monkeypatch, counted)
    passed(calls, torch.ones(5, 4))
    layers[0].weight.data = layers[0].weight.data.clone()
    passed(calls, torch.ones(5, 4))
    assert len(recorded) == 2


class Replayed(torch.autograd.Function):
    """Its gradients lie in the same memory after every pass, and a forward pass writes over them."""

    there = torch.zeros(4, 4)

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, *weights: Tensor) -> Tensor:
        Replayed.there.fill_(float("nan"))
        ctx.save_for_backward(hidden)
        return hidden.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        (hidden,) = ctx.saved_tensors
        Replayed.there.copy_(hidden.sum() * torch.ones(4, 4))
        return (grad, *(Replayed.there.detach() for _ in range(3)))


def test_gradients_of_several_passes_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    weights: list[nn.Parameter] = []

    def replaying(hidden: Tensor, inputs: Inputs) -> Any:
        return lambda hidden, *_: Replayed.apply(hidden, *weights)

    layers, _, calls = stacked(monkeypatch, replaying)
    weights += [one.weight for one in layers]
    for _ in range(2):  # two steps of three passes
        for value in (1.0, 2.0, 3.0):
            passed(calls, torch.full((1, 4), value)).sum().backward()
        for one in layers:
            torch.testing.assert_close(one.weight.grad, torch.full((4, 4), 4 * 6.0))
            one.weight.grad = None


def test_lines_for_recordings_have_few_lengths_and_as_many_borders() -> None:
    chance = np.random.default_rng(3)
    layout = Layout("lines", None, 600, borders=8 + 2)
    sizes = set()
    for _ in range(200):
        rows = [
            {"input_ids": [7] * size, "learned": [1] * size}
            for size in chance.integers(20, 600, int(chance.integers(1, 9)))
        ]
        batch = collate(rows, 0, layout)
        ends, tokens = batch["cu_seq_lens_q"], sum(len(row["input_ids"]) for row in rows)
        assert ends.shape == (10,) and ends[0] == 0 and bool((ends.diff() >= 0).all())
        assert int(ends[-1]) == batch["input_ids"].shape[1] < tokens + coarse(tokens)
        assert batch["tokens"] == tokens
        sizes.add(batch["input_ids"].shape[1])
    assert len(sizes) < 40


def test_packs_for_recordings_have_as_many_borders() -> None:
    layout = Layout("lines", 40, 40, count=3, borders=3 * 5 + 1)
    row = {"input_ids": [7] * 9, "learned": [1] * 9}
    for lines in ([[row] * 4] * 3, [[row]] * 3, [[row] * 2]):
        batch = collate(lines, 0, layout)
        assert batch["cu_seq_lens_q"].shape == (16,) and batch["input_ids"].shape == (1, 120)
        assert int(batch["cu_seq_lens_q"][-1]) == 120


@pytest.mark.parametrize(
    ("free", "share", "room"), [(60, 1.0, 65), (60, 0.3, 25), (4, 0.3, 9), (60, 0.05, 5)]
)
def test_what_is_free_is_no_more_than_the_process_may_take(monkeypatch, free, share, room):
    known = {
        "is_available": lambda: True,
        "current_device": lambda: 0,
        "get_device_properties": lambda _: SimpleNamespace(total_memory=100),
        "get_per_process_memory_fraction": lambda: share,
        "memory_reserved": lambda: 10,
        "memory_allocated": lambda: 5,
        "mem_get_info": lambda: (free, 100),
    }
    for name, told in known.items():
        monkeypatch.setattr(torch.cuda, name, told)
    assert free_bytes() == room, "with what torch has and does not use"
