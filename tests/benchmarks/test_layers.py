"""The figures of layers and of the loss that the plan is fitted to are made by code that runs."""

import argparse

from benchmarks import layers


def test_losses_are_timed_side_by_side() -> None:
    asked = argparse.Namespace(shape="tiny", rows=1, length=16, passes=1)
    made = layers.of_head(asked, cuda=False)
    assert [one["loss"] for one in made][:2] == ["the engine's, compiled", "the engine's"] and len(made) >= 3
    assert all(one["ms"] > 0 for one in made)
