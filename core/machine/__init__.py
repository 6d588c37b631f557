"""What this box has: GPUs, memory, disks, torch, Hub login, and what is wrong with it."""

from core.machine.doctor import Finding, doctor
from core.machine.look import Machine, look

__all__ = ["Finding", "Machine", "doctor", "look"]
