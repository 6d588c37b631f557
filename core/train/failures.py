"""What went wrong, as one line: an exception of the libraries becomes what, why and what to do."""

import errno
import re
import shutil
import sys
from collections.abc import Callable

from core.errors import UserError
from core.machine.others import Others, card_in_use, others_on
from core.plan.ladder import Rung, step_down
from core.plan.memory import CONTEXT
from core.runs.folder import RunFolder
from core.spec import RunSpec

GIB = 2**30
UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_WORDS = re.compile(
    r"no space left|os error 28|disk quota|os error 122|file too large|os error 27"
    r"|PytorchStreamWriter failed writing|unexpected pos",
    re.IGNORECASE,
)
_NO_MEMORY = re.compile(r"CUDA out of memory|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED")


def explain(
    error: BaseException,
    run: RunFolder,
    spec: RunSpec | None,
    step: int | None,
    lower: Callable[[RunSpec], Rung | None] = step_down,
) -> UserError:
    """The error as the user reads it; `step` is the last whole step, None before the first; `lower`: the next
    rung below a spec, should memory have run out."""
    when = when_of(step)
    if isinstance(error, UserError):
        return error
    if is_disk_full(error):
        free = shutil.disk_usage(run.path).free
        return UserError(
            "the disk is full",
            f"saving failed {when}, {free / GIB:.2f} GiB are free in {run.path}",
            f"make room, then: finetui resume {run.name}",
            code=1,
        )
    if is_out_of_memory(error):
        why, todo = short_of(error), f"start it anew with {_smaller(spec, lower)}"
        return UserError(f"the GPU ran out of memory {when}", why, todo, code=1)
    if isinstance(error, MemoryError):
        return UserError(
            "the machine ran out of RAM", f"{when}", "lower batch or length, or take a smaller model", code=1
        )
    if "CUDA error" in str(error) or "CUDNN" in str(error):
        return UserError(
            f"the GPU failed {when}",
            str(error).splitlines()[0],
            f"look at finetui doctor, then: finetui resume {run.name}",
            code=1,
        )
    said = str(error).strip().splitlines()
    return UserError(
        f"training broke off {when}",
        f"{type(error).__name__}: {said[0]}" if said else type(error).__name__,
        "the log holds the details",
        code=1,
    )


def is_disk_full(error: BaseException) -> bool:
    """The system's error, or what torch and safetensors make of it on their way up."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in FULL:
            return True
        if not isinstance(seen, UserError) and _FULL_WORDS.search(str(seen)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def is_out_of_memory(error: BaseException) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    return "OutOfMemoryError" in names or bool(_NO_MEMORY.search(str(error)))


def when_of(step: int | None) -> str:
    return f"after step {step}" if step else "before the first step"


def short_of(error: BaseException) -> str:
    """The numbers of an error of memory: what was wanted, what was free, and who holds the rest."""
    said, why = str(error), "torch could not get what it asked for"
    asked = re.search(r"Tried to allocate ([\d.]+ \w+)", said)
    total = re.search(r"total capacity of ([\d.]+ \w+) of which ([\d.]+ \w+) is free", said)
    if asked and total:
        why = f"{asked[1]} more were wanted, {total[2]} of {total[1]} were free"
    if asked and (in_use := re.search(r"this process has ([\d.]+ \w+) memory in use", said)):
        why += f", this run held {in_use[1]}"
    if asked and (allowed := re.search(r"([\d.]+ \w+) allowed", said)):
        why += f", {allowed[1]} were allowed"
    others = _others()
    return f"{why}; {others.said}" if others else why


def wanted(error: BaseException) -> int:
    """Bytes that were asked for when memory ran out; 1 where the error does not say."""
    asked = re.search(r"Tried to allocate ([\d.]+) (\w+)", str(error))
    return max(1, int(float(asked[1]) * UNITS.get(asked[2], 1))) if asked else 1


def _others() -> Others | None:
    """What other processes hold of the card that this one computes on."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    gpu = card_in_use()
    return others_on(gpu, torch.cuda.memory_reserved() + CONTEXT) if gpu else None


def _smaller(spec: RunSpec | None, lower: Callable[[RunSpec], Rung | None]) -> str:
    """The change that helps most for what it costs: the next rung, and below the last another method."""
    if spec is None:
        return "a smaller batch"
    if rung := lower(spec):
        return rung.keys
    if spec.method == "full":
        return "method: lora"
    if spec.method == "lora":
        return "method: qlora"
    return f"length: {max(8, (spec.length or 2048) // 2)}"
