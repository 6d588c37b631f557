"""Machine: what this box has, what is wrong with it and the command that mends it, and which GPU to use."""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from core.numbers import gib
from tui.widgets.gpu_choice import gpu_entry
from tui.widgets.step_frame import StepScreen

if TYPE_CHECKING:
    from core.machine import Finding, Machine

SEVERITY = {"stop": ("✗", "$error"), "warn": ("!", "$warning"), "info": ("·", "$primary")}
GIB = 1 << 30
BYTES_LORA = 6  # a parameter on the CPU: its weight in float32, and as a rule half as much again around it
BYTES_FULL = 20  # weight, gradient and two moments of Adam in float32, and what is kept for the backward pass


class MachineScreen(StepScreen):
    step = "machine"
    title = "What this machine has"
    AUTO_FOCUS = "#next"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "rescan", "look again", tooltip="Look at the machine again", id="machine.rescan"),
    ]
    DEFAULT_CSS = """
    MachineScreen #both { layout: horizontal; height: auto; }
    MachineScreen #left { width: 1fr; height: auto; }
    MachineScreen #gpus { height: auto; border: none; background: $background; padding: 0; }
    MachineScreen #gpus > .option-list--option { padding: 0 1; }
    MachineScreen #facts { width: 46; height: auto; padding: 0 0 0 3; }
    MachineScreen #findings { height: auto; margin-top: 1; }
    MachineScreen #findings Horizontal { height: auto; }
    MachineScreen #findings Horizontal Static { width: 1fr; }
    MachineScreen #findings Horizontal .mark { width: 2; }
    MachineScreen.-narrow #both { layout: vertical; }
    MachineScreen.-narrow #facts { width: 100%; padding: 1 0 0 0; }
    MachineScreen #gpus.-none, MachineScreen #no-gpu.-none { display: none; }
    """

    def compose_step(self) -> Iterable[Widget]:
        with Container(id="both"):
            with Vertical(id="left"):
                gpus = OptionList(id="gpus", compact=True, classes="-none")
                gpus.term = "gpu"  # type: ignore[attr-defined]
                yield gpus
                yield Static("Looking at this machine…", id="no-gpu")
                yield Vertical(id="findings")
            yield Static(id="facts")

    def on_mount(self) -> None:
        if self.journey.machine is not None:
            self.show(self.journey.machine)
        self.action_rescan()

    @work(exclusive=True, group="look")
    async def action_rescan(self) -> None:
        """Look in a thread: a driver that sleeps takes a second to answer."""
        from core.machine import look

        self.status = "looking…"
        self.journey.machine = machine = await asyncio.to_thread(look)
        self.status = ""
        self.show(machine)

    # -- showing

    def on_resize(self) -> None:
        if self.journey.machine is not None:
            self.show(self.journey.machine)

    def show(self, machine: "Machine") -> None:
        first = not self.query_one("#gpus", OptionList).option_count
        self._fill(machine)
        if first and machine.gpus and self.focused is not None and self.focused.id == "next":
            self.query_one("#gpus").focus()
        self.query_one("#no-gpu", Static).update(_without_gpu(machine))
        self.query_one("#no-gpu").set_class(bool(machine.gpus), "-none")
        self.query_one("#facts", Static).update(facts(machine, self.narrow))
        found = self.query_one("#findings")
        found.remove_children()
        found.mount(*findings(_beside(machine)))
        stops = [finding for finding in machine.findings if finding.severity == "stop"]
        if stops:
            self.note("mend what is marked ✗ before you start a run", "stop")
        else:
            self.note("")

    def _fill(self, machine: "Machine") -> None:
        gpus = self.query_one("#gpus", OptionList)
        at = gpus.highlighted
        chosen = self._chosen(machine)
        gpus.clear_options()
        gpus.add_options(
            Option(gpu_entry(gpu, chosen=gpu.index == chosen), id=f"{place}", disabled=bool(gpu.error))
            for place, gpu in enumerate(machine.gpus)
        )
        gpus.set_class(not machine.gpus, "-none")
        places = [place for place, gpu in enumerate(machine.gpus) if gpu.index == chosen]
        gpus.highlighted = at if at is not None else places[0] if places else None

    def _chosen(self, machine: "Machine") -> int | None:
        """The index of the GPU that would be used: the one chosen, else that with most free memory."""
        given = self.journey.get("gpus")
        if isinstance(given, list) and given:
            return int(given[0])
        alive = [gpu for gpu in machine.gpus if not gpu.error and gpu.visible]
        return max(alive, key=lambda gpu: gpu.memory_free or 0).index if alive else None

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter on the GPU that is chosen goes on; on another, it chooses that one."""
        machine = self.journey.machine
        if machine is None:
            return
        index = machine.gpus[int(str(event.option.id))].index
        if index != self._chosen(machine):
            self.journey.set("gpus", [index])
            self._fill(machine)
            self.note(f"GPU {index} is chosen; Enter goes on")
        else:
            self.action_next()


def _beside(machine: "Machine") -> "tuple[Finding, ...]":
    """The findings, without the one that the words on a machine without GPU already say."""
    return tuple(one for one in machine.findings if one.code != "no_gpu")


def facts(machine: "Machine", narrow: bool) -> Content:
    """Driver, torch, processor, memory, disks and login: a line each, or two where they stand at the side."""
    torch = machine.torch
    cuda = ".".join(map(str, machine.cuda_driver)) if machine.cuda_driver else ""
    rows = [
        ("Driver", f"{machine.driver}, speaks CUDA {cuda}" if machine.driver else machine.nvml or "none"),
        ("torch", _torch(torch.version, torch.cuda, torch.built_for_cpu) if torch else "not installed"),
        ("CPU", f"{machine.cpus} cores  {machine.cpu_name}"),
        ("RAM", f"{gib(machine.ram_available)} free of {gib(machine.ram_total)}"),
        *((f"Disk, {disk.purpose}", f"{gib(disk.free)} free  {_home(disk.path)}") for disk in machine.disks),
        ("Hub", _hub(machine)),
    ]
    lines = [
        Content.assemble((f"{name:<17}" if narrow else f"{name}\n", "$foreground 60%"), value)
        for name, value in rows
    ]
    return Content("\n").join(lines)


def _torch(version: str, cuda: str | None, built_for_cpu: bool) -> str:
    return f"{version}, for the CPU alone" if built_for_cpu else f"{version}, built for CUDA {cuda or '?'}"


def _hub(machine: "Machine") -> str:
    if machine.hub.offline:
        return "offline: only what is on this box"
    if machine.hub.token_found:
        return f"logged in{f' as {machine.hub.user}' if machine.hub.user else ''} ({machine.hub.where})"
    return "not logged in: open models only"


def _home(path: str) -> str:
    from pathlib import Path

    home = str(Path.home())
    return f"~{path[len(home) :]}" if home != "/" and path.startswith(home) else path


def findings(found: "tuple[Finding, ...]") -> list[Widget]:
    """What is wrong, worst first, each with what to do; the marks stand in a column of their own."""
    if not found:
        return [Static(Content.styled("✓ nothing stands in the way", "$success"))]
    lines: list[Widget] = []
    for one in found:
        mark, colour = SEVERITY[one.severity]
        words = Content.assemble(one.message, (f"\n{one.todo}" if one.todo else "", "$accent"))
        lines.append(
            Horizontal(Static(Content.styled(mark, f"bold {colour}"), classes="mark"), Static(words))
        )
    return lines


def _without_gpu(machine: "Machine") -> Content:
    """What can be done here all the same, from the memory that is free."""
    lora, full = (machine.ram_available / size / 1e6 for size in (BYTES_LORA, BYTES_FULL))
    return Content.assemble(
        ("No GPU here: training runs on the CPU", "bold"),
        f"\n\nIt works, and it is slow. {gib(machine.ram_available)} of RAM are free: room for models up to "
        f"about {_millions(lora)} parameters with LoRA, {_millions(full)} with full tuning. Time is the "
        "nearer limit: 30 million parameters take minutes, 500 million take hours.\n\n"
        "For a larger model, rent a GPU box and call finetui there. The demo needs no more than this.",
    )


def _millions(value: float) -> str:
    return f"{value / 1000:.1f} billion" if value >= 1000 else f"{value:.0f} million"
