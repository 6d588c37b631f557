"""Passes that are started as a whole: planned where a card would wait for the host and has ample room."""

from dataclasses import replace

import pytest

from core.plan.cards import card_named, room
from core.plan.dial import Hold, holds, may_record
from core.plan.search import Found, fastest
from core.plan.work import bytes_of, rate_of, work_of
from tests.plan.boxes import GIB, model, report, spec

SMALL, LARGE = "Qwen/Qwen2.5-0.5B", "meta-llama/Llama-3.1-8B"
ALIKE = {"experts": False, "drawn": False, "full": False, "accumulate": 4, "precision": "bf16"}


def found(name: str, gib: float = 140, mean: float = 1000.0, **keys: object) -> Found:
    card = replace(card_named("h200"), memory_total=int(gib * GIB), memory_free=int(gib * GIB))
    data = report(rows=50_000, longest=int(1.05 * mean), mean=mean)
    one = work_of(spec(name, **{"batch": 8, "accumulate": 1, **keys}), model(name), card, data, "lora")
    made = fastest(one, room(card))
    plain = replace(made.setting, recorded=False)
    assert made.bytes == bytes_of(one, made.setting)
    assert not made.setting.recorded or (rate_of(one, made.setting) or 0) > 1.05 * (rate_of(one, plain) or 0)
    return made


def test_a_small_model_s_passes_are_recorded_and_a_large_one_s_are_not() -> None:
    assert found(SMALL).setting.recorded
    assert not found(LARGE, mean=2000.0).setting.recorded


def test_few_tokens_leave_even_a_large_model_waiting() -> None:
    assert found(LARGE, mean=120.0).setting.recorded


@pytest.mark.parametrize("keys", [{"lora": {"dropout": 0.1}}, {"compile": False}, {"precision": "fp32"}])
def test_what_differs_from_pass_to_pass_is_not_recorded(keys: dict[str, object]) -> None:
    assert not found(SMALL, **keys).setting.recorded


def test_a_recording_has_its_room_and_is_left_out_where_it_has_not() -> None:
    recorded = [found(SMALL, gib).setting.recorded for gib in (6, 8, 10, 14, 20, 40)]
    assert recorded == sorted(recorded) and recorded[-1] and not recorded[0]
    made = found(SMALL)
    assert 2 * (made.bytes.kept + made.bytes.live + made.bytes.loss) < room(card_named("h200"))


def test_layers_that_wait_in_the_host_are_not_recorded() -> None:
    assert may_record(holds(0, 8), **ALIKE) and may_record(holds(0.7, 8, host=False), **ALIKE)  # type: ignore[arg-type]
    assert not may_record(holds(0.1, 8), **ALIKE)  # type: ignore[arg-type]
    for changes in ({"experts": True}, {"drawn": True}, {"full": True}, {"precision": "fp32"}):
        assert not may_record((Hold.ALL,) * 8, **{**ALIKE, **changes})  # type: ignore[arg-type]
    assert may_record((Hold.ALL,) * 8, **{**ALIKE, "full": True, "accumulate": 1})  # type: ignore[arg-type]
