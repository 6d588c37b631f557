"""What is said about a run: right on real histories, and silent where nothing is wrong."""

import json
import math
import random
from pathlib import Path

import pytest

from core.runs.events import Checkpoint, End, Error, Eval, Event, Record, Stage, Start, Step
from core.runs.history import History
from core.runs.state import Status
from core.runs.words import Words, words

NOW = 1_700_000_000.0
RUNNING = Status("running", pid=7)


def told(*events: Event, ago: float = 1.0) -> History:
    """A history whose events came a tenth of a second apart, the last one `ago` seconds before NOW."""
    history = History()
    begun = NOW - ago - len(events) / 10
    history.fold(Record(i + 1, begun + (i + 1) / 10, event) for i, event in enumerate(events))
    return history


def step(n: int, loss: float | None, steps: int = 1000, speed: float = 900.0) -> Step:
    return Step(n, steps, n / steps, loss, 1e-4, 1.0, n * 100, speed, None, n * 0.1)


def say(history: History, status: Status = RUNNING, **more: object) -> Words:
    return words(history, status, name="owl", now=NOW, **more)  # type: ignore[arg-type]


def real(shared: Path, name: str, until: int | None = None) -> History:
    log = json.loads((shared / "histories" / f"{name}.trainer_state.json").read_text())["log_history"]
    log = [row for row in log if until is None or row["step"] <= until]
    events: list[Event] = [Start(7)]
    for row in log:
        if "eval_loss" in row:
            events.append(Eval(row["step"], row["eval_loss"]))
        elif "loss" in row:
            events.append(step(row["step"], row["loss"], steps=1220))
    return told(*events)


def test_a_real_run_that_memorises_is_called_so_and_from_the_right_step(shared: Path) -> None:
    said = say(real(shared, "overfit-360-steps"))
    assert said.mood == "warn"
    assert said.line.startswith("Memorising since step 100: held-out loss rises (1.47 to 1.50)")


def test_a_real_run_whose_held_out_loss_stands_is_called_that_and_not_memorising(shared: Path) -> None:
    said = say(real(shared, "overfit-1220-steps"))
    assert "Held-out loss has stood at 0.88 since step" in said.line
    assert "Memorising" not in said.line


@pytest.mark.parametrize("until", range(100, 601, 50))
def test_the_same_real_run_is_not_blamed_while_it_still_learns(shared: Path, until: int) -> None:
    assert say(real(shared, "overfit-1220-steps", until)).mood in ("good", "calm")


@pytest.mark.parametrize("seed", range(30))
def test_a_healthy_noisy_run_is_never_warned_about(seed: int) -> None:
    chance = random.Random(seed)
    floor, start, noise = chance.uniform(0.3, 2), chance.uniform(1, 6), chance.uniform(0.01, 0.2)
    events: list[Event] = [Start(7)]
    for n in range(1, 401):
        ideal = floor + start * math.exp(-n / 120)
        events.append(step(n, max(0.01, ideal + chance.gauss(0, noise)), 400))
        if n % 40 == 0:
            events.append(Eval(n, (ideal + 0.1) * (1 + chance.gauss(0, 0.003))))
        if n % 10 == 0:
            said = say(told(*events))
            assert said.mood in ("good", "calm"), (n, said)


def test_loss_that_is_no_number_is_said_with_its_step() -> None:
    said = say(told(Start(7), *(step(n, 3.0) for n in range(1, 40)), *(step(n, None) for n in range(40, 45))))
    assert (
        said.mood == "bad"
        and "not a number since step 40" in said.line
        and "lower learning rate" in said.more
    )


def test_one_lost_step_alone_is_no_alarm() -> None:
    history = told(Start(7), *(step(n, 3.0 - n / 20) for n in range(1, 40)), step(40, None))
    assert say(history).mood == "good"


def test_zero_loss_means_that_nothing_is_learned() -> None:
    said = say(told(Start(7), *(step(n, 0.0) for n in range(1, 6))))
    assert said.mood == "bad" and "nothing is learned" in said.line


def test_a_loss_that_blows_up_is_said_with_where_it_was_lowest() -> None:
    falling = [step(n, 3 - n / 50) for n in range(1, 101)]
    rising = [step(n, min(8.0, 1 + (n - 100) / 4)) for n in range(101, 160)]
    said = say(told(Start(7), *falling, *rising))
    assert said.mood == "warn" and "climbs since step 10" in said.line


def test_a_flat_loss_is_said_only_after_enough_steps() -> None:
    chance = random.Random(0)
    losses = [2 + chance.gauss(0, 0.05) for _ in range(400)]
    early = told(Start(7), *(step(n, losses[n]) for n in range(1, 60)))
    late = told(Start(7), *(step(n, losses[n]) for n in range(1, 400)))
    assert "hardly moved" not in say(early).line
    assert "hardly moved" in say(late).line


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (Stage("load", 1.2 * 2**30, 4 * 2**30, "bytes"), "Loading the model: 1.2 of 4.0 GiB."),
        (Stage("download", 3 * 2**30, None, "bytes"), "Downloading the model: 3.0 GiB."),
        (Stage("tokenise", 900, 1800, "rows"), "Turning the rows into tokens: 900 of 1,800 rows."),
        (Stage("first step"), "Taking the first step."),
    ],
)
def test_stages_say_how_far_they_are(stage: Stage, expected: str) -> None:
    assert say(told(Start(7), stage), Status("starting", pid=7)).line == expected


def test_before_the_first_event_the_worker_wakes_up() -> None:
    assert "wakes up" in say(History(), Status("starting", pid=7)).line


def test_quiet_worker_is_said_with_the_seconds() -> None:
    said = say(told(step(1, 3.0)), Status("running", pid=7, quiet=90))
    assert said.line == "No sign of the worker for 90 s." and said.mood == "warn"


def test_no_step_for_long_is_said_though_the_worker_lives_but_not_for_slow_steps() -> None:
    quick = told(Start(7), *(step(n, 3.0) for n in range(1, 40)), ago=200)
    assert say(quick).line.startswith("No step for 3 min, where one usually takes 0.1 s")
    slow = [Step(n, 9, 0, 3.0, 1e-4, 1.0, n, 10.0, None, n * 30.0) for n in range(1, 5)]
    assert "No step" not in say(told(Start(7), *slow, ago=200)).line


def test_an_evaluation_that_goes_on_is_named() -> None:
    said = say(told(Start(7), step(1, 3.0), step(2, 3.0), Stage("evaluate", 12, 90, "rows")))
    assert said.line == "Measuring on the held-out rows: 12 of 90 rows."


def test_a_dead_worker_shows_its_last_words_and_names_resume() -> None:
    history = told(Start(7), step(1, 3.0), Checkpoint(1, "c", "schedule"), step(2, 3.0))
    said = say(history, Status("died", "its worker is gone without a word"), last_words=["a", "Killed"])
    assert said.mood == "bad"
    assert (
        "Last in its log: Killed" in said.more
        and "finetui resume owl" in said.more
        and "Step 1 is saved" in said.more
    )


def test_a_stopped_run_says_how_to_go_on() -> None:
    said = say(told(step(5, 3.0), Checkpoint(5, "c", "stop"), End("stopped")), Status("stopped"))
    assert said.line == "Stopped at step 5 of 1,000." and "finetui resume owl" in said.more


def test_a_failed_run_gives_the_reason_and_the_way_out() -> None:
    error = Error("no room on the GPU", "it has 8 GiB", "take a smaller batch", "worker.log")
    said = say(told(step(5, 3.0), error, End("failed")), Status("failed", "no room on the GPU: it has 8 GiB"))
    assert said.line == "Failed: no room on the GPU: it has 8 GiB."
    assert said.more == "Take a smaller batch. The log has the details: worker.log"


def test_a_finished_run_that_memorised_is_not_praised(shared: Path) -> None:
    said = say(real(shared, "overfit-360-steps"), Status("finished"))
    assert said.line.startswith("Finished: 360 steps, training loss") and "Memorising" in said.more


def test_a_slower_run_is_said() -> None:
    quick = [step(n, 3 - n / 100, speed=900) for n in range(1, 100)]
    slow = [step(n, 3 - n / 100, speed=300) for n in range(100, 115)]
    assert "Slower than before: 300 tokens/s, it was 900" in say(told(Start(7), *quick, *slow)).more
    assert "Slower" not in say(told(Start(7), *quick)).more
