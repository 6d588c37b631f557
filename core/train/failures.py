"""What went wrong, as one line: an exception of the libraries becomes what, why and what to do."""

import errno
import re
import shutil

from core.errors import UserError
from core.runs.folder import RunFolder
from core.spec import RunSpec

GIB = 2**30
STEP = 0.25
"""From one place of the recompute dial to the next that is sure to be felt."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_WORDS = re.compile(
    r"no space left|os error 28|disk quota|os error 122|file too large|os error 27"
    r"|PytorchStreamWriter failed writing|unexpected pos",
    re.IGNORECASE,
)


def explain(error: BaseException, run: RunFolder, spec: RunSpec | None, step: int | None) -> UserError:
    """The error as the user reads it; `step` is the last whole step, None before the first."""
    when = f"after step {step}" if step else "before the first step"
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
        return _out_of_memory(error, spec, when)
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
    return "OutOfMemoryError" in names or "CUDA out of memory" in str(error)


def _out_of_memory(error: BaseException, spec: RunSpec | None, when: str) -> UserError:
    why = "torch could not get what it asked for"
    asked = re.search(r"Tried to allocate ([\d.]+ \w+)", str(error))
    total = re.search(r"total capacity of ([\d.]+ \w+) of which ([\d.]+ \w+) is free", str(error))
    if asked and total:
        why = f"{asked[1]} more were wanted, {total[2]} of {total[1]} were free"
    if asked and (in_use := re.search(r"this process has ([\d.]+ \w+) memory in use", str(error))):
        why += f", this run held {in_use[1]}"
    return UserError(f"the GPU ran out of memory {when}", why, f"start it anew with {_smaller(spec)}", code=1)


def _further(place: float | str) -> str:
    """The next place of the dial."""
    return "1" if isinstance(place, str) else f"{min(1.0, (place // STEP + 1) * STEP):g}"


def _smaller(spec: RunSpec | None) -> str:
    """The change that helps most for what it costs."""
    if spec is None:
        return "a smaller batch"
    if spec.recompute != 1:
        return f"recompute: {_further(spec.recompute)}"
    if (spec.batch or 1) > 1:
        batch = (spec.batch or 2) // 2
        return f"batch: {batch} and accumulate: {(spec.accumulate or 1) * 2}"
    if spec.method == "full":
        return "method: lora"
    if spec.method == "lora":
        return "method: qlora"
    return f"length: {max(8, (spec.length or 2048) // 2)}"
