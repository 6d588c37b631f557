"""Runs what `benchmarks.memory_caps` tries under the cap of a smaller card: a request a line on stdin.

The passes are the fullest ones that the run would make of its rows, and they are made as a measurement makes
them (`core.train.measure_passes`; `benchmarks.memory_run` says what follows). Torch's pool is capped as a
measurement caps it, and whoever asks how much of the card or of the host's memory is free is told what there
would be beside a smaller card.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.memory_caps_cells import Mix, mix_of
from benchmarks.memory_run import Row, Rows, serve, train
from core.models.shape import ModelShape
from core.plan.memory import CONTEXT
from core.spec import RunSpec, parse_spec


def run(request: Row, home: Path, row: Row) -> None:
    """`request`: spec, a resolved one; mix; size of the card and ram of its box, bytes; whether passes are
    compiled and recorded, and whether layers wait; beside: whether others may be on the card."""
    import numpy as np
    import torch

    spec, mix = parse_spec(request["spec"]), mix_of(request["mix"])
    cuda = torch.cuda.is_available()
    if not cuda:  # a rehearsal
        spec = spec.model_copy(update={"precision": "auto", "optimizer": "adamw"})
    lengths = np.minimum(mix.lengths(), spec.length)

    def rows(layout: Any, shape: ModelShape) -> tuple[RunSpec, Rows]:
        few, taken, row["tokens"] = fullest(spec, mix, lengths, layout, shape.vocab)
        return few, taken

    row["fits"] = False
    with as_beside(request["size"], request["ram"], row), planned(request["recorded"]):
        train(
            spec,
            home,
            row,
            lengths,
            rows,
            compiled=request["compiled"] and cuda,
            records=cuda,
            waits=request["host"] and cuda,
            alone=not request["beside"],
        )
    row["fits"] = True


def fullest(spec: RunSpec, mix: Mix, lengths: Any, layout: Any, vocab: int) -> tuple[RunSpec, Rows, int]:
    """A spec of the steps that go through the run's fullest passes, their rows, and the fullest's tokens."""
    import numpy as np

    from core.train import measure_passes
    from core.train.order import passes_of, seed_of

    batch, accumulate = spec.batch or 1, min(spec.accumulate or 1, 2)
    seed, passes = seed_of(spec, lengths, layout), passes_of(spec, len(lengths))
    made = measure_passes.of_training(lengths, batch, seed, passes, layout, ordinary=0)
    hot = made.hot(accumulate)
    train_on = [row_of(int(lengths[place]), mix, vocab, place) for one in hot for place in one]
    held = np.minimum(mix.lengths(held_out=True), spec.length)
    chosen = measure_passes.of_evaluation(held, batch, layout)
    held_out = [row_of(int(held[place]), mix, vocab, place) for place in chosen]
    few: dict[str, Any] = {"steps": len(hot) // accumulate, "epochs": None, "accumulate": accumulate}
    never = {"save": spec.save.model_copy(update={"every": 1_000_000})}
    seldom = {"evaluate": spec.evaluate.model_copy(update={"every": None})}
    return spec.model_copy(update={**few, **never, **seldom}), Rows(train_on, held_out), made.tokens


def row_of(length: int, mix: Mix, vocab: int, seed: int) -> dict[str, list[int]]:
    learned = round(mix.learned * length)
    return {
        "input_ids": [(seed + 7 * n) % vocab for n in range(length)],
        "learned": [0] * (length - learned) + [1] * learned,
    }


@contextlib.contextmanager
def as_beside(size: int, ram: int, row: Row) -> Iterator[None]:
    """As on a card of `size` bytes in a box of which `ram` bytes are available; the cap stands in the row."""
    import psutil
    import torch

    from core.train.measure import stand_for

    memory = psutil.virtual_memory()._replace(available=ram)
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(psutil, "virtual_memory", lambda: memory))
        if torch.cuda.is_available():
            stand_for(size + row["left"])
            row["cap"] = size + row["left"] - CONTEXT
            real = torch.cuda.mem_get_info

            def free_and_total(device: Any = None) -> tuple[int, int]:
                free = row["cap"] - torch.cuda.memory_reserved()
                return max(0, min(free, real(device)[0])), size

            stack.enter_context(mock.patch.object(torch.cuda, "mem_get_info", free_and_total))
        yield


@contextlib.contextmanager
def planned(recorded: bool) -> Iterator[None]:
    """Passes that are planned to be recorded are, however busy this card is: a slower one, or others on this
    one, take time, and recording takes memory."""
    from core.train.engine import warm

    if not recorded:
        yield
        return
    with mock.patch.object(warm, "BUSY", 0.0), mock.patch.object(warm, "QUICKER", float("inf")):
        yield


if __name__ == "__main__":
    serve(run)
