"""How fast the host's cores are: in the mean of those that this process may use, and may use afterwards."""

import os
import threading
from collections.abc import Callable, Iterator

import pytest

from benchmarks import cores
from core.machine import core_speed, look
from tests.machine.fake_nvml import Card, FakeNvml

TIMES = {0: 0.7, 1: 1.4, 2: 0.7, 3: 1.2}


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[set[int]]]:
    """A box of four cores, each of which takes its time; the cores that the thread was bound to, in order."""
    asked = [set(TIMES)]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(asked[-1]), raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: asked.append(set(cores)), raising=False)
    monkeypatch.setattr(core_speed, "_quickest", lambda: TIMES[min(asked[-1])])
    yield asked


def test_it_is_the_mean_of_the_cores_and_all_are_free_again(bound: list[set[int]]) -> None:
    assert core_speed.core_ms() == pytest.approx(1.0)
    assert bound[1:] == [{0}, {1}, {2}, {3}, {0, 1, 2, 3}]


def test_of_many_cores_some_are_tried_from_the_first_to_the_last(
    bound: list[set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bound[0] = set(range(100))
    monkeypatch.setattr(core_speed, "_quickest", lambda: float(min(bound[-1]) >= 50))
    assert core_speed.core_ms() == 0.5
    assert len(bound) == core_speed.MOST + 2 and bound[-1] == set(range(100))


def test_each_core_is_told(bound: list[set[int]]) -> None:
    assert core_speed.of_each(99) == list(TIMES.values())
    assert cores.said([1.0, 2.0]) == "mean 1.50 ms: 1.00 2.00"


def test_where_it_may_not_choose_a_core_it_takes_the_one_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbidden, raising=False)
    assert core_speed.core_ms() > 0
    monkeypatch.delattr(os, "sched_setaffinity")
    assert core_speed.core_ms() > 0


def test_a_look_at_a_box_with_a_card_knows_it_and_leaves_threads_their_cores(
    nvml: Callable[..., FakeNvml],
) -> None:
    nvml(Card())
    core_speed.usual_core_ms.cache_clear()
    seen = []

    def there() -> None:
        before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
        found = look().core_ms
        after = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
        seen.append((found, before == after))

    thread = threading.Thread(target=there)
    thread.start()
    thread.join()
    (found, same), again = seen[0], look().core_ms
    assert found is not None and 0 < found < 1000 and same
    assert again == found, "a plan that is made again says the same"


def test_without_a_card_nobody_waits_for_a_core(
    nvml: Callable[..., FakeNvml], monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml(fails=FakeNvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    core_speed.usual_core_ms.cache_clear()
    monkeypatch.setattr(core_speed, "_quickest", lambda: pytest.fail("it was looked at"))
    assert look().core_ms is None
