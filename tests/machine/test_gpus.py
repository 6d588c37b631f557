"""What is read of the GPUs when the driver answers, answers in part, or not at all."""

import dataclasses
import json
import os
import sys

import pytest

from core.machine.gpus import read_gpus
from tests.machine.fake_nvml import GIB, Card, FakeNvml


def test_a_card_that_answers(nvml):
    fake = nvml(Card("NVIDIA H200", 141 * GIB, 2 * GIB, (9, 0)))
    found = read_gpus()
    (gpu,) = found.gpus
    assert (gpu.name, gpu.memory_total, gpu.memory_free, gpu.memory_used) == (
        "NVIDIA H200",
        141 * GIB,
        139 * GIB,
        2 * GIB,
    )
    assert gpu.capability == (9, 0) and gpu.bf16 is True and gpu.error is None
    assert found.driver == "580.65.06" and found.cuda_driver == (13, 0) and found.problem is None
    assert fake.open == 0, "NVML is left closed"


def test_no_driver_is_no_error(nvml):
    nvml(fails=FakeNvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    assert read_gpus().gpus == () and read_gpus().problem == "no NVIDIA driver"


def test_without_the_binding(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "nvidia-ml-py" in (read_gpus().problem or "")


def test_a_restart_that_is_due_is_named(nvml):
    nvml(fails=FakeNvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)
    assert "restart" in (read_gpus().problem or "")


@pytest.mark.parametrize("dead", [Card(lost=True), Card(silent=True)], ids=["no handle", "no answers"])
def test_one_dead_gpu_is_a_row_beside_the_others(nvml, dead):
    nvml(Card(uuid="GPU-a"), dead, Card(uuid="GPU-b"))
    rows = read_gpus().gpus
    assert [row.index for row in rows] == [0, 1, 2]
    assert rows[1].error and rows[0].error is None and rows[2].error is None


def test_a_value_that_is_not_supported_is_none(nvml):
    nvml(Card("NVIDIA GB10", total=None, capability=None))
    (gpu,) = read_gpus().gpus
    assert gpu.memory_total is None and gpu.bf16 is None and gpu.error is None and gpu.name == "NVIDIA GB10"


def test_an_old_card_has_no_bf16(nvml):
    nvml(Card("Tesla T4", 16 * GIB, capability=(7, 5)))
    assert read_gpus().gpus[0].bf16 is False


def test_who_holds_the_memory(nvml):
    nvml(Card(used=5 * GIB, compute=[(4_000_000, GIB), (os.getpid(), 4 * GIB)]))
    mine, gone = read_gpus().gpus[0].processes
    assert mine.pid == os.getpid() and mine.name and mine.user and mine.bytes == 4 * GIB
    assert (gone.name, gone.user) == (None, None), "a process of the host cannot be named"


def test_an_empty_process_table_over_held_memory_says_so(nvml):
    nvml(Card(used=5 * GIB), Card(used=GIB // 4), Card(used=5 * GIB, compute=[(4_000_000, None)]))
    held, idle, hosts = read_gpus().gpus
    assert "no process is named" in (held.note or "")
    assert idle.note is None
    assert "host" in (hosts.note or "")


def test_a_split_gpu_is_its_parts(nvml):
    parts = [Card("NVIDIA A100 MIG 3g.20gb", 20 * GIB, uuid=f"MIG-{place}") for place in range(2)]
    nvml(Card("NVIDIA A100", 40 * GIB, capability=(8, 0), parts=parts))
    rows = read_gpus().gpus
    assert [(row.index, row.uuid, row.memory_total, row.mig) for row in rows] == [
        (0, "MIG-0", 20 * GIB, True),
        (0, "MIG-1", 20 * GIB, True),
    ]
    assert rows[0].capability == (8, 0), "a part computes as the whole does"


def test_a_gpu_that_is_to_be_split_and_has_no_parts_cannot_be_used(nvml):
    nvml(Card("NVIDIA A100", 40 * GIB, capability=(8, 0), split=True))
    (gpu,) = read_gpus().gpus
    assert "MIG" in (gpu.error or "")


@pytest.mark.parametrize(
    ("chosen", "seen"),
    [("1", [False, True]), ("", [False, False]), ("0,1", [True, True]), ("-1", [False, False])],
)
def test_what_cuda_may_see(nvml, monkeypatch, chosen, seen):
    nvml(Card(uuid="GPU-aa"), Card(uuid="GPU-bb"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert [gpu.visible for gpu in read_gpus().gpus] == seen


def test_what_cuda_may_see_by_uuid(nvml, monkeypatch):
    nvml(Card(uuid="GPU-aa"), Card(uuid="GPU-bb"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-bb")
    assert [gpu.visible for gpu in read_gpus().gpus] == [False, True]


def test_everything_is_json(nvml):
    nvml(Card(compute=[(1, None)]), Card(lost=True))
    assert json.loads(json.dumps([dataclasses.asdict(gpu) for gpu in read_gpus().gpus]))[1]["error"]
