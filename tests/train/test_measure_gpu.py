"""Measurements on a CUDA GPU: `python -m pytest tests/train/test_measure_gpu.py -m gpu`.

What is measured before a run is what the run then takes; on a smaller card it steps down until it fits.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from core.data.sources.packed import cache
from core.job import command, environment
from core.machine import look
from core.models.shape import read_shape
from core.plan import measuring
from core.plan.cards import card_here
from core.plan.estimate import Estimate
from core.plan.measured import recall
from core.plan.memory import CONTEXT
from tests.train.conftest import Make
from tests.train.test_gpu import small as small  # the fixture

pytestmark = pytest.mark.gpu

CASES: dict[str, dict[str, Any]] = {
    "lora, keeping all": {"method": "lora", "recompute": 0},
    "lora, compiled": {"method": "lora", "recompute": 0.5, "compile": True},
    "lora, packed, two passes": {"method": "lora", "packing": True, "batch": 2, "accumulate": 2},
    "full, 8-bit": {"method": "full", "optimizer": "adamw_8bit"},
    "full, two passes": {"method": "full", "accumulate": 2},
    "qlora": {"method": "qlora"},
}


def estimate_of(found: measuring.Measured) -> tuple[Estimate, Estimate]:
    """What was measured, and the closed form."""
    shape, machine = read_shape(found.spec.model), look()
    plain = measuring.formula_for(found, shape, card_here(found.spec, machine), None)
    return measuring.kept(found, shape, plain), plain


@pytest.mark.parametrize("case", list(CASES))
def test_what_is_measured_is_what_the_run_takes(make_run: Make, small: Path, case: str) -> None:
    settings = {"model": str(small), "precision": "bf16", "batch": 8, "steps": 24, "compile": False}
    run = make_run("measured", **{**settings, **CASES[case]})
    found = measuring.measure(run.spec())
    assert found.fits and not found.changes and list(cache("measuring").iterdir()) == []
    estimate, _ = estimate_of(found)
    with run.log.open("wb") as log:  # in a process of its own, which holds nothing else
        worked = [*command("core.train.worker"), str(run.path)]
        assert subprocess.run(worked, stdout=log, stderr=log, env=environment()).returncode == 0
    took = json.loads(run.report_file.read_text())["peak_gpu_bytes"]
    measured = max(one["allocated"] for one in found.told["phases"].values())
    assert 0.995 * took <= measured <= 1.03 * took, "small tensors: pieces of 2 MiB are a per cent of it"
    assert estimate.peak > measured and estimate.step.context > 100 * 2**20
    assert min(estimate.load, estimate.evaluation, estimate.save) > estimate.step.context
    parts = found.told["parts"]
    assert sum(parts.values()) < found.told["phases"]["step"]["allocated"]
    assert (parts["quantization"] > 0) is (case == "qlora")
    assert found.told["tokens_per_second"] > 0
    assert {one.by for one in recall()} == {"run"} and recall()[0].estimate, "the newer, with the parts"


def test_on_a_smaller_card_it_steps_down_and_says_so(make_run: Make, small: Path) -> None:
    settings = {"model": str(small), "precision": "bf16", "batch": 32, "recompute": 0, "compile": False}
    spec = make_run("small", **settings).spec()
    plenty = measuring.measure(spec)
    peak = plenty.told["phases"]["step"]["allocated"]
    found = measuring.measure(spec, cap=CONTEXT + int(0.75 * peak))
    assert found.fits and found.changes and all("more were wanted" in one for one in found.changes)
    assert found.spec.batch * found.spec.accumulate == 32
    assert found.told["phases"]["step"]["reserved"] <= 0.75 * peak
    nothing = measuring.measure(spec, cap=CONTEXT + 30 * 2**20)
    assert not nothing.fits and "more were wanted" in nothing.told["why"]
