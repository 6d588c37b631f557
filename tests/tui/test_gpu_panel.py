"""The machine's panels: every value may be missing, a dead GPU is a row, and the room decides the form."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.widgets import gpu_panel, host_panel
from tui.widgets.gpu_panel import draw, spark

GIB = 2**30


def gpu(index: int = 0, **changed: Any) -> dict[str, Any]:
    return {
        "index": index, "name": "NVIDIA H200", "utilisation": 0.98, "memory_used": int(18.1 * GIB),
        "memory_total": int(139.8 * GIB), "power": 612.0, "power_limit": 700.0, "temperature": 64,
        "clock_sm": 1980, "clock_memory": 2619,
        "processes": [{"pid": 42, "name": "python", "bytes": 17 * GIB}],
        **changed,
    }  # fmt: skip


def shown(lines: list) -> str:
    return "\n".join("".join(piece for piece, _ in line) for line in lines)


def roles(lines: list) -> set[str]:
    return {role for line in lines for piece, role in line if piece.strip()}


def samples(*gpus: dict[str, Any], n: int = 30) -> list:
    return [(1000.0 + 2 * i, list(gpus)) for i in range(n)]


def test_one_gpu_with_room_shows_all_that_is_known() -> None:
    text = shown(draw(samples(gpu()), 48, 8))
    for part in (
        "98 %",
        "18.1/140 GiB",
        "612/700 W",
        "64 °C",
        "1,980 MHz",
        "2,619 MHz",
        "python 42  17.0 GiB",
        "▇",
    ):
        assert part in text


def test_low_but_wide_stands_in_two_columns() -> None:
    lines = draw(samples(gpu()), 76, 3)
    assert (
        len(lines) == 3 and "98 %" in shown(lines) and "python 42" in shown(lines) and "1,980" in shown(lines)
    )


def test_missing_values_read_as_a_dash_and_never_as_nothing_used() -> None:
    keys = ("memory_used", "power", "power_limit", "temperature", "clock_sm", "processes")
    text = shown(draw(samples(gpu(**dict.fromkeys(keys))), 48, 8))
    assert "–/140 GiB" in text and "– W  – °C" in text and "– MHz" in text and "held by –" in text


def test_a_dead_gpu_is_a_row_beside_the_others() -> None:
    dead = {"index": 1, "name": None, "error": "GPU is lost"}
    text = shown(draw(samples(gpu(0), dead), 60, 30))
    assert "98 %" in text and "does not answer: GPU is lost" in text
    silent = dict.fromkeys(gpu(), None) | {"index": 1}
    assert "does not answer: gives no values" in shown(draw(samples(gpu(0), silent), 60, 2))


def test_several_gpus_give_way_by_height() -> None:
    eight = samples(*(gpu(i) for i in range(8)))
    assert "clocks" in shown(draw(eight, 48, 60))
    assert "power" in shown(draw(eight, 48, 32)) and "clocks" not in shown(draw(eight, 48, 32))
    one_a_row = draw(eight, 48, 8)
    assert len(one_a_row) == 8 and shown(one_a_row).startswith("0 ") and "7 " in shown(one_a_row)
    few = draw(eight, 48, 4)
    assert len(few) == 4 and "and 5 more" in shown(few)


def test_a_gpu_that_appears_later_has_its_history_from_then_on() -> None:
    grown = [(1000.0, [gpu(0)]), (1002.0, [gpu(0), gpu(1)])]
    assert "GPU 1" in shown(draw(grown, 48, 30))


@pytest.mark.parametrize(
    ("used", "role"), [(0.5, "bar"), (0.93, "warn"), (0.99, "bad")]
)  # fmt: skip
def test_memory_warns_when_it_is_nearly_full(used: float, role: str) -> None:
    lines = draw(samples(gpu(memory_used=int(used * 139.8 * GIB))), 48, 8)
    assert lines[1][1][1] == role


def test_heat_is_said_by_colour() -> None:
    several = samples(gpu(0, temperature=85), gpu(1, temperature=95))
    lines = draw(several, 60, 2)
    assert "warn" in roles(lines[:1]) and "bad" in roles(lines[1:])


def test_in_a_container_the_empty_process_table_says_so() -> None:
    assert "names no process" in shown(draw(samples(gpu(processes=[])), 48, 8))


VALUE = st.one_of(st.none(), st.floats(0, 1e12), st.integers(0, 10**12))


PROCESS = st.fixed_dictionaries({"pid": VALUE, "bytes": VALUE})
OTHER = {
    "processes": st.one_of(st.none(), st.lists(PROCESS, max_size=3)),
    "error": st.one_of(st.none(), st.text(max_size=5)),
}
ANY_GPU = st.fixed_dictionaries({}, optional=dict.fromkeys(gpu(), VALUE) | OTHER)


@given(st.lists(ANY_GPU, max_size=9), st.integers(0, 90), st.integers(0, 40))
def test_never_more_than_its_room_whatever_is_missing(gpus: list, width: int, height: int) -> None:
    lines = draw([(1.0, gpus), (2.0, gpus)], width, height)
    assert len(lines) <= height
    assert all(sum(len(piece) for piece, _ in line) <= width for line in lines)


def test_ten_minutes_end_at_the_newest_and_leave_gaps_blank() -> None:
    drawn = spark([(0.0, 1.0), (590.0, 0.0), (600.0, 0.5)], 60)
    assert len(drawn) == 60 and drawn[-1] == "▄" and drawn[-2] == "▁"
    assert drawn[1:-2].strip() == ""
    assert spark([(0.0, 1.0), (10_000.0, 1.0)], 10).strip() == "▇"


def test_without_a_gpu_the_host_is_shown() -> None:
    host = {"cpu": 0.97, "ram_used": 3 * GIB, "ram_total": 24 * GIB, "worker_cpu": 1.9, "worker_ram": GIB}
    text = shown(host_panel.draw([(float(i), host) for i in range(9)], 44, 4))
    assert "97 %" in text and "3.0/24.0 GiB" in text and "1.9 cores, 1.0 GiB" in text
    low = host_panel.draw([(1.0, host)], 76, 3)
    assert len(low) == 2 and "1.9 cores" in shown(low)


def test_a_host_that_says_nothing_reads_as_dashes() -> None:
    text = shown(host_panel.draw([(1.0, {})], 44, 4))
    assert "–/– GiB" in text and "– cores" in text


def test_titles_name_the_gpu() -> None:
    assert gpu_panel.title(gpu(3)) == "GPU 3  NVIDIA H200"
    assert gpu_panel.title({}) == "GPU –  –"
