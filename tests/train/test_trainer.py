"""The trainer's settings and rows: steps counted as it counts them, labels where something is learned."""

import pytest

from core.runs.events import Step
from core.spec import RunSpec
from core.train import answers, worker
from core.train.batches import IGNORED, labels
from core.train.order import steps_of
from core.train.trainer import warmup_steps
from core.train.worker import within
from tests.train.conftest import Make
from tests.train.following import told_of


def spec_of(make_run: Make, **changes) -> RunSpec:
    return make_run(**changes).spec()


@pytest.mark.parametrize(
    ("rows", "batch", "accumulate", "epochs", "steps"),
    [(48, 4, 1, 1, 12), (49, 4, 1, 1, 13), (50, 4, 3, 2, 10), (3, 8, 4, 1, 1), (40, 4, 2, 0.5, 3)],
)
def test_steps_are_counted_as_the_trainer_counts_them(
    make_run: Make, rows: int, batch: int, accumulate: int, epochs: float, steps: int
) -> None:
    spec = spec_of(make_run, batch=batch, accumulate=accumulate, steps=None, epochs=epochs)
    assert steps_of(spec, rows) == steps


def test_a_run_has_as_many_steps_as_were_counted(make_run: Make) -> None:
    run = make_run("counted", batch=4, accumulate=3, steps=None, epochs=1.5)
    assert worker.work(run) == 0
    steps = told_of(run, Step)
    assert len(steps) == steps[-1].step == steps[-1].steps == steps_of(run.spec(), 38)
    assert steps[-1].epoch == pytest.approx(1.5, abs=0.15)


def test_steps_that_are_given_stand(make_run: Make) -> None:
    assert steps_of(spec_of(make_run, steps=7), 1000) == 7


def test_warm_up_is_a_share_of_the_steps_and_never_a_lone_step_at_rate_zero(make_run: Make) -> None:
    spec = spec_of(make_run, warmup=0.03)
    assert [warmup_steps(spec, steps) for steps in (10, 34, 100)] == [0, 2, 3]


def test_labels_are_the_learned_ids_but_never_the_first() -> None:
    assert labels({"input_ids": [5, 6, 7, 8], "learned": [1, 0, 1, 1]}) == [IGNORED, IGNORED, 7, 8]


def test_questions_end_where_the_answer_begins() -> None:
    rows = [
        {"input_ids": [1, 2, 3, 4], "learned": [0, 0, 1, 1]},
        {"input_ids": [1, 2, 9, 9], "learned": [0, 0, 1, 1]},
        {"input_ids": list(range(40)), "learned": [1] * 40},
        {"input_ids": [7, 7, 7], "learned": [0, 0, 1]},
    ]
    assert answers.questions(rows) == [[1, 2], list(range(answers.OPENING))]


def test_the_held_out_rows_are_capped_by_tokens() -> None:
    rows = [{"input_ids": [0] * 10}] * 5
    assert len(within(rows, 35)) == 3
    assert len(within(rows, 1)) == 1
