"""Figures that are told a step later are those of their step, also where they are no numbers."""

import math

import torch

from core.train.engine.later import Later


def put(later: Later, step: int, loss: float, norm: float | None) -> None:
    later.begin(cuda=False)
    given = None if norm is None else torch.tensor(norm)
    later.put(step, 2, 0.5, 1e-3, 10 * step, torch.tensor(loss), given)


def test_all_but_the_newest_are_told_in_order() -> None:
    later = Later()
    for step in (1, 2, 3):
        put(later, step, 2.0 * step, 1.0)
    assert [(one["step"], one["loss"], one["num_tokens"]) for one in later.take(1)] == [
        (1, 1.0, 10),
        (2, 2.0, 20),
    ]
    assert [one["step"] for one in later.take(0)] == [3] and not later.take(0)


def test_a_norm_that_is_not_a_number_is_told_and_none_is_left_out() -> None:
    later = Later()
    put(later, 1, 1.0, math.nan)
    put(later, 2, 1.0, None)
    put(later, 3, math.nan, math.inf)
    bad, without, both = later.take(0)
    assert math.isnan(bad["grad_norm"]) and bad["loss"] == 0.5
    assert "grad_norm" not in without
    assert math.isnan(both["loss"]) and math.isinf(both["grad_norm"])
