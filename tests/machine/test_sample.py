"""A reading of GPUs and host carries what the screens show, and is cheap."""

import time

from core.machine.sample import Sampler
from tests.machine.fake_nvml import GIB, Card, FakeNvml


def test_a_reading_of_two_gpus_of_which_one_died(nvml):
    nvml(Card("NVIDIA H200", 141 * GIB, 18 * GIB, compute=[(1, 17 * GIB)]), Card("NVIDIA H200", silent=True))
    first, second = Sampler().sample()["gpus"]
    assert first | {"processes": None} == {
        "index": 0,
        "name": "NVIDIA H200",
        "utilisation": 0.97,
        "memory_used": 18 * GIB,
        "memory_total": 141 * GIB,
        "power": 612.345,
        "power_limit": None,
        "temperature": 64,
        "clock_sm": 1980,
        "clock_memory": 2619,
        "processes": None,
    }
    assert first["processes"][0]["bytes"] == 17 * GIB
    assert set(second) == set(first)
    assert {key for key, value in second.items() if value not in (None, [])} == {"index"}


def test_without_a_gpu_the_host_is_read(nvml):
    nvml(fails=FakeNvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    sampler = Sampler()
    until = time.monotonic() + 0.2
    while time.monotonic() < until:
        sum(range(1000))
    reading = sampler.sample()
    assert reading["gpus"] == []
    host = reading["host"]
    assert 0 < host["cpu"] <= 1 and 0 < host["ram_used"] < host["ram_total"]
    assert 0.2 < host["worker_cpu"] < 2 and host["worker_ram"] > 1 << 20


def test_a_reading_takes_under_five_milliseconds(nvml):
    nvml(Card(), Card())
    sampler = Sampler()
    sampler.sample()
    took = []
    for _ in range(30):
        start = time.perf_counter()
        sampler.sample()
        took.append(time.perf_counter() - start)
    assert sorted(took)[len(took) // 2] < 0.005


def test_the_process_table_is_not_read_each_time(nvml):
    fake = nvml(Card())
    asked = []
    fake.nvmlDeviceGetComputeRunningProcesses = lambda card: asked.append(card) or []
    sampler = Sampler()
    for _ in range(20):
        sampler.sample()
    assert len(asked) == 1
