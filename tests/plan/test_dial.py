"""The dial: from one number, what each layer holds, and the words for it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.plan.dial import WAITING, Hold, holds, in_words

LESS = [Hold.ALL, Hold.WIDE, Hold.NARROW, Hold.HOST, Hold.INPUT]


@given(st.floats(0, 1), st.integers(1, 100), st.booleans())
def test_every_layer_has_a_hold_and_the_last_holds_least(place, layers, host):
    kinds = holds(place, layers, host)
    assert (
        len(kinds) == layers and not {Hold.INPUT, Hold.NARROW} & set(kinds)
        if host
        else not set(WAITING) & set(kinds)
    )
    assert kinds[-1] == max(kinds, key=LESS.index), "the memory's form rests on it"


@given(st.integers(1, 64), st.booleans())
def test_further_on_no_layer_count_holds_more(layers, host):
    found = [holds(place / 16, layers, host) for place in range(17)]
    for kind in (Hold.ALL, Hold.HOST, Hold.INPUT):
        counts = [one.count(kind) for one in found]
        assert all(b <= a if kind is Hold.ALL else b >= a for a, b in pairwise(counts))


def test_layers_of_one_kind_lie_apart():
    kinds = holds(0.75, 32)
    assert all({a, b} == {Hold.WIDE, Hold.HOST} for a, b in pairwise(kinds))


@pytest.mark.parametrize(
    ("place", "host", "words"),
    [
        (0, True, "nothing is computed again"),
        (0.25, True, "nothing is computed again, and 16 of 32 wait in the host's memory"),
        (0.75, True, "16 of 32 layers compute their MLP again, and all wait in the host's memory"),
        (0.25, False, "16 of 32 layers compute their MLP again"),
        (0.5, False, "every layer computes its MLP again"),
        (1, True, "every layer computes its MLP again, and all wait in the host's memory"),
        (0.75, False, "16 of 32 layers are computed again, of the others the MLP"),
        (1, False, "every layer is computed again"),
    ],
)
def test_it_is_said_to_a_person(place, host, words):
    assert in_words(holds(place, 32, host)) == words
