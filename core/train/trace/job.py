"""A process of its own that traces one setting of one run: `core.plan.trace` asks, JSON goes in and out."""

import os
import warnings
from typing import Any

from core.errors import UserError
from core.job import Progress, serve


def answer(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """{"step": bytes by part, "evaluation": bytes, "host": bytes}. UserError: the model cannot be traced.

    `request`: {"spec": a resolved RunSpec, "how": `core.train.trace.passes.Pass`, "small_steps": bool}.
    """
    progress("starting torch and its libraries", 0, None)
    import torch

    from core.models.shape import read_shape
    from core.spec import parse_spec
    from core.train.device import Device
    from core.train.engine.graphs import GIVES_UP
    from core.train.trace.live import Live
    from core.train.trace.model import build
    from core.train.trace.passes import Pass, trace

    spec = parse_spec(request["spec"])
    how = Pass(**request["how"])
    torch._dynamo.reset()  # what was compiled before was for another trace
    mode = Live()
    progress("the model from its config", 0, None)
    model = build(spec, Device("cuda", how.precision), mode, request["small_steps"])
    shape = read_shape(spec.model, spec.revision)
    progress("a step without numbers", 0, None)
    try:
        traced = trace(model, spec, shape, how, mode)
    except UserError:
        raise
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        why, what = "its modules ask for numbers that a trace does not have", ""
        if isinstance(error, GIVES_UP):
            why, what = "torch's compiler gives up on its layers", "set compile: false, or "
        raise UserError(
            f"{spec.model} cannot be traced",
            f"{why} ({lines[0][:160]})",
            f"{what}take the closed form: plan without --trace",
            code=1,
        ) from error
    return {"step": traced.step, "evaluation": traced.evaluation, "host": traced.host}


if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # nothing is computed, and a card may be busy
    os.environ.setdefault("TORCH_LOGS", "-all")
    warnings.filterwarnings("ignore")
    serve(answer)
