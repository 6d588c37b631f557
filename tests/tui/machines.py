"""Frozen machines, as `core.machine.look` would give them."""

from core.machine.doctor import Finding
from core.machine.gpus import Gpu, Process
from core.machine.host import Disk, Hub
from core.machine.look import Machine
from core.machine.torch_check import Torch

GIB = 1 << 30


def gpu(index: int = 0, name: str = "NVIDIA H200", used: int = 18, total: int = 140, **more: object) -> Gpu:
    known = {
        "uuid": f"GPU-{index}",
        "memory_total": total * GIB,
        "memory_free": (total - used) * GIB,
        "memory_used": used * GIB,
        "capability": (9, 0),
        "bf16": True,
    }
    return Gpu(index=index, name=name, **{**known, **more})  # type: ignore[arg-type]


def machine(*gpus: Gpu, findings: tuple[Finding, ...] = ()) -> Machine:
    return Machine(
        gpus=gpus,
        driver="570.86.15" if gpus else None,
        cuda_driver=(12, 8) if gpus else None,
        nvml=None if gpus else "no NVIDIA driver",
        cpu_name="AMD EPYC 9654",
        cpus=16,
        ram_total=128 * GIB,
        ram_available=96 * GIB,
        disks=(Disk("/data/finetui/runs", "runs", 2000 * GIB, 800 * GIB),),
        torch=Torch("2.11.0", "12.8", built_for_cpu=False) if gpus else Torch("2.11.0+cpu", None, True),
        hub=Hub(False, None, None),
        findings=findings,
    )


TWO = machine(
    gpu(0, used=120, processes=(Process(4242, "python", "ada", 119 * GIB),)),
    gpu(1, used=1),
    findings=(
        Finding("warn", "gpu_busy", "GPU 0 (NVIDIA H200): 120.0 of 140.0 GiB are already held", "kill 4242"),
        Finding("info", "hub_token", "not logged in to the Hugging Face Hub", "hf auth login"),
    ),
)
BROKEN = machine(
    gpu(0, "Tesla T4", used=1, total=15, capability=(7, 5), bf16=False),
    Gpu(1, None, None, None, None, None, None, None, error="GPU is lost"),
    findings=(
        Finding("stop", "torch_for_cpu", "torch 2.11.0+cpu is built for the CPU alone", "pip install torch"),
    ),
)
BARE = machine()
