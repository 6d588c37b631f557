"""The event log: what is written is read, whatever is torn, damaged, or written by several threads."""

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.runs.events import Checkpoint, End, Eval, EventLog, Follow, Stage, Start, Step, encode

numbers = st.one_of(st.none(), st.floats())
steps = st.builds(
    Step,
    step=st.integers(0, 10**6),
    steps=st.integers(1, 10**6),
    epoch=st.floats(0, 100),
    loss=numbers,
    learning_rate=st.floats(0, 1),
    grad_norm=numbers,
    tokens=st.integers(0),
    tokens_per_second=st.one_of(st.none(), st.floats(0, 1e9)),
)
events = st.one_of(
    steps,
    st.builds(Stage, name=st.sampled_from(["load", "train"]), done=st.floats(0, 1e12), note=st.text()),
    st.builds(Eval, step=st.integers(0), loss=numbers),
    st.builds(End, state=st.sampled_from(["finished", "failed"]), reason=st.text()),
)


def at(step: int) -> Step:
    return Step(step, 10, 0.1, 1.5, 1e-4, 0.5, step * 100, 50.0)


@given(events=st.lists(events), cuts=st.lists(st.integers(0, 10**6), max_size=8))
def test_every_event_arrives_once_however_the_file_grows(
    events: list, cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = b"".join(encode(event, n, 1.0) for n, event in enumerate(events, 1))
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    path.touch()
    follow, got, before = Follow(path), [], 0
    for cut in [*sorted(cut % (len(whole) + 1) for cut in cuts), len(whole)]:
        with path.open("ab") as file:
            file.write(whole[before:cut])
        before = cut
        got += follow.poll()
    assert [record.seq for record in got] == list(range(1, len(events) + 1))
    assert follow.damaged == 0 and not follow.torn
    for record, event in zip(got, events, strict=True):
        assert json.loads(encode(record.event, 1, 1.0)) == json.loads(encode(event, 1, 1.0))


def test_a_number_that_is_not_finite_is_written_as_null(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "e")
    log.write(Step(1, 1, 0, float("nan"), 1e-4, float("inf"), 1, None))
    line = (tmp_path / "e").read_text()
    assert "NaN" not in line and "Infinity" not in line and json.loads(line)["loss"] is None


def test_a_torn_line_is_waited_for_and_a_damaged_one_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "e"
    EventLog(path).write(at(1))
    with path.open("ab") as file:
        file.write(b'{"broken\n' + encode(at(2), 2, 1.0)[:20])
    follow = Follow(path)
    assert [record.event for record in follow.poll()] == [at(1)]
    assert follow.damaged == 1 and follow.torn
    with path.open("ab") as file:
        file.write(encode(at(2), 2, 1.0)[20:])
    assert [record.event for record in follow.poll()] == [at(2)]


def test_a_resumed_log_goes_on_after_a_torn_end(tmp_path: Path) -> None:
    path = tmp_path / "e"
    log = EventLog(path)
    log.write(at(1))
    log.close()
    with path.open("ab") as file:
        file.write(encode(at(2), 2, 1.0)[:30])
    EventLog(path).write(Start(1, resumed_from=1))
    follow = Follow(path)
    assert [(record.seq, record.event.type) for record in follow.poll()] == [(1, "step"), (2, "start")]
    assert follow.damaged == 1


def test_threads_never_mix_their_lines(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "e")
    threads = [
        threading.Thread(target=lambda: [log.write(Stage("load", note="x" * 500)) for _ in range(200)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    follow = Follow(tmp_path / "e")
    assert [record.seq for record in follow.poll()] == list(range(1, 801)) and follow.damaged == 0


def test_what_a_newer_version_adds_does_not_break_an_older_screen(tmp_path: Path) -> None:
    path = tmp_path / "e"
    raw = json.loads(encode(Checkpoint(1, "c", "end"), 1, 1.0)) | {"v": 9, "new_field": 3}
    path.write_text(
        json.dumps(raw) + "\n" + json.dumps({"v": 9, "seq": 2, "time": 1, "type": "novel"}) + "\n"
    )
    assert [record.event for record in Follow(path).poll()] == [Checkpoint(1, "c", "end")]
