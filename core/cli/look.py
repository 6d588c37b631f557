"""The command that looks at this machine: doctor."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from core.cli import options, show

if TYPE_CHECKING:
    from core.machine import Machine


def doctor(as_json: options.Json = False) -> None:
    """What this machine has, and what stands in the way of a run (exit code 1 if something does)."""
    from core.machine import look

    machine = look()
    if as_json:
        facts = asdict(machine)
        facts["ram_bytes"] = machine.ram_total
        show.answer(facts)
    else:
        show.say(_machine(machine))
    if any(one.severity == "stop" for one in machine.findings):
        raise typer.Exit(1)


def _machine(machine: Machine) -> str:
    from core.numbers import gib

    facts = []
    for gpu in machine.gpus:
        if gpu.error:
            facts.append((f"GPU {gpu.index}", f"{gpu.name or '?'}: {gpu.error}"))
            continue
        capability = ".".join(map(str, gpu.capability or ())) or "?"
        number = "bf16" if gpu.bf16 else "no bf16" if gpu.bf16 is False else "bf16 unknown"
        memory = f"{gib(gpu.memory_free)} free of {gib(gpu.memory_total)}"
        facts.append((f"GPU {gpu.index}", f"{gpu.name or '?'}, {memory}, capability {capability}, {number}"))
        for process in gpu.processes:
            who = process.name or "a process outside this container"
            facts.append(("", f"  held by {who} (pid {process.pid}): {gib(process.bytes)}"))
    if not machine.gpus:
        facts.append(("GPU", f"none ({machine.nvml})" if machine.nvml else "none"))
    if machine.driver:
        cuda = ".".join(map(str, machine.cuda_driver or ())) or "?"
        facts.append(("driver", f"{machine.driver}, CUDA up to {cuda}"))
    torch = machine.torch
    built = f"CUDA {torch.cuda}" if torch and torch.cuda else "built for the CPU"
    facts.append(("torch", f"{torch.version}, {built}" if torch else "not installed"))
    facts.append(("CPU", f"{machine.cpu_name}, {machine.cpus} cores"))
    facts.append(("RAM", f"{gib(machine.ram_available)} free of {gib(machine.ram_total)}"))
    for disk in machine.disks:
        facts.append((f"disk, {disk.purpose}", f"{gib(disk.free)} free of {gib(disk.total)} at {disk.path}"))
    hub = machine.hub
    facts.append(("Hub", f"token in {hub.where}" if hub.token_found else "not logged in"))
    found = [asdict(one) for one in machine.findings]
    text = show.pairs(facts)
    return f"{text}\n\n{show.findings(found)}" if found else f"{text}\n\nNothing stands in the way."
