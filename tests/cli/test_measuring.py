"""`finetui plan --measure`: real steps before the run, what they took, and what had to be changed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.plan import measuring
from core.plan.measured import recall
from tests.cli.conftest import Called

Call = Callable[..., Called]


@pytest.fixture
def spec(shared: Path, tmp_path: Path) -> Path:
    file = tmp_path / "run.yaml"
    rows = shared / "data" / "mlx-wwdc25" / "train.jsonl"
    file.write_text(
        f"model: {shared / 'models' / 'tinystories-656k'}\n"
        f"data: {{source: {rows}, limit: 80}}\nmethod: lora\nlength: 64\nbatch: 4\nrecompute: 0\n"
    )
    return file


def test_it_says_what_the_run_takes_and_the_next_plan_knows(call: Call, spec: Path, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("COLUMNS", "200")
    called = call("plan", spec, "--measure")
    assert called.code == 0, called.err
    assert "at the fullest moment on" in called.out and "(measured; off by" in called.out
    assert "the closed form said" in called.out and "tokens/s" in called.out
    assert all(word in called.out for word in ("weights", "optimiser", "evaluation", "save", "first step"))
    assert len(recall()) == 1
    plan = json.loads(call("plan", spec, "--json").out)
    lora = next(one for one in plan["methods"] if one["method"] == "lora")
    assert lora["estimate"]["kind"] == "measured" and "this very job" in lora["estimate"]["of"]


def test_what_was_changed_comes_first_and_nothing_fits_is_exit_1(call: Call, spec: Path, monkeypatch) -> None:
    tries: list[float] = []

    async def answered(module: str, request: dict[str, Any], progress: Any) -> dict[str, Any]:
        tries.append(request["spec"]["recompute"])
        said = {"changes": {"recompute": 1.0}, "said": "the dial of recompute goes to 1", "keys": ""}
        rung = said if len(tries) == 1 else None
        others = {"bytes": 3 * 2**30, "who": "python, pid 7: 3.00 GiB"}
        return {
            "fits": False,
            "rung": rung,
            "why": "2 GiB more were wanted",
            "phase": "step",
            "others": others,
        }

    monkeypatch.setattr(measuring, "run_job_async", answered)
    called = call("plan", spec, "--measure")
    assert called.code == 1 and tries == [0.0, 1.0]
    first, second, last = called.out.strip().splitlines()
    assert first == "changed: 2 GiB more were wanted: the dial of recompute goes to 1"
    assert "pid 7" in second and "it does not fit on" in last
    tries.clear()
    told = json.loads(call("plan", spec, "--measure", "--json").out)
    assert not told["fits"] and told["estimate"] is None and told["spec"]["recompute"] == 1.0
    assert told["changes"] and told["others"]["bytes"] == 3 * 2**30 and not recall()


def test_without_rows_there_is_nothing_to_measure(call: Call) -> None:
    called = call("plan", "--model", "Qwen/Qwen3-0.6B", "--measure")
    assert called.code == 2 and "needs the rows" in called.line
    both = call("plan", "--model", "Qwen/Qwen3-0.6B", "--measure", "--cards")
    assert both.code == 2 and "--measure is of the one here" in both.line


def test_a_smaller_card_is_planned_for_and_stood_for(call: Call, spec: Path, monkeypatch) -> None:
    """The plan is the one for that card, and so is what compiling pays for."""
    from core import prepare
    from tests.plan.boxes import box, gpu

    asked: list[dict[str, Any]] = []

    async def answered(module: str, request: dict[str, Any], progress: Any) -> dict[str, Any]:
        asked.append(request)
        return {"fits": False, "rung": None, "why": "1 GiB more was wanted", "phase": "step", "others": None}

    machine = box(gpu(80, capability=(9, 0)))
    monkeypatch.setattr(prepare, "look", lambda: machine)
    monkeypatch.setattr("core.machine.look", lambda: machine)
    monkeypatch.setattr(measuring, "run_job_async", answered)
    monkeypatch.setattr(measuring, "choose", lambda spec, anyway: [])
    called = call("plan", spec, "--measure", "--vram", "2")
    assert called.code == 1 and "a card of 80, standing for a card of 2 GiB" in called.out
    assert asked[0]["cap"] == 2 * 2**30 and asked[0]["spec"]["compile"] is False
    larger = call("plan", spec, "--measure", "--card", "B200")
    assert larger.code == 2 and "cannot stand for" in larger.line
    both = call("plan", spec, "--measure", "--vram", "2", "--card", "4090")
    assert both.code == 2 and "both name a card" in both.line
    machine = box()
    alone = call("plan", spec, "--measure", "--vram", "2")
    assert alone.code == 2 and "a CPU has no memory of a card" in alone.line
