"""AdamW with moments of 8 bits: places in bitsandbytes' tables, its state, when the compiled one is taken."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bitsandbytes import functional
from bitsandbytes.optim import AdamW
from torch import nn
from torch._dynamo.utils import counters

from core.runs.history import replay
from core.train import worker
from core.train.engine import adam8
from core.train.engine.adam8 import CompiledAdamW
from core.train.engine.moments import BLOCK, Kept, nearest, told, update
from core.train.trainer import Tuner
from tests.train.short_of_memory import runs_out

pytestmark = pytest.mark.usefixtures("fresh_compiler")
TABLES = functional.create_dynamic_map(signed=True), functional.create_dynamic_map(signed=False)


def looked_up(values: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    middles = (table.double()[1:] + table.double()[:-1]) / 2
    return torch.searchsorted(middles, values.double())


@pytest.mark.parametrize("signed", [True, False])
def test_a_share_goes_to_the_nearest_value_of_bitsandbytes_table(signed):
    table = TABLES[0][127:] if signed else TABLES[1]
    random = torch.Generator().manual_seed(0)
    evenly, by_size = (torch.rand(200_000, generator=random) for _ in range(2))
    share = torch.cat([evenly, 10 ** (-8 * by_size), torch.tensor([0.0, 1.0]), table])
    found = nearest(share, 1 if signed else 2)
    assert (found != looked_up(share, table)).float().mean() < 1e-4, "but for those half-way"
    assert found[-len(table) :].tolist() == list(range(len(table)))


def rows_of(weight: torch.Tensor, gradient: torch.Tensor, places: Any, blocks: int) -> Kept:
    first, second = (one.view(blocks, BLOCK) for one in places)
    largest = torch.zeros(blocks), torch.zeros(blocks)
    return Kept(weight.view(blocks, BLOCK), gradient.view(blocks, BLOCK), (first, second), largest)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_steps_are_adamws_with_each_moment_at_its_nearest_place(dtype):
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(4 * BLOCK, generator=random).to(dtype)
    before = weight.double()
    places = torch.full((4 * BLOCK,), 127, dtype=torch.uint8), torch.zeros(4 * BLOCK, dtype=torch.uint8)
    kept = rows_of(weight, weight, places, 4)
    group = {"lr": 1e-2, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1}
    for step in (1, 2, 3):
        slope = (torch.randn(4 * BLOCK, generator=random) * 1e-3).to(dtype)
        first, second = (
            table[place.long()].double() * most[:, None]
            for table, place, most in zip(TABLES, kept.places, kept.largest, strict=True)
        )
        first = 0.9 * first.flatten() + 0.1 * slope.double()
        second = 0.99 * second.flatten() + 0.01 * slope.double() ** 2
        down = first / (1 - 0.9**step) / ((second / (1 - 0.99**step)).sqrt() + 1e-8)
        before = weight.double() * (1 - 1e-3) - 1e-2 * down
        update(kept._replace(gradient=slope.view(4, BLOCK)), TABLES, told(group, step, weight.device))
        assert torch.allclose(
            weight.double(), before, rtol=2**-8 if dtype == torch.bfloat16 else 1e-5, atol=1e-7
        )
        for moment, place, most, table in zip(
            (first, second), kept.places, kept.largest, TABLES, strict=True
        ):
            top = moment.abs().view(4, BLOCK).amax(1)
            assert torch.allclose(most.double(), top)
            shares = (moment.view(4, BLOCK) / top[:, None]).flatten()
            assert (place.flatten() != looked_up(shares, table)).float().mean() < 1e-2, (
                "but for those half-way"
            )


def test_a_block_of_nothing_stays_nothing():
    places = torch.full((BLOCK,), 127, dtype=torch.uint8), torch.zeros(BLOCK, dtype=torch.uint8)
    kept = rows_of(torch.ones(BLOCK), torch.zeros(BLOCK), places, 1)
    group = {"lr": 1e-2, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.0}
    update(kept, TABLES, told(group, 1, torch.device("cpu")))
    assert kept.weight.tolist() == [[1.0] * BLOCK] and set(places[0].tolist()) == {127}


def weights(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    """Whole blocks of four sizes; one that is none; and one that bitsandbytes keeps in 32 bits."""
    random = torch.Generator().manual_seed(1)
    sizes = [(64, 128), (64, 256), (48, 256), (64, 128), (70, 70), (100,), (96, 256)]
    return [nn.Parameter(torch.randn(size, generator=random).to(dtype)) for size in sizes]


def stepped(optimizer: Any, steps: int, seed: int = 0) -> Any:
    random = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for weight in optimizer.param_groups[0]["params"]:
            weight.grad = torch.randn(weight.shape, generator=random).to(weight) * 1e-3
        optimizer.step()
    return optimizer


def grouped(dtype: torch.dtype = torch.float32) -> list[dict[str, Any]]:
    return [{"params": weights(dtype), "lr": 1e-2, "weight_decay": 0.01, "betas": (0.9, 0.99), "eps": 1e-8}]


def test_it_is_compiled_twice_for_all_sizes_and_comes_to_what_bitsandbytes_comes_to():
    theirs = stepped(AdamW(grouped(), optim_bits=8), 3)
    ours = stepped(CompiledAdamW(grouped(), backend="aot_eager"), 3)
    assert counters["stats"]["unique_graphs"] == 2, "of the first size, and of any"
    for one, other in zip(*(each.param_groups[0]["params"] for each in (theirs, ours)), strict=True):
        kept, made = theirs.state[one], ours.state[other]
        assert {key: type(value) for key, value in kept.items()} == {
            key: type(value) for key, value in made.items()
        }
        assert kept["state1"].dtype == made["state1"].dtype and made["step"] == 3
        # on a CPU its own search for a place is a rough one, and its table of small values coarse
        assert (one - other).abs().mean() < 2e-3, "of three steps of a hundredth"


def test_a_checkpoint_of_either_goes_on_with_the_other():
    theirs = stepped(AdamW(grouped(), optim_bits=8), 2)
    ours = CompiledAdamW(grouped(), backend="eager")
    for mine, other in zip(ours.param_groups[0]["params"], theirs.param_groups[0]["params"], strict=True):
        mine.data.copy_(other)
    ours.load_state_dict(theirs.state_dict())
    before = [weight.detach().clone() for weight in ours.param_groups[0]["params"]]
    stepped(ours, 1, seed=5)
    assert all(ours.state[weight]["step"] == 3 for weight in before_of(ours))
    moved = [(now - was).abs().mean().item() for now, was in zip(before_of(ours), before, strict=True)]
    assert all(1e-3 < each < 3e-2 for each in moved), "a step with what was kept, of about the learning rate"
    back = AdamW(grouped(), optim_bits=8)
    back.load_state_dict(ours.state_dict())
    assert all(back.state[weight]["step"] == 3 for weight in before_of(back))


def before_of(optimizer: Any) -> list[nn.Parameter]:
    return list(optimizer.param_groups[0]["params"])


def test_a_run_learns_with_it_and_goes_on_from_its_checkpoint(make_run, monkeypatch):
    created = Tuner.create_optimizer

    def create(tuner: Any) -> Any:
        if tuner.optimizer is None:
            created(tuner)
            tuner.optimizer = CompiledAdamW(tuner.optimizer.param_groups, backend="eager")
        return tuner.optimizer

    monkeypatch.setattr(Tuner, "create_optimizer", create)
    full: list[int] = []
    runs_out(
        "training_step",
        lambda tuner: tuner.state.global_step == 10 and not full and (full.append(1) or True),
        monkeypatch.setattr,
    )
    plain = {"method": "full", "optimizer": "adamw_8bit", "learning_rate": 1e-3, "recompute": 1}
    run = make_run("eight", **plain, steps=15, save={"every": 4})
    assert worker.work(run) == worker.AGAIN and worker.work(run, 1) == 0
    steps = replay(run).steps
    assert [one.step for one in steps] == list(range(1, 16))
    assert steps[-1].loss < 0.9 * steps[0].loss
    at, newest = run.checkpoint_list()[-1]
    told = torch.load(newest / "optimizer.pt", weights_only=True)["state"].values()
    kept = [{**one, **one.get(AdamW._FSDP_WRAPPED_QUANT_STATE_KEY, {})} for one in told]
    assert {one["step"] for one in kept} == {at}
    assert {one["state1"].dtype for one in kept if one["state1"].numel() < 4096} == {torch.float32}
    assert {one["state1"].dtype for one in kept if "qmap1" in one} == {torch.uint8}


class Asking(SimpleNamespace):
    optimizer: Any = None

    def create_optimizer(self) -> None:
        rest = [one for one in self.model.parameters() if one.requires_grad]
        self.optimizer = AdamW([{"params": rest, "lr": 3e-4, "weight_decay": 0.1}], optim_bits=8)


@pytest.fixture
def asking() -> Asking:
    torch.manual_seed(0)
    layers = [nn.Linear(64, 128, bias=False) for _ in range(30)]
    return Asking(model=nn.Sequential(nn.Embedding(100, 64), *layers))


@pytest.mark.parametrize(("theirs", "ours", "taken"), [(0.03, 0.01, True), (0.03, 0.029, False)])
def test_the_quicker_one_is_taken(asking, monkeypatch, theirs, ours, taken):
    took = {adam8._plain: theirs, CompiledAdamW: ours}
    tried = AdamW(grouped(), optim_bits=8)
    monkeypatch.setattr(adam8, "_tried", lambda make, _: (stepped(tried, 1), took[make]))
    said = adam8.quicken(asking)
    assert isinstance(asking.optimizer, CompiledAdamW) == taken
    assert said.startswith("compiled: 10.0 ms for" if taken else "not compiled: 29.0 ms for")
    group = asking.optimizer.param_groups[0]
    assert group["lr"] == 3e-4 and group["weight_decay"] == 0.1 and len(group["params"]) == 31


def test_one_that_comes_to_other_weights_is_not_taken(asking, monkeypatch):
    made = {adam8._plain: AdamW(grouped(), optim_bits=8), CompiledAdamW: AdamW(grouped(), optim_bits=8)}
    monkeypatch.setattr(adam8, "_tried", lambda make, _: (stepped(made[make], 1, seed=len(str(make))), 0.01))
    assert adam8.quicken(asking) == "not compiled: it came to other weights"
    assert type(asking.optimizer) is AdamW


def test_a_compiler_that_fails_is_said_and_nothing_is_changed(asking, monkeypatch):
    def compile_(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no compiler here\nand more")

    monkeypatch.setattr(torch, "compile", compile_)
    before = [one.clone() for one in asking.model.parameters()]
    assert adam8.quicken(asking) == "not compiled: that failed (no compiler here)"
    assert type(asking.optimizer) is AdamW
    assert all(torch.equal(one, was) for one, was in zip(asking.model.parameters(), before, strict=True))


def test_it_is_tried_with_copies_of_a_few_weights_and_no_embedding(asking):
    some = adam8.tried_with(asking.model)
    assert [tuple(one.shape) for one in some] == [(128, 64)]
    optimizer, seconds = adam8._tried(adam8._plain, asking.model)
    assert seconds > 0 and optimizer.state[optimizer.param_groups[0]["params"][0]]["step"] == 4
    assert not {id(one) for one in optimizer.param_groups[0]["params"]} & {
        id(one) for one in asking.model.parameters()
    }
