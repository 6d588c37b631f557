"""Whether passes are started as a whole: where that is quicker and learns the same, or as it was measured."""

from types import SimpleNamespace
from typing import Any

import pytest

from core.train.batches import Layout
from core.train.engine import warm
from core.train.engine.warm import Timed, record

BUSY = Timed(seconds=1.0, host=0.3, loss=2.0, norm=1.0, memory=100, tokens=10)
WAITS = Timed(seconds=1.0, host=1.0, loss=2.0, norm=1.0, memory=100, tokens=10)
QUICK = Timed(seconds=0.5, host=0.1, loss=2.0, norm=1.0, memory=100, tokens=10)
SLOW = Timed(seconds=1.1, host=0.1, loss=2.0, norm=1.0, memory=100, tokens=10)
WRONG = Timed(seconds=0.5, host=0.1, loss=2.5, norm=1.0, memory=100, tokens=10)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Asks with a plain pass, a recorded one and what was measured; says what was found, and in how many
    passes."""

    def ask(plain: Timed, other: Timed, before: bool | None, free: int = 10**6) -> tuple[Any, int]:
        left = [plain, other, other]
        monkeypatch.setattr(warm, "_timed", lambda _: left.pop(0))
        monkeypatch.setattr(warm, "free_bytes", lambda: free)
        graphs = SimpleNamespace(on=False, token_bytes=0.0)
        graphs.drop = lambda: setattr(graphs, "on", False)
        engine = SimpleNamespace(
            compiled=True, holder=SimpleNamespace(graphs=graphs), layout=Layout("rows"), recorded=False
        )
        record(engine, SimpleNamespace(lay_out=lambda _: None), None, before)  # type: ignore[arg-type]
        assert graphs.on is engine.recorded
        return engine, 3 - len(left)

    return ask


def test_a_card_that_waits_for_the_host_is_given_whole_passes(recorded: Any) -> None:
    engine, _ = recorded(WAITS, QUICK, None)
    assert engine.recorded and "500 ms a pass, 1000 without" in engine.recorded_why


@pytest.mark.parametrize(
    ("plain", "other", "why"),
    [(BUSY, QUICK, "busy"), (WAITS, SLOW, "not quicker"), (WAITS, WRONG, "came to 2.5000")],
)
def test_else_it_is_not(recorded: Any, plain: Timed, other: Timed, why: str) -> None:
    engine, _ = recorded(plain, other, None)
    assert not engine.recorded and why in engine.recorded_why


def test_where_they_were_not_when_it_was_measured_nothing_is_tried(recorded: Any) -> None:
    engine, passes = recorded(WAITS, QUICK, False)
    assert not engine.recorded and "measured" in engine.recorded_why and passes == 0


@pytest.mark.parametrize(("plain", "other"), [(BUSY, QUICK), (WAITS, SLOW)])
def test_where_they_were_it_is_not_asked_again_whether_that_is_quicker(
    recorded: Any, plain: Timed, other: Timed
) -> None:
    assert recorded(plain, other, True)[0].recorded


def test_but_they_must_learn_the_same_and_have_room(recorded: Any) -> None:
    assert not recorded(WAITS, WRONG, True)[0].recorded
    engine, _ = recorded(WAITS, QUICK, True, free=150)
    assert not engine.recorded and "more memory than is free" in engine.recorded_why
