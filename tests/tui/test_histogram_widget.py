"""The length histogram: heights follow counts, the limit is drawn where it lies."""

from tui.widgets.histogram import histogram


def test_heights_follow_counts():
    lines = histogram([0, 10, 20, 30], [1, 4, 2], 30, 5)
    rows = [line.plain for line in lines]
    assert len(rows) == 5
    assert [rows[0][x] for x in (5, 15, 25)] == [" ", "█", " "]
    assert [rows[2][x] for x in (5, 15, 25)] == [" ", "█", "█"]
    assert [rows[3][x] for x in (5, 15, 25)] == ["█", "█", "█"]


def test_one_row_among_thousands_is_seen():
    rows = [line.plain for line in histogram([0, 10, 20], [100_000, 1], 20, 4)]
    assert rows[2][15] == "▁"


def test_the_limit_is_marked_and_what_is_beyond_it_has_another_colour():
    lines = histogram([0, 10, 20, 30, 40], [5, 5, 5, 5], 40, 5, limit=20)
    assert "↑ 20" in lines[-1].plain
    colours = {start: style for start, _, style in lines[3].spans}
    assert colours[10] == "$primary" and colours[30] == "$warning"


def test_many_bins_share_cells_and_lose_no_row():
    lines = histogram(list(range(101)), [0] * 99 + [7], 20, 3)
    assert lines[0].plain[-1] == "█" and lines[0].cell_length == 20


def test_nothing_to_draw_says_so():
    assert "no lengths" in histogram([0, 1], [0], 40, 5)[0].plain
