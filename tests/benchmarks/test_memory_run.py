"""One cell in a process of its own: what its row says when it went well, ran out of memory, or broke."""

from pathlib import Path

import torch

from benchmarks.memory_run import answer, held_otherwise
from core.models.shape import ModelShape
from core.spec import parse_spec

REQUEST = {"row": {"cell": "a"}, "beside": False}
SAID = (
    "CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of 139.81 GiB of which "
    "90.00 GiB is free. 7.32 GiB allowed; "
)


def test_what_was_found_before_memory_ran_out_stays_in_the_row():
    def run(request, home: Path, row):
        assert list(home.iterdir()) == [] and request is REQUEST
        row |= {"stage": "step", "load": 5, "cap": 100}
        raise torch.OutOfMemoryError(SAID)

    row = answer(run, REQUEST)
    assert (row["cell"], row["stage"], row["load"], row["cap"]) == ("a", "step", 5, 100)
    assert "1.50 GiB more were wanted" in row["out_of_memory"] and row["wanted"] == 1.5 * 2**30
    assert row["pool"] == 0 and not row["ends"] and "error" not in row and row["took"] >= 0


def test_libraries_that_find_no_memory_are_told_as_such():
    def run(request, home, row):
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)")

    assert "out_of_memory" in answer(run, REQUEST)


def test_after_anything_else_the_process_does_no_more():
    def run(request, home, row):
        raise ValueError("it broke")

    row = answer(run, REQUEST)
    assert row["error"] == "ValueError: it broke" and row["ends"] and "out_of_memory" not in row


def test_layers_that_hold_something_else_than_was_planned_are_seen():
    from core.plan.dial import holds

    spec = parse_spec({"model": "m", "data": {"source": "here"}, "recompute": 0.5})
    shape = ModelShape.__new__(ModelShape)
    object.__setattr__(shape, "layers", 4)
    for waits in (True, False):
        assert not held_otherwise(holds(0.5, 4, waits), spec, shape, waits)
        assert held_otherwise(holds(0.5, 4, not waits), spec, shape, waits)
