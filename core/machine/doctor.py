"""What is wrong with this box for fine-tuning, each with the one command that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from core.machine.torch_check import driver_runs, oldest_driver, torch_for_driver, wheel_index

if TYPE_CHECKING:
    from core.machine.gpus import Gpu, Process
    from core.machine.look import Machine

GIB = 1 << 30
DISK_STOP = GIB // 2
"""Free bytes below which a run cannot even keep its log and a small adapter."""
DISK_LOW = {"runs": 10 * GIB, "models": 20 * GIB}
"""Free bytes below which a usual checkpoint (runs) or the download of a 7B model (models) may not fit."""
RAM_LOW = 4 * GIB
"""Loading libraries takes about 1 GiB and a model passes through RAM a file at a time (up to 5 GB each)."""
HELD_BY_OTHERS, HELD_BYTES = 0.10, 3 * GIB // 2
"""Share of a GPU's memory in use, or bytes, from which it is worth asking who holds it."""


@dataclass(frozen=True)
class Finding:
    severity: Literal["stop", "warn", "info"]
    """stop: a run would fail; warn: it may; info: good to know."""
    code: str
    message: str
    todo: str = ""


def doctor(machine: Machine) -> tuple[Finding, ...]:
    """Everything worth saying about the box, worst first."""
    found = [
        *_torch(machine),
        *_gpus(machine),
        *(finding for gpu in machine.gpus for finding in _gpu(gpu)),
        *_disks(machine),
        *_memory(machine),
        *_hub(machine),
    ]
    return tuple(sorted(found, key=lambda finding: ("stop", "warn", "info").index(finding.severity)))


def _torch(machine: Machine) -> list[Finding]:
    torch, driver = machine.torch, machine.driver
    tag = torch_for_driver(driver) if driver else "cpu"
    command = f"pip install --upgrade --index-url {wheel_index(tag)} torch" if tag else ""
    update = f"update the NVIDIA driver to {oldest_driver('12.6')} or newer, or rent a box that has one"
    if torch is None:
        todo = command if driver else "pip install torch"
        return [Finding("stop", "no_torch", "torch is not installed in this Python", todo or update)]
    if not machine.gpus:
        return []
    if torch.built_for_cpu:
        message = (
            f"this box has a GPU, but torch {torch.version} is built for the CPU alone and will not use it"
        )
        todo = command.replace("--upgrade", "--force-reinstall") or update
        return [Finding("stop", "torch_for_cpu", message, todo)]
    if torch.cuda and driver and driver_runs(driver, torch.cuda) is False:
        message = (
            f"driver {driver} is too old for torch {torch.version}: CUDA {torch.cuda} needs "
            f"{oldest_driver(torch.cuda)} or newer"
        )
        return [
            Finding(
                "stop", "driver_too_old", message, command.replace("--upgrade", "--force-reinstall") or update
            )
        ]
    return []


def _gpus(machine: Machine) -> list[Finding]:
    if machine.gpus:
        if not any(gpu.visible for gpu in machine.gpus):
            message = "CUDA_VISIBLE_DEVICES hides every GPU, so runs would use the CPU"
            return [Finding("warn", "gpus_hidden", message, "unset CUDA_VISIBLE_DEVICES")]
        return []
    if machine.nvml and machine.nvml != "no NVIDIA driver":
        todo = "restart the machine" if "restart" in machine.nvml else "nvidia-smi shows what the driver says"
        return [Finding("warn", "nvml", f"the GPUs cannot be asked: {machine.nvml}", todo)]
    message = (
        "no NVIDIA GPU here: runs use the CPU, which does for small models (under about 100 M parameters)"
    )
    return [Finding("info", "no_gpu", message, "for a larger model rent a GPU box and call finetui there")]


def _gpu(gpu: Gpu) -> list[Finding]:
    name = f"GPU {gpu.index}" + (f" ({gpu.name})" if gpu.name else "")
    if gpu.error:
        return [
            Finding(
                "warn",
                "gpu_dead",
                f"{name} does not answer: {gpu.error}",
                "nvidia-smi shows more; use another GPU or restart the machine",
            )
        ]
    found = []
    if gpu.bf16 is False and gpu.capability:
        capability = ".".join(map(str, gpu.capability))
        message = f"{name} has compute capability {capability}, so no bf16: runs use fp16 with a loss scaler"
        todo = "nothing to do; a card of 8.0 (Ampere) or newer is steadier"
        found.append(Finding("info", "no_bf16", message, todo))
    if gpu.memory_total and (gpu.memory_used or 0) > min(HELD_BY_OTHERS * gpu.memory_total, HELD_BYTES):
        used = f"{(gpu.memory_used or 0) / GIB:.1f} of {gpu.memory_total / GIB:.1f} GiB"
        named = [process for process in gpu.processes if process.name]
        who = ", ".join(map(_holder, gpu.processes[:3]))
        who += f" and {len(gpu.processes) - 3} more" if len(gpu.processes) > 3 else ""
        todo = (
            f"end it if it is yours: kill {named[0].pid}"
            if named
            else "nvidia-smi on the host names the process"
        )
        message = f"{name}: {used} are already held" + (f" by {who}" if who else "")
        message += f"; {gpu.note}" if gpu.note else ""
        found.append(Finding("warn", "gpu_busy", message, todo))
    if gpu.mig:
        found.append(
            Finding(
                "info", "mig", f"{name} is a part of a split GPU", f"export CUDA_VISIBLE_DEVICES={gpu.uuid}"
            )
        )
    return found


def _holder(one: Process) -> str:
    """ "python (pid 4242, ann, 9.0 GiB)"; a process of the host has a number alone."""
    about = [f"pid {one.pid}", one.user, f"{one.bytes / GIB:.1f} GiB" if one.bytes else None]
    told = ", ".join(part for part in about if part)
    return f"{one.name} ({told})" if one.name else told.replace(", ", " (", 1) + (")" if ", " in told else "")


def _disks(machine: Machine) -> list[Finding]:
    found = []
    for disk in machine.disks:
        what = {
            "runs": "runs are written",
            "models": "models are downloaded",
            "temporary": "temporary files go",
        }[disk.purpose]
        message = f"{disk.free / GIB:.1f} GiB free at {disk.path}, where {what}"
        todo = {
            "runs": "free some space, or set FINETUI_HOME to a larger disk",
            "models": "hf cache prune, or set HF_HOME to a larger disk",
            "temporary": "free some space, or set TMPDIR to a larger disk",
        }[disk.purpose]
        if disk.free < DISK_STOP:
            found.append(Finding("stop", "disk_full", f"only {message}", todo))
        elif disk.free < DISK_LOW.get(disk.purpose, 0):
            found.append(Finding("warn", "disk_low", message, todo))
    return found


def _memory(machine: Machine) -> list[Finding]:
    if machine.ram_available < RAM_LOW:
        message = f"{machine.ram_available / GIB:.1f} of {machine.ram_total / GIB:.1f} GiB of RAM are free"
        return [Finding("warn", "ram_low", message, "end what is not needed; small models still run")]
    return []


def _hub(machine: Machine) -> list[Finding]:
    if machine.hub.offline:
        message = "HF_HUB_OFFLINE is set: only models and data already on this box can be used"
        return [Finding("info", "hub_offline", message, "unset HF_HUB_OFFLINE to download")]
    if not machine.hub.token_found:
        message = "not logged in to the Hugging Face Hub: gated models (Llama, Gemma) cannot be downloaded"
        return [Finding("info", "hub_token", message, "hf auth login")]
    return []
