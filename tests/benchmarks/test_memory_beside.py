"""Cells side by side: what runs beside what, what is believed, and what becomes of those that break."""

import time
from typing import ClassVar

import pytest

from benchmarks import memory_beside, memory_rows
from benchmarks.memory_beside import Job, Room, side_by_side

CHILD = "tests.benchmarks.memory_child"
AMPLE = Room(100, 100)


def job(key, lane="a", kind="", card=1, host=0, **request):
    return Job(key, lane, kind, {"cell": key, **request}, card, host)


class Planned:
    """A process that answers in its turn, so that what runs beside what is known."""

    made: ClassVar[list] = []
    seen: ClassVar[list] = []

    def __init__(self, module, lane, told, at_once):
        self.lane, self.told, self.at_once = lane, told, at_once
        self.job, self.kind, self.beside, self.open = None, "", False, True
        Planned.made.append(self)

    def give(self, job, there):
        assert self.open
        self.job, self.kind = job, job.kind
        running = [one.job for one in there if one.job]
        self.beside = len(running) > 1
        for one in there:
            one.beside = one.beside or (one.job is not None and len(running) > 1)
        Planned.seen.append([one.key for one in running])
        row = {"cell": job.key, "ends": False, **job.request.get("told", {})}
        self.told.put((self, memory_beside.json.dumps(row)))

    def end(self, kill=False):
        self.open = False


@pytest.fixture
def planned(monkeypatch):
    monkeypatch.setattr(memory_beside, "_Process", Planned)
    Planned.made, Planned.seen = [], []
    return Planned


def go(jobs, at_once=2, room=AMPLE, seconds=60.0, crowded=()):
    until = time.monotonic() + seconds
    return list(side_by_side(jobs, CHILD, at_once=at_once, room=room, until=until, crowded=crowded))


def test_the_largest_come_first_and_small_ones_fill_up(planned):
    jobs = [job("small", "s", card=3), job("large", "l", card=7), job("middle", "m", card=6)]
    assert [one.job.key for one in go(jobs, room=Room(10, 10))] == ["large", "small", "middle"]
    assert planned.seen[1] == ["large", "small"], "the middle one would not fit beside the large one"
    assert ["middle", "small"] not in [sorted(one) for one in planned.seen[:2]]


def test_no_more_is_begun_than_fits_the_card_and_the_host(planned):
    sizes = {f"{n}": (1 + n % 5, n % 3) for n in range(20)}
    jobs = [job(key, key, card=card, host=host) for key, (card, host) in sizes.items()]
    assert {one.job.key for one in go(jobs, at_once=4, room=Room(7, 3))} == set(sizes)
    assert max(map(len, planned.seen)) > 1
    for running in planned.seen:
        assert sum(sizes[key][0] for key in running) <= 7 and sum(sizes[key][1] for key in running) <= 3


def test_what_fits_nowhere_has_the_card_to_itself(planned):
    results = go([job("huge", "h", card=200), job("small", "s", card=1)], room=Room(10, 10))
    assert {one.job.key for one in results} == {"huge", "small"} and max(map(len, planned.seen)) == 1


def test_a_process_goes_on_with_its_shape_and_like_settings(planned):
    jobs = [job(f"{lane}{kind}{n}", lane, kind, card=9 - n) for lane in "ab" for kind in "xy" for n in (1, 2)]
    results = go(jobs, at_once=1, room=Room(9, 9))
    assert "".join(one.job.kind for one in results) == "xxyyxxyy"
    assert len(planned.made) == 2 and not any(one.open for one in planned.made)


def test_what_failed_beside_others_is_tried_again_alone(planned):
    short = {"told": {"out_of_memory": "full"}}
    results = go([job("a", "a", card=2, **short), job("b", "b")])
    assert [(one.job.key, one.believed) for one in results] == [("a", False), ("b", True), ("a", True)]
    assert planned.seen[-1] == ["a"]
    assert all(one.believed for one in go([job("a", **short)], at_once=1))
    again = go([job("a", "a", **short), job("b", "b")], crowded={"a"})
    assert [(one.job.key, one.believed) for one in again] == [("b", True), ("a", True)]


def test_a_cap_of_its_own_is_no_fault_of_others(planned):
    gib = 2**30
    own = {"out_of_memory": "full", "cap": 8 * gib, "pool": 7 * gib, "wanted": 2 * gib}
    others = own | {"pool": 3 * gib}
    results = go([job("own", "a", told=own), job("others", "b", told=others)])
    told = [(one.job.key, one.believed) for one in results]
    assert told == [("others", False), ("own", True), ("others", True)]


def test_two_processes_run_beside_each_other(tmp_path):
    meet = {"do": "meet", "place": str(tmp_path), "wanted": 2}
    results = go([job("a", "a", **meet), job("b", "b", **meet)])
    assert (
        all(one.row and one.row["met"] for one in results) and len({one.row["pid"] for one in results}) == 2
    )


def test_one_that_breaks_takes_no_other_with_it():
    jobs = [job("dies", do="die"), job("tears", do="tear"), job("ends", do="end"), job("well", do="")]
    results = go(jobs, at_once=1)
    assert {one.job.key: one.row is not None for one in results} == {
        "dies": False,
        "tears": False,
        "ends": True,
        "well": True,
    }
    assert all(one.believed for one in results), "nobody was beside them"


def test_a_process_that_says_it_ends_is_followed_by_another():
    results = go([job("a", do="end", card=2), job("b", do="")], at_once=1)
    assert [one.job.key for one in results] == ["a", "b"]
    assert results[0].row["pid"] != results[1].row["pid"]
    kept = go([job("a", do="", card=2), job("b", do="")], at_once=1)
    assert kept[0].row["pid"] == kept[1].row["pid"]


def test_what_is_not_done_in_time_is_ended_and_not_told(monkeypatch, capfd):
    monkeypatch.setattr(memory_beside, "GRACE", 1.0)
    begun = time.monotonic()
    results = go([job("well", "w", do="", card=2), job("hangs", "h", do="hang")], at_once=1, seconds=2.0)
    assert [one.job.key for one in results] == ["well"] and time.monotonic() - begun < 20
    assert "not done in time: hangs" in capfd.readouterr().err
    assert go([job("late", do="")], seconds=-1.0) == []


def test_a_torn_line_spoils_no_other(tmp_path):
    file = tmp_path / "rows.jsonl"
    memory_rows.add(file, {"cell": "first"})
    with file.open("a") as out:
        out.write('{"cell": "torn, "é')
    memory_rows.add(file, {"cell": "second"})
    memory_rows.add(file, {"cell": "wrong", "error": "it broke"})
    memory_rows.add(file, {"cell": "third", "crowded": {}})
    with file.open("ab") as out:
        out.write(b'{"cell": "torn \xc3')
    assert set(memory_rows.rows_in(file)) == {"first", "second"}
    assert memory_rows.crowded_in(file) == {"third"}
    memory_rows.add(file, {"cell": "third"})
    assert set(memory_rows.rows_in(file)) == {"first", "second", "third"}
    assert memory_rows.rows_in(tmp_path / "none.jsonl") == {}


def test_an_answer_of_no_row_is_none():
    assert memory_beside._row(None) is memory_beside._row("[1]") is memory_beside._row('{"a": ') is None
    assert memory_beside._row('{"a": 1}') == {"a": 1}
