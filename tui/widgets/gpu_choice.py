"""One GPU as an entry to choose: name, memory held and free, what it can compute in, and who holds it."""

from typing import TYPE_CHECKING

from textual.content import Content

from core.numbers import gib

if TYPE_CHECKING:
    from core.machine.gpus import Gpu

BAR = 24
UNKNOWN = "unknown"


def gpu_entry(gpu: "Gpu", *, chosen: bool) -> Content:
    """Three or four lines; a value that NVML does not tell reads "unknown"."""
    mark = ("● ", "bold $primary") if chosen else ("○ ", "$foreground 50%")
    lines = [Content.assemble(mark, (f"GPU {gpu.index}  {gpu.name or UNKNOWN}", "bold"))]
    if gpu.error:
        lines.append(Content.styled(f"  does not answer: {gpu.error}", "$error"))
    else:
        lines.append(Content.assemble("  ", memory_bar(gpu.memory_used, gpu.memory_total)))
        lines.append(Content.styled(f"  {_abilities(gpu)}", "$foreground 75%"))
        lines += [Content.styled(f"  {line}", "$foreground 75%") for line in holders(gpu)]
    return Content("\n").join([*lines, Content("")])


def memory_bar(used: int | None, total: int | None) -> Content:
    """`███████░░░░░  18.1 of 139.8 GiB held, 121.7 GiB free`."""
    if not total or used is None:
        return Content(f"memory {UNKNOWN}")
    share = min(used / total, 1.0)
    filled = max(round(share * BAR), 1 if used else 0)
    colour = "$warning" if share > 0.5 else "$primary"
    return Content.assemble(
        ("█" * filled, colour),
        ("░" * (BAR - filled), "$foreground 30%"),
        f"  {gib(total - used)} free of {gib(total)}",
    )


def _abilities(gpu: "Gpu") -> str:
    capability = ".".join(map(str, gpu.capability)) if gpu.capability else UNKNOWN
    bf16 = {True: "bf16", False: "no bf16 (fp16 instead)", None: f"bf16 {UNKNOWN}"}[gpu.bf16]
    parts = [f"compute capability {capability}", bf16]
    if gpu.mig:
        parts.append("a part of a split GPU")
    if not gpu.visible:
        parts.append("hidden by CUDA_VISIBLE_DEVICES")
    return " · ".join(parts)


def holders(gpu: "Gpu") -> list[str]:
    """Who holds its memory, the three largest; what the process table leaves unsaid."""
    said = [
        f"held by {process.name or UNKNOWN} (pid {process.pid}{f', {process.user}' if process.user else ''})"
        f"{f'  {gib(process.bytes)}' if process.bytes is not None else ''}"
        for process in gpu.processes[:3]
    ]
    if len(gpu.processes) > 3:
        said.append(f"and {len(gpu.processes) - 3} more")
    return said + ([gpu.note] if gpu.note else [])
