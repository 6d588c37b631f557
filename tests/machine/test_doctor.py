"""Each thing that stands in the way of a run is found, and comes with what mends it."""

from dataclasses import replace

import pytest

from core.machine.doctor import doctor
from core.machine.gpus import Gpu, Process, read_gpus
from core.machine.host import Disk, Hub
from core.machine.look import Machine
from core.machine.torch_check import Torch
from tests.machine.fake_nvml import Card

GIB = 1 << 30
GPU = Gpu(0, "GPU-1", "NVIDIA A10G", 24 * GIB, 23 * GIB, GIB, (8, 6), True)
SOUND = Machine(
    gpus=(GPU,),
    driver="580.65.06",
    cuda_driver=(13, 0),
    nvml=None,
    cpu_name="a processor",
    cpus=8,
    ram_total=64 * GIB,
    ram_available=60 * GIB,
    disks=(Disk("/runs", "runs", 500 * GIB, 400 * GIB), Disk("/models", "models", 500 * GIB, 400 * GIB)),
    torch=Torch("2.11.0+cu130", "13.0", False),
    hub=Hub(True, "HF_TOKEN", None),
)


def found(machine: Machine) -> dict[str, tuple[str, str, str]]:
    return {one.code: (one.severity, one.message, one.todo) for one in doctor(machine)}


def test_a_sound_box_has_nothing_to_say():
    assert doctor(SOUND) == ()


def test_no_torch():
    severity, _, todo = found(replace(SOUND, torch=None))["no_torch"]
    assert severity == "stop" and todo.startswith("pip install") and "/cu130" in todo


def test_a_torch_for_the_cpu_on_a_gpu_box():
    severity, message, todo = found(replace(SOUND, torch=Torch("2.13.0+cpu", None, True)))["torch_for_cpu"]
    assert severity == "stop" and "2.13.0+cpu" in message
    assert todo == "pip install --force-reinstall --index-url https://download.pytorch.org/whl/cu130 torch"


def test_a_torch_for_the_cpu_is_right_without_a_gpu():
    box = replace(SOUND, gpus=(), driver=None, nvml="no NVIDIA driver", torch=Torch("2.13.0+cpu", None, True))
    assert set(found(box)) == {"no_gpu"}


@pytest.mark.parametrize(
    ("driver", "cuda", "says"),
    [
        ("535.104.05", "13.0", "cu126"),
        ("570.26", "13.0", "cu126"),
        ("470.57.02", "12.8", "update the NVIDIA driver to 525"),
        ("535.104.05", "12.8", None),
        ("580.65.06", "13.0", None),
        ("610.10", "12.6", None),
    ],
)
def test_a_driver_that_is_too_old_for_torch(driver, cuda, says):
    box = replace(SOUND, driver=driver, torch=Torch(f"2.11.0+cu{cuda.replace('.', '')}", cuda, False))
    if says is None:
        assert "driver_too_old" not in found(box)
    else:
        severity, message, todo = found(box)["driver_too_old"]
        assert severity == "stop" and driver in message and says in todo


def test_a_dead_gpu_and_a_card_without_bf16():
    dead = replace(GPU, index=1, error="GPU is lost")
    old = replace(GPU, index=2, name="Tesla T4", capability=(7, 5), bf16=False)
    codes = found(replace(SOUND, gpus=(GPU, dead, old)))
    assert codes["gpu_dead"][0] == "warn" and "GPU 1" in codes["gpu_dead"][1]
    assert "7.5" in codes["no_bf16"][1] and "fp16" in codes["no_bf16"][1]


def test_memory_held_by_others_names_who():
    holder = Process(4242, "python", "ann", 9 * GIB)
    busy = replace(GPU, memory_used=10 * GIB, memory_free=14 * GIB, processes=(holder,))
    severity, message, todo = found(replace(SOUND, gpus=(busy,)))["gpu_busy"]
    assert (
        severity == "warn" and "10.0 of 24.0 GiB" in message and "python (pid 4242, ann, 9.0 GiB)" in message
    )
    assert "kill 4242" in todo


def test_two_that_hold_one_card_are_both_named_and_so_is_one_of_the_host():
    holders = (Process(4242, "python", "ann", 5 * GIB), Process(77, None, None, 2 * GIB))
    busy = replace(GPU, memory_used=7 * GIB, memory_free=17 * GIB, processes=holders)
    _, message, _ = found(replace(SOUND, gpus=(busy,)))["gpu_busy"]
    assert "python (pid 4242, ann, 5.0 GiB), pid 77 (2.0 GiB)" in message
    large = replace(GPU, memory_total=141 * GIB, memory_used=5 * GIB, processes=holders)
    assert "gpu_busy" in found(replace(SOUND, gpus=(large,))), "little of a large card, and still 5 GiB"


def test_memory_held_by_nobody_that_can_be_named(nvml):
    nvml(Card(used=10 * GIB))
    _, message, _ = found(replace(SOUND, gpus=read_gpus().gpus))["gpu_busy"]
    assert "no process is named" in message


@pytest.mark.parametrize(("free", "severity"), [(GIB // 10, "stop"), (3 * GIB, "warn")])
def test_a_disk_that_is_full_or_nearly(free, severity):
    disk = Disk("/runs", "runs", 100 * GIB, free)
    (finding,) = doctor(replace(SOUND, disks=(disk,)))
    assert finding.severity == severity and "/runs" in finding.message and "FINETUI_HOME" in finding.todo


def test_the_rest():
    codes = found(
        replace(SOUND, ram_available=GIB, hub=Hub(False, None, None), gpus=(replace(GPU, visible=False),))
    )
    assert codes["ram_low"][0] == "warn"
    assert codes["hub_token"] == (
        "info",
        "not logged in to the Hugging Face Hub: gated models (Llama, Gemma) cannot be downloaded",
        "hf auth login",
    )
    assert codes["gpus_hidden"][2] == "unset CUDA_VISIBLE_DEVICES"
    assert "hub_offline" in found(replace(SOUND, hub=Hub(False, None, None, offline=True)))


def test_the_worst_comes_first():
    box = replace(SOUND, torch=None, ram_available=GIB, hub=Hub(False, None, None))
    assert [one.severity for one in doctor(box)] == ["stop", "warn", "info"]
