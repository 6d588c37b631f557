"""A run measured on the card before it begins, by a process of `core.job` that is gone afterwards.

It is the worker's own way from the spec to the trainer and through it (`core.train.worker.train`), with three
differences: the passes are the run's fullest ones and a few ordinary ones (`core.train.measure_passes`), what
is told goes to a gauge (`core.train.measure_gauge`), and what is written goes to a folder that is removed.
One checkpoint is saved, where the disk has room for it; the result is not, which has the same weights.
"""

import contextlib
import os
import shutil
import threading
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.job import Progress, serve
from core.plan.memory import CONTEXT
from core.runs.folder import RunFolder
from core.spec import RunSpec, dump_spec, parse_spec
from core.train import again, checkpoints, device, failures
from core.train.asked import Asked
from core.train.course import Course
from core.train.measure_gauge import Gauge, standing

ORDINARY = {"cuda": 4, "cpu": 2}
"""Passes by which the speed is told."""


def measure(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """`request`: spec, a resolved one; folder, an empty one; cap, bytes of a smaller card that this one is to
    stand for, or None; gpu, the uuid of the card, or None for the first.

    {"fits": true} with what was measured, or {"fits": false} with why, and the rung that would help or None.
    """
    from core.train import worker

    spec, folder = parse_spec(request["spec"]), Path(request["folder"])
    with _gone_with_its_parent(folder):
        if request.get("gpu"):
            os.environ["CUDA_VISIBLE_DEVICES"] = request["gpu"]
        device.one_gpu()
        if request.get("cap"):
            stand_for(request["cap"])
        run = RunFolder(folder)
        run.spec_file.write_text(dump_spec(spec, full=True))
        gauge = Gauge(progress)
        course = Course.begin(run)
        course.measuring = measuring = Measuring(gauge, run)
        told: dict[str, Any] = {"others": asdict(gauge.others) if gauge.others else None}
        try:
            worker.train(run, gauge, Asked(run), course)
        except Exception as error:
            if not failures.is_out_of_memory(error):
                raise
            traceback.print_exc()
            return told | _too_much(error, spec, course)
        assert course.settled
        known = {"fits": True, "objective": course.settled.objective, "versions": course.versions}
        return told | measuring.told | known


def _too_much(error: Exception, spec: RunSpec, course: Course) -> dict[str, Any]:
    rung = None
    if course.settled:
        rung = again.lower(error, spec, course.settled, course.stage, resumes=False)
    return {
        "fits": False,
        "phase": again.phase_of(course.stage),
        "why": failures.short_of(error),
        "rung": {"changes": rung.changes, "said": rung.said, "keys": rung.keys} if rung else None,
    }


class Measuring:
    """What the worker asks at three places where a measurement is another thing than a run."""

    def __init__(self, gauge: Gauge, run: RunFolder):
        self.told: dict[str, Any] = {}
        self._gauge, self._run = gauge, run
        self._saves = True
        self._steps = self._ordinary = 0

    def narrowed(
        self, spec: RunSpec, train_on: Any, held_out: list[Any], layout: Any, steps: int, kind: str, kto: bool
    ) -> tuple[RunSpec, list[Any], list[Any]]:
        """The spec of a few steps, and the rows of the passes that are made."""
        from core.train import measure_passes
        from core.train.pairs import spread

        batch, accumulate = spec.batch or 1, min(spec.accumulate or 1, 2)
        lengths, order = train_on.lengths(), list(range(len(train_on)))
        if kto:  # its trainer is given the rows in an order of their own, and keeps it
            order = spread(train_on, spec.seed)
        seed = None if kto else spec.shuffle
        made = measure_passes.of_training(
            lengths[order], batch, seed, steps * (spec.accumulate or 1), layout, ORDINARY[kind]
        )
        hot = made.hot(accumulate)
        passes = hot + made.ordinary if len(made.fullest) == batch else [made.fullest]  # else it has all rows
        rows = [train_on[order[place]] for one in passes for place in one]
        held = []
        if held_out:
            chosen = measure_passes.of_evaluation(measure_passes.lengths_of(held_out), batch, layout)
            held = [held_out[place] for place in chosen]
        self._ordinary = max(1, len(made.ordinary) // accumulate)
        self._steps = len(hot) // accumulate + self._ordinary
        self.told |= {
            "rows": batch,
            "tokens": made.tokens,
            "longest": int(lengths.max()),
            "steps": steps,
        }
        few: dict[str, Any] = {"steps": self._steps, "epochs": None, "accumulate": accumulate, "report": []}
        never = {"save": spec.save.model_copy(update={"every": None})}
        seldom = {"evaluate": spec.evaluate.model_copy(update={"every": None})}
        return spec.model_copy(update={**few, **never, **seldom}), rows, held

    def attach(self, tuner: Any, engine: Any, checkpoint_bytes: int) -> None:
        """The trainer takes the rows in their order, and saves once when the fullest passes are behind it."""
        self._gauge.engine = engine
        places = list(tuner.train_dataset["place"])
        order = sorted(range(len(places)), key=places.__getitem__)
        tuner._get_train_sampler = lambda *_: order
        free = shutil.disk_usage(self._run.path).free
        self._saves = free >= checkpoint_bytes + checkpoints.SPARE_BYTES
        if self._saves:
            tuner.add_callback(_save_after(self._steps - self._ordinary))

    def finish(self, tuner: Any, engine: Any, where: Any, full: bool) -> None:
        """All that was measured."""
        import torch

        gauge = self._gauge
        gauge.close()
        cuda = where.kind == "cuda"
        self.told |= {
            "kind": where.kind,
            "card": torch.cuda.get_device_name() if cuda else None,
            "card_bytes": torch.cuda.get_device_properties(0).total_memory if cuda else None,
            "compiled": engine.compiled,
            "phases": {phase: asdict(peak) for phase, peak in gauge.phases.items()},
            "seconds": {phase: round(passed, 3) for phase, passed in gauge.seconds.items()},
            "parts": standing(tuner.model, tuner.optimizer, full),
            "host": engine.holder.host.bytes if engine.holder.host else 0,
            "tokens_per_second": gauge.tokens_per_second(self._ordinary),
            "first_step_seconds": gauge.first_step_after,
            "engine": engine.told(),
            "saved": self._saves,
            "findings": [asdict(one) for one in gauge.findings],
        }


def _save_after(step: int) -> Any:
    from transformers import TrainerCallback

    class Saves(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_save = control.should_save or state.global_step == step

    return Saves()


def stand_for(size: int) -> None:
    """From here on torch gets no more of this card than a smaller one of `size` bytes would have for it."""
    import torch

    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, max(0.0, size - CONTEXT) / total))


@contextlib.contextmanager
def _gone_with_its_parent(folder: Path) -> Iterator[None]:
    """Who asked may be killed: then nobody waits for the answer, and the card is wanted by others."""
    parent, over = os.getppid(), threading.Event()

    def watch() -> None:
        while not over.wait(1.0):
            if os.getppid() != parent:
                shutil.rmtree(folder, ignore_errors=True)
                os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
    try:
        yield
    finally:
        over.set()


if __name__ == "__main__":
    serve(measure)
