"""The loss chart: whatever the losses, it keeps its size, shows what matters, and is quick."""

import math
import random
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.widgets.chart import Series, draw
from tui.widgets.columns import decimate, smooth

LOSS = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True, width=64))


def text(lines: list) -> list[str]:
    return ["".join(piece for piece, _ in line) for line in lines]


def cells(lines: list, role: str) -> list[tuple[int, int]]:
    """(row, column) of all cells of a role that are not blank."""
    found = []
    for row, line in enumerate(lines):
        x = 0
        for piece, its in line:
            found += [(row, x + i) for i, c in enumerate(piece) if its == role and not c.isspace()]
            x += len(piece)
    return found


def falling(n: int, noise: float = 0.1) -> Series:
    chance = random.Random(1)
    ideal = [1 + 4 * math.exp(-i / (n / 6)) for i in range(n)]
    losses = [v + chance.gauss(0, noise) for v in ideal]
    return Series(range(1, n + 1), losses, [(n // 2, ideal[n // 2]), (n, ideal[-1])], n)


@given(
    losses=st.lists(LOSS, max_size=60),
    held=st.lists(st.tuples(st.integers(0, 100), LOSS), max_size=6),
    total=st.one_of(st.none(), st.integers(1, 10**7)),
    width=st.integers(0, 130),
    height=st.integers(0, 45),
)
def test_always_exactly_the_size_it_was_given(losses, held, total, width, height) -> None:
    drawn = draw(Series(range(1, len(losses) + 1), losses, held, total), width, height)
    assert len(drawn) == (height if width else 0)
    assert all(len(line) == width for line in text(drawn))


@given(st.lists(st.floats(0.01, 1e6), min_size=2, max_size=50))
def test_the_highest_smoothed_loss_is_drawn_no_lower_than_the_lowest(losses: list[float]) -> None:
    drawn = draw(Series(range(1, len(losses) + 1), losses), 80, 24)
    rows = [row for row, _ in cells(drawn, "smooth")]
    columns = {column: row for row, column in cells(drawn, "smooth")}
    assert rows, "nothing was drawn"
    assert min(rows) <= columns[max(columns)] <= max(rows)


def test_a_falling_line_goes_from_the_upper_left_to_the_lower_right() -> None:
    line = sorted(cells(draw(falling(400), 80, 24), "smooth"), key=lambda at: at[1])
    assert line[0][0] < 4 and line[-1][0] > 15
    assert all(b[0] >= a[0] - 1 for a, b in pairwise(line))


def test_no_column_between_two_points_is_left_out() -> None:
    drawn = draw(Series([1, 100], [5.0, 1.0]), 60, 16)
    columns = {column for _, column in cells(drawn, "smooth")}
    assert columns == set(range(min(columns), max(columns) + 1)) and len(columns) > 50


def test_the_smoothed_line_does_not_lag_behind_a_fall() -> None:
    ideal = [1 + 4 * math.exp(-i / 20) for i in range(200)]
    chance = random.Random(2)
    columns = decimate(range(200), [v + chance.gauss(0, 0.2) for v in ideal], 199, 200)
    for x, value in smooth(columns, 200):
        assert abs(value - ideal[x]) < 0.35, x
    apart = [value - ideal[x] for x, value in smooth(columns, 200)]
    assert abs(sum(apart) / len(apart)) < 0.05, "it lies neither above nor below"


def test_one_spike_of_ten_thousand_is_still_seen() -> None:
    losses = [2.0] * 10_000
    losses[5000] = 9.0
    top = draw(Series(range(10_000), losses), 80, 24)[0]
    assert any(role == "train" and piece.strip() for piece, role in top)


def test_held_out_losses_are_marked_where_they_lie() -> None:
    marks = cells(draw(falling(400), 80, 24), "held")
    assert {"⠛", "⠶", "⣤"} & set("".join(text(draw(falling(400), 80, 24))))
    assert any(35 < column < 50 for _, column in marks) and any(column > 75 for _, column in marks)


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -math.inf, 1e305])
def test_a_loss_that_is_no_number_is_marked_on_the_axis(bad: float | None) -> None:
    drawn = draw(Series([1, 2, 3], [3.0, bad, 3.0]), 40, 12)
    assert len(cells(drawn, "bad")) == 1


def test_one_point_and_a_constant_have_an_axis_around_them() -> None:
    for losses in ([3.2], [3.2] * 50, [0.0] * 5):
        drawn = draw(Series(range(1, len(losses) + 1), losses), 60, 14)
        rows = {row for row, _ in cells(drawn, "smooth")}
        assert rows and all(2 <= row <= 10 for row in rows)


def test_nothing_yet_is_said() -> None:
    assert any("first step has not come yet" in line for line in text(draw(Series(), 80, 24)))


def test_labels_name_the_losses_and_the_steps() -> None:
    drawn = text(draw(falling(1000), 80, 24))
    labels = [float(line.split("┤")[0]) for line in drawn if "┤" in line]
    assert labels == sorted(labels, reverse=True) and len(labels) >= 3
    assert {"0", "200", "1,000"} <= set(drawn[-1].split())


@pytest.mark.parametrize("height", [8, 10, 16, 24])
@pytest.mark.parametrize(("low", "high"), [(5.9, 12.8), (0.31, 0.9), (1.48, 1.52), (2.1, 8.4), (0.0, 3.0)])
def test_any_height_has_at_least_two_labels(low: float, high: float, height: int) -> None:
    losses = [high, (low + high) / 2, low]
    drawn = text(draw(Series([1, 2, 3], losses), 76, height))
    assert len([line for line in drawn if "┤" in line]) >= 2


def test_the_last_step_of_the_run_stands_at_the_right_while_it_is_far_off() -> None:
    losses = [3.0] * 100
    assert text(draw(Series(range(1, 101), losses, (), 1350), 80, 24))[-1].endswith("… 1,350")
    assert "…" not in text(draw(Series(range(1, 101), losses, (), 150), 80, 24))[-1]


def test_a_wide_range_is_drawn_on_a_logarithmic_axis() -> None:
    losses = [100 * 0.9**i for i in range(100)]
    drawn = text(draw(Series(range(100), losses), 80, 24))
    labels = [line.split("┤")[0].strip() for line in drawn if "┤" in line]
    assert {"10", "1", "0.1"} <= set(labels)


def test_steps_that_went_back_are_drawn_in_order() -> None:
    drawn = draw(Series([1, 2, 3, 2, 3, 4], [5, 4, 3, 4, 3, 2]), 40, 12)
    assert len(drawn) == 12 and cells(drawn, "smooth")


def test_ten_thousand_points_are_drawn_in_a_blink() -> None:
    series = falling(10_000)
    best = min(timed(series) for _ in range(5))
    assert best < 0.05, (
        "meant to be a few milliseconds; the bound is for a machine that does ten other things"
    )


def timed(series: Series) -> float:
    begun = time.perf_counter()
    draw(series, 80, 24)
    return time.perf_counter() - begun
