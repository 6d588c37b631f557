"""What is worth saying of a plan: what cannot work, what would take days, and what stands in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.machine import Finding, Machine
from core.models.catalogue import entry
from core.models.hub import cached_folder
from core.models.shape import ModelShape
from core.numbers import duration, gib
from core.plan.cards import Card
from core.plan.memory import CONTEXT, CPU_LIBRARIES, GPU_LIBRARIES
from core.plan.objective import LEAST_BATCH, NAMES, asked_by, objective_of, refusal
from core.spec import Method, RunSpec

if TYPE_CHECKING:
    from core.plan.advise import MethodPlan

LONG = 2 * 86400.0
"""Seconds from which the time is said before anyone waits for it."""


def of_plan(
    spec: RunSpec,
    shape: ModelShape,
    card: Card,
    methods: tuple[MethodPlan, ...],
    recommended: Method | None,
) -> tuple[Finding, ...]:
    """What the user should know of the plan; `stop` where it cannot work."""
    found = []
    if card.kind == "gpu" and card.memory_free <= CONTEXT:
        message = f"{gib(card.memory_free)} of {card.name} are free, and CUDA itself takes {gib(CONTEXT)}"
        found.append(Finding("stop", "no_room", message, "end what holds its memory, or use another card"))
    chosen = next((one for one in methods if one.method == spec.method), None)
    if recommended is None and spec.method == "auto":
        message = f"{shape.name} does not fit on {card.name} with any method"
        least = min(methods, key=lambda one: one.peak)
        found.append(Finding("stop", "nothing_fits", message, way_out(least)))
    elif chosen is not None and not chosen.fits:
        todo = f"take method: {recommended}" if recommended else way_out(chosen)
        message = f"{chosen.method} does not fit on {card.name}: it {chosen.reason}"
        found.append(Finding("stop", "does_not_fit", message, todo))
    if shape.context and spec.length and spec.length > shape.context:
        message = (
            f"length {spec.length:,} is more than the {shape.context:,} tokens {shape.name} was made for"
        )
        found.append(Finding("warn", "over_context", message, f"set length to {shape.context} or less"))
    if not card.bf16 and card.kind == "gpu" and spec.precision == "bf16":
        message = f"{card.name} has no bf16"
        found.append(Finding("stop", "no_bf16", message, "set precision to auto or fp16"))
    if card.kind == "cpu" and spec.precision in ("bf16", "fp16"):
        message = f"precision {spec.precision} needs a GPU, and this run would be on the CPU"
        found.append(Finding("stop", "no_gpu", message, "set precision to auto or fp32"))
    taken = chosen or next((one for one in methods if one.method == recommended), None)
    if taken and taken.seconds and taken.seconds > LONG:
        message = f"{taken.method} would take about {duration(taken.seconds)} on {card.name}"
        todo = "take a smaller model, fewer rows (data.limit) or a faster card"
        found.append(Finding("warn", "slow", message, todo))
    if card.kind == "cpu" and spec.method == "qlora":
        message = "QLoRA on a CPU turns every weight back from four bits in each pass, which is slow"
        found.append(Finding("info", "qlora_on_cpu", message, "take method: lora where it fits"))
    if shape.estimated:
        message = f"{shape.architecture} is a family we do not know: its size is reckoned, not counted"
        found.append(Finding("info", "estimated", message, "watch the memory of the first steps"))
    return tuple(found)


def way_out(one: MethodPlan) -> str:
    """What would make the method fit: "QLoRA needs 1.1 GiB more: length 512; or RTX 3060 (11.7 GiB)"."""
    name = {"full": "full tuning", "lora": "LoRA", "qlora": "QLoRA"}[one.method]
    if one.out is None:
        return f"{name} is the smallest, and does not fit"
    return f"{name} needs {one.out.line}"


def of_host(card: Card, one: MethodPlan | None, ram_total: int) -> tuple[Finding, ...]:
    """Whether the host's memory is enough for what the run takes of it beside the card, and whether the card
    is for a merge after it.

    It stops where what must be saved is more than the host has at all (`ram_total` bytes); that other things
    are short is less sure: they may be given back, and layers wait on the card where the host has no room.
    """
    if card.kind == "cpu" or one is None or one.estimate is None:
        return ()
    found, need = [], one.estimate.ram
    sure = need - one.estimate.step.host - GPU_LIBRARIES
    todo = "end what is not needed, or take a box with more memory"
    if card.here and sure > ram_total > 0:
        message = f"{one.method} needs {gib(sure)} of the host's memory to save, and it has {gib(ram_total)}"
        found.append(Finding("stop", "ram_short", message, "take a box with more memory"))
    elif card.here and 0 < card.ram < need:
        message = (
            f"{one.method} takes about {gib(need)} of the host's memory, and {gib(card.ram)} are available"
        )
        found.append(Finding("warn", "ram_short", message, todo))
    if one.fits and one.estimate.merge > card.memory_total:
        ram = one.estimate.merge - CONTEXT + CPU_LIBRARIES
        message = f"a later merge of the adapter takes {gib(one.estimate.merge)}, more than {card.name} has"
        todo = f"merge on the CPU, which takes {gib(ram)} of the host's memory"
        found.append(Finding("info", "merge_elsewhere", message, todo))
    return tuple(found)


def of_objective(spec: RunSpec, report: dict[str, Any] | None) -> tuple[Finding, ...]:
    """Whether the data are of the kind that the objective takes, and what it does with them."""
    objective, found = objective_of(spec, report), []
    if report and (refused := refusal(objective, asked_by(report))):
        what, why, todo = refused
        found.append(Finding("stop", "objective", f"{what}: {why}", todo))
    elif objective == "sft" and asked_by(report) == "dpo":
        message = "of each pair the chosen answer alone is learned, as objective sft asks"
        found.append(Finding("info", "chosen_only", message, "set objective: dpo to learn from both"))
    elif report and objective == "sft" and spec.aim == "preference":
        message = "these rows have one answer each, so there is nothing to prefer: the answers are learned"
        found.append(Finding("warn", "no_preference", message, "give pairs of answers, or labelled ones"))
    if objective == "sft":
        return tuple(found)
    if spec.packing:
        message = f"rows cannot be packed for {NAMES[objective]}, which compares whole answers"
        found.append(Finding("stop", "packing_preference", message, "set packing: false"))
    if spec.batch is not None and spec.batch < LEAST_BATCH[objective]:
        message = "KTO sets the answers of one pass beside each other, so batch must be 2 or more"
        found.append(Finding("stop", "kto_batch", message, "set batch: 2, or leave it to the plan"))
    if spec.lora.dropout and spec.method != "full":
        message = f"{NAMES[objective]} leaves dropout out, so lora.dropout does nothing"
        found.append(Finding("info", "no_dropout", message, "set lora.dropout: 0"))
    return tuple(found)


def of_box(spec: RunSpec, machine: Machine, shape: ModelShape, card: Card) -> tuple[Finding, ...]:
    """What stands in the way beside memory: the model's files, and this box where the run would be on it."""
    found = []
    known = entry(shape.name)
    if known and known.gated and not machine.hub.token_found and cached_folder(shape.name) is None:
        page = f"https://huggingface.co/{known.id}"
        message = f"{known.id} is gated: its licence must be accepted, and you are not logged in to the Hub"
        found.append(Finding("warn", "gated", message, f"accept the licence at {page}, then: hf auth login"))
    if spec.packing and shape.in_order:
        message = f"rows cannot be packed for {shape.name}: some of its layers hand on what they have read"
        found.append(Finding("stop", "packing_in_order", message, "set packing: false"))
    for note in shape.notes:
        if not shape.estimated or "counted as" not in note:
            found.append(Finding("info", "model", f"{shape.name}: {note}"))
    if not shape.has_tokenizer:
        message = f"{shape.name} has no tokenizer: it is enough for a plan, not for a run"
        found.append(Finding("warn", "no_tokenizer", message, "put its tokenizer.json beside config.json"))
    if not shape.has_weights:
        message = f"{shape.name} has no weights: it is enough for a plan, not for a run"
        found.append(Finding("warn", "no_weights", message, "give a folder with *.safetensors, or a Hub id"))
    if not card.here:
        if card.kind == "gpu" and card.ram == 0:
            message = "the memory of that card's box is not known: no layer is planned to wait there"
            found.append(Finding("info", "ram_unknown", message, "give it with --ram GIB"))
        return tuple(found)
    if card.doubt:
        found.append(Finding("warn", "memory_doubt", card.doubt, "nvidia-smi shows what the driver says"))
    if spec.gpus != "auto":
        there = [gpu.index for gpu in machine.gpus if not gpu.error]
        missing = [index for index in spec.gpus if index not in there]
        if missing:
            here = f"this box has {', '.join(map(str, there))}" if there else "this box has none"
            message = f"GPU {', '.join(map(str, missing))} cannot be used: {here}"
            found.append(Finding("stop", "no_such_gpu", message, "set gpus to auto, or to one that is here"))
        elif len(spec.gpus) > 1:
            message = f"{len(spec.gpus)} GPUs are named, and this version trains on one of them"
            found.append(Finding("info", "one_gpu", message, f"set gpus to [{spec.gpus[0]}]"))
    return (*found, *(one for one in machine.findings if one.severity != "info"))
