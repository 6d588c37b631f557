"""The fullest pass over rows of many lengths: it is near, hardly ever passed, and planned with."""

import time
from collections import Counter

import numpy as np
import pytest

from core.data.lengths import describe
from core.plan.advise import advise
from core.plan.cards import card_here, card_of_size
from core.plan.fullest import Spread, spread_of
from core.plan.work import work_of
from core.spec import parse_spec
from tests.plan.boxes import box, gpu, model, spec


def answers(random: np.random.Generator, rows: int) -> np.ndarray:
    """Short ones mostly, as those of Alpaca."""
    return np.clip(random.lognormal(5.0, 0.6, rows), 20, 1024).astype(int)


def chats(random: np.random.Generator, rows: int) -> np.ndarray:
    return np.clip(random.lognormal(6.2, 0.9, rows), 30, 4096).astype(int)


def two_kinds(random: np.random.Generator, rows: int) -> np.ndarray:
    """One row in fifty is a hundred times as long as the others."""
    return np.where(random.random(rows) < 0.02, 4000, 40)


@pytest.mark.parametrize("made", [answers, chats, two_kinds])
@pytest.mark.parametrize("batch", [1, 2, 8, 32])
def test_hardly_a_run_has_a_fuller_pass(made, batch):
    random = np.random.default_rng(5)
    lengths = made(random, 4_096)
    bound = Spread(Counter(lengths.tolist()).items()).fullest(batch)
    assert bound <= batch * -(-int(lengths.max()) // 64) * 64
    runs = []
    for _ in range(50):
        epochs = [random.permutation(lengths).reshape(-1, batch).sum(axis=1).max() for _ in range(3)]
        runs.append(int(max(epochs)))
    assert sum(most > bound for most in runs) <= 2, "one in a hundred"
    a_row = 4000 if made is two_kinds else 0
    assert bound < 1.15 * max(runs) + a_row, "and it is near"


def test_one_row_may_be_the_longest_and_even_rows_lie_side_by_side():
    assert Spread([(100, 9), (1000, 1)]).fullest(1) == 1024
    even = Spread([(960, 5), (1000, 5)])
    assert even.even and even.fullest(4) == 4 * 1024


def test_rows_are_those_that_a_length_leaves():
    report = {"lengths": describe([100] * 90 + [1000] * 10), "format": "alpaca"}
    cut, split = (spread_of(report, 300, long) for long in ("cut", "split"))
    dropped = spread_of(report, 300, "drop")
    assert cut and split and dropped and dropped.longest == 100 and cut.longest == split.longest == 300
    assert split.fullest(8) > cut.fullest(8) > dropped.fullest(8) == 8 * 128
    assert spread_of(report, 50, "drop") is None and spread_of(None, 300, "cut") is None
    assert spread_of({"lengths": {"mean": 4}}, 300, "cut") is None
    text = spread_of({**report, "format": "text"}, 300, "cut")
    assert text and text.fullest(8) == split.fullest(8)


MIXED = {
    "lengths": describe(answers(np.random.default_rng(1), 20_000).tolist()),
    "train_rows": 20_000,
    "format": "alpaca",
}


def tokens(name: str, card: object, **changes: object) -> int:
    asked = parse_spec({"model": "m", "data": "d", "length": 1024, **changes})
    here = box(card) if card else box()  # type: ignore[arg-type]
    return work_of(asked, model(name), card_here(asked, here), MIXED, "lora").tokens(8)


def test_passes_are_full_where_rows_are_padded_or_packed():
    llama, ampere = "meta-llama/Llama-3.1-8B", gpu(80)
    assert tokens(llama, ampere) < 0.6 * 8 * 1024
    assert tokens(llama, None) == tokens(llama, gpu(16, capability=(7, 5))) == 8 * 1024
    assert tokens(llama, ampere, packing=True) == tokens(llama, ampere, objective="dpo") // 2 == 8 * 1024
    assert tokens(llama, ampere, precision="fp32") == 8 * 1024
    assert tokens("google/gemma-2-9b", ampere) == tokens("Qwen/Qwen3-30B-A3B", ampere) == 8 * 1024


def test_a_plan_for_uneven_rows_fills_the_card_with_more_of_them():
    short = {**MIXED, "lengths": describe([1024] * 20_000)}
    made = {
        name: advise(spec(), box(gpu(24)), model("meta-llama/Llama-3.1-8B"), report).of("lora")
        for name, report in (("mixed", MIXED), ("full", short))
    }
    assert made["mixed"].batch > made["full"].batch or made["mixed"].recompute < made["full"].recompute
    assert made["mixed"].fits and made["full"].fits


def test_how_full_it_will_be_is_part_of_the_error():
    made = {
        name: advise(spec(length=1024), box(gpu(24)), model("meta-llama/Llama-3.1-8B"), report).of("lora")
        for name, report in (("mixed", MIXED), ("none", None))
    }
    mixed, none = made["mixed"].estimate, made["none"].estimate
    assert mixed and none and mixed.error and none.error
    assert mixed.error[0] == none.error[0] and 0.01 < mixed.error[1] - none.error[1] < 0.3
    work = work_of(spec(length=1024), model("meta-llama/Llama-3.1-8B"), card_of_size(24), MIXED, "lora")
    assert work.tokens(8, chance=0.95) < work.tokens(8) < work.tokens(8, chance=1e-4)


def test_it_takes_no_time():
    begun = time.process_time()
    spread = Spread((length, 3) for length in range(1, 2_000))
    for batch in range(1, 65):
        spread.fullest(batch)
    assert time.process_time() - begun < 0.05
