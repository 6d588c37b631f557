"""Memory bars: lengths follow bytes, the card's wall stands where it should, figures agree."""

import pytest
from textual.style import Style

from tui.widgets.memory_bars import PARTS, Bar, legend, memory_bars, stacked, table

G = 2**30
SMALL = Bar("QLoRA", {"weights": 6 * G, "adapters": G // 10, "kept": 2 * G, "context": G}, True)
LARGE = Bar("full", {"weights": 15 * G, "gradients": 15 * G, "optimizer": 60 * G, "loss": 2 * G}, False)


def cells(content):
    """(character, foreground part colour) of every cell."""
    found = []
    for start, end, style in content.spans:
        found += [(char, str(style)) for char in content.plain[start:end]]
    return found


def test_a_bar_is_as_long_as_its_bytes():
    half = stacked({"weights": 5 * G}, None, 10 * G, 40)
    assert half.plain.count("█") == 20
    assert half.cell_length == 40


def test_parts_stand_in_order_and_in_proportion():
    bar = stacked({"weights": 4 * G, "gradients": 2 * G, "optimizer": 4 * G}, None, 10 * G, 50)
    colours = [colour for char, colour in cells(bar) if char == "█"]
    assert colours == [PARTS["weights"]] * 20 + [PARTS["gradients"]] * 10 + [PARTS["optimizer"]] * 20


def test_a_part_ends_within_a_cell():
    bar = stacked({"weights": 5 * G}, None, 10 * G, 9)  # 4.5 cells
    assert bar.plain[:5] == "████▌"


def test_the_wall_stands_at_the_free_memory_of_the_card():
    bar = stacked({"weights": 2 * G}, 8 * G, 16 * G, 32)
    assert bar.plain.index("│") == 16
    inside = stacked({"weights": 12 * G}, 8 * G, 16 * G, 32)
    assert inside.plain.index("│") == 16 and inside.plain[17] == "█"


def test_a_method_far_too_large_is_cut_and_says_so():
    huge = Bar("full", {"weights": 900 * G}, False)
    line = memory_bars([huge, SMALL], 24 * G, 90)[0]
    assert "▶" in line.plain and "900 GiB" in line.plain and "does not fit" in line.plain
    small = memory_bars([huge, SMALL], 24 * G, 90)[1]
    assert small.plain.count("█") >= 8, "the small one is still to be read"


@pytest.mark.parametrize("width", [50, 78, 100])
def test_lines_never_exceed_the_width(width):
    bars = [LARGE, SMALL, Bar("LoRA", {}, True, note="recommended")]
    for line in memory_bars(bars, 24 * G, width):
        assert line.cell_length <= width


def test_no_card_no_wall():
    assert "│" not in memory_bars([SMALL], None, 80)[0].plain


def test_figures_of_the_table_add_up_to_the_total():
    lines = [line.plain for line in table([LARGE, SMALL], [("tokens/s", ["7,700", "?"])], 70)]
    assert "full" in lines[0] and "QLoRA" in lines[0]
    assert next(line for line in lines if "optimizer" in line).split()[2:] == ["60.0", "GiB", "–"]
    assert "92.0 GiB" in next(line for line in lines if "total" in line)
    assert "?" in lines[-1]
    assert {line.index("GiB") for line in lines if "total" in line or "weights" in line} == {
        lines[1].index("GiB")
    }


def test_every_colour_is_of_the_theme():
    for colour in PARTS.values():
        assert colour.startswith("$")
        Style.parse(colour, variables={colour[1:]: "#ffffff"})


def test_every_part_stands_in_the_legend_in_its_colour():
    shown = [str(style) for *_, style in legend().spans]
    assert all(colour in shown for colour in PARTS.values()) and legend().cell_length <= 78


def test_a_part_that_no_method_has_takes_no_line():
    assert not any("temporary" in line.plain for line in table([LARGE, SMALL], [], 70))
