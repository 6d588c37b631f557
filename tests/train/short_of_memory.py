"""A worker whose memory runs out before a step: `python -m tests.train.short_of_memory RUN STEP`."""

import sys
from collections.abc import Callable
from typing import Any

import torch

SAID = (
    "CUDA out of memory. Tried to allocate 12.00 KiB. GPU 0 has a total capacity of 23.65 GiB of which "
    "8.00 KiB is free. Including non-PyTorch memory, this process has 22.40 GiB memory in use."
)


def runs_out(where: str, when: Callable[[Any], bool], patch: Callable[..., None]) -> None:
    """From here on a method of the trainer raises what torch does, while `when(trainer)` is true."""
    from core.train.trainer import Tuner

    real = getattr(Tuner, where)

    def short(self: Any, *args: Any, **kwargs: Any) -> Any:
        if when(self):
            raise torch.OutOfMemoryError(SAID)
        return real(self, *args, **kwargs)

    patch(Tuner, where, short)


if __name__ == "__main__":
    from core.train import worker

    step = int(sys.argv.pop())
    runs_out("training_step", lambda tuner: tuner.state.global_step == step, setattr)
    worker.main()
