"""The numbers under the chart: what they come from, and how they give way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.runs.events import End, Eval, Event, Record, Start, Step
from core.runs.history import History
from tui.widgets.run_numbers import Figures, clock, draw, figures, shape


def told(*events: tuple[float, Event]) -> History:
    history = History()
    history.fold(Record(i, at, event) for i, (at, event) in enumerate(events))
    return history


def step(n: int) -> Step:
    return Step(n, 100, n / 50, 3.0, 1e-4, 0.5, n * 1000, 500.0, None, n * 2.0)


def shown(lines: list[list[tuple[str, str]]]) -> str:
    return "\n".join("".join(text for text, _ in line) for line in lines)


RUN = [(0.0, Start(1)), (12.0, step(1)), (14.0, step(2)), (14.5, Eval(1, 2.5)), (15.0, Eval(2, 2.25))]


def test_time_left_and_money_follow_from_the_pace_and_the_price() -> None:
    seen = figures(told(*RUN), 1800.0, 2.0, live=True)
    assert seen.left == 98 * 2.0 and seen.elapsed == 1800
    assert seen.cost == pytest.approx(1.0) and seen.cost_all == pytest.approx(1.0 + 2.0 * 196 / 3600)
    assert (seen.held_out, seen.held_before) == (2.25, 2.5)


def test_without_a_price_there_is_no_cost() -> None:
    assert figures(told(*RUN), 1800.0, None, live=True).cost is None


def test_the_clock_of_a_run_without_a_worker_stands_still() -> None:
    dead = figures(told(*RUN), 9_999.0, 2.0, live=False)
    assert dead.elapsed == 15 and dead.left is None
    ended = figures(told(*RUN, (20.0, End("stopped"))), 9_999.0, 2.0, live=False)
    assert ended.elapsed == 20


def test_a_resumed_run_counts_what_was_trained_before() -> None:
    again = told(*RUN, (1000.0, Start(2, resumed_from=2)), (1010.0, step(3)))
    assert figures(again, 1060.0, None, live=True).elapsed == 60 + 4


def test_tiles_hold_all_of_it_and_the_lines_the_most_of_it() -> None:
    seen = figures(told(*RUN), 1800.0, 2.0, live=True)
    tiles = shown(draw(seen, 60, 7))
    for part in (
        "train",
        "3.00",
        "held out",
        "2.25",
        "↓ 0.250",
        "1e-4",
        "0.5",
        "500",
        "30:00",
        "3:16",
        "2 / 100",
    ):
        assert part in tiles
    lines = shown(draw(seen, 76, 3))
    assert "500 tok/s" in lines and "3:16 left" in lines and "cost 1.00" in lines


@given(width=st.integers(1, 140), height=st.integers(1, 12), known=st.booleans())
def test_never_wider_or_higher_than_its_room_and_never_half_an_item(
    width: int, height: int, known: bool
) -> None:
    seen = figures(told(*RUN), 1800.0, 2.0, live=True) if known else Figures()
    lines = draw(seen, width, height)
    assert len(lines) <= height
    assert all(sum(len(text) for text, _ in line) <= width for line in lines)
    if known and height < 7 and "left" in shown(lines[:2]):
        assert "3:16 left" in shown(lines[:2])


def test_the_shape_runs_from_its_lowest_to_its_highest() -> None:
    assert shape([1, 2, 3], 3) == "▁▄▇" and shape([5, 5, 5], 3) == "▄▄▄"
    assert shape([9, 10], 2, from_zero=True) == "▆▇" and shape([1], 5) == "" and shape([None, None], 5) == ""


@pytest.mark.parametrize(("seconds", "said"), [(None, "–"), (0, "0:00"), (61, "1:01"), (5585, "1:33:05")])
def test_the_clock_ticks_in_seconds(seconds: float | None, said: str) -> None:
    assert clock(seconds) == said
