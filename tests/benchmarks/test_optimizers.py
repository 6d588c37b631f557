"""The benchmark of optimisers: whose sizes it takes, and that a step is one of that kind."""

import pytest

from benchmarks import optimizers


def test_sizes_are_those_of_the_layers_and_of_a_head_that_is_its_own():
    tied, own = (optimizers.sizes(name, 2) for name in ("qwen2.5-0.5b", "llama-3.1-8b"))
    assert not [one for one in tied if 151_936 in one], "the head is the embedding there"
    assert [one for one in own if 128_256 in one] == [(128_256, 4096)]
    assert own.count((14_336, 4096)) == 4


@pytest.mark.parametrize("kind", ["adamw", "adamw_8bit"])
def test_a_kind_is_timed_over_all_weights(kind):
    told = optimizers.timed(kind, [(64, 128), (300,)], "cpu")
    assert told["weights"] == 64 * 128 + 300 and told["seconds"] > 0
