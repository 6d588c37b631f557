"""What is said of a preference run: what its rewards show, from when on, and no alarm for a sound one."""

import math
import random

import pytest

from core.cli.follow import preference
from core.runs.events import Eval, Event, Record, Start, Step, decode, encode
from core.runs.history import History
from core.runs.state import Status
from core.runs.words import Words, words

NOW = 1_760_000_000.0


def step(n: int, chosen: float | None, rejected: float | None, accuracy: float | None = None) -> Step:
    margin = None if chosen is None or rejected is None else chosen - rejected
    loss = 0.69 if margin is None else math.log1p(math.exp(-margin))
    return Step(
        n, 400, n / 400, loss, 1e-5, 1.0, n * 100, 900.0, None, n * 0.1,
        reward_chosen=chosen, reward_rejected=rejected, margin=margin, accuracy=accuracy,
    )  # fmt: skip


def say(*events: Event, state: str = "running") -> Words:
    history = History()
    every = 0.1
    begun = NOW - every * len(events)
    history.fold(Record(n, begun + n * every, event) for n, event in enumerate(events, 1))
    return words(history, Status(state, pid=7), name="owl", now=NOW)  # type: ignore[arg-type]


def sound(until: int, seed: int = 0) -> list[Event]:
    """Chosen rises a little, rejected falls, accuracy climbs to 84 %; batches are noisy."""
    chance = random.Random(seed)
    events: list[Event] = [Start(7), Eval(0, 0.693, 100, 0.0, 0.0, 0.0)]
    for n in range(1, until + 1):
        grown = 1 - math.exp(-n / 80)
        right = min(1.0, 0.5 + 0.34 * grown + chance.gauss(0, 0.03))
        events.append(
            step(n, 0.2 * grown + chance.gauss(0, 0.05), -0.6 * grown + chance.gauss(0, 0.05), right)
        )
        if n % 40 == 0:
            margin = 0.7 * grown
            events.append(Eval(n, math.log1p(math.exp(-margin)), 100, 0.1, 0.1 - margin, margin, 0.78))
    return events


def test_a_run_that_learns_says_how_many_pairs_are_ranked_right_and_how_the_margin_grew() -> None:
    said = say(*sound(380))
    assert said.mood == "good"
    assert said.line.startswith("Prefers the chosen answer in 8") and "the margin grows (" in said.line
    assert said.more.startswith("Of the held-out pairs in 78 %")


@pytest.mark.parametrize("seed", range(20))
def test_a_sound_run_is_never_warned_about(seed: int) -> None:
    for until in range(1, 400, 30):
        assert say(*sound(until, seed)).mood in ("good", "calm")


def test_early_steps_are_no_verdict() -> None:
    assert say(*sound(10)).line == "Under way: too early to tell what it prefers."


def test_rewards_that_both_fall_are_a_warning_with_a_way_out() -> None:
    falling = [step(n, -2.5 * n / 200, -3.5 * n / 200, 0.8) for n in range(1, 201)]
    said = say(Start(7), *falling)
    assert said.mood == "warn"
    assert said.line.startswith("Both rewards fall (-2.38 and -3.33): the model moves away from both answers")
    assert said.more == "A lower learning rate or a higher beta holds it."


def test_a_chosen_reward_that_falls_far_less_than_the_margin_grows_is_usual() -> None:
    falling = [step(n, -0.4 * n / 200, -3.0 * n / 200, 0.8) for n in range(1, 201)]
    assert say(Start(7), *falling).mood == "good"


def test_a_run_that_tells_nothing_apart_is_warned_about_after_enough_steps() -> None:
    chance = random.Random(3)
    flat = [step(n, chance.gauss(0, 0.01), chance.gauss(0, 0.01), 0.5) for n in range(1, 301)]
    assert say(Start(7), *flat[:60]).mood == "calm"
    said = say(Start(7), *flat)
    assert said.mood == "warn" and "does not tell the answers apart yet: 50 %" in said.line


def test_pairs_learned_by_heart_are_said_from_the_held_out_loss() -> None:
    events: list[Event] = [Start(7)]
    for n in range(1, 301):
        events.append(step(n, 2.0 * n / 300, -2.0 * n / 300, 0.95))
        if n % 50 == 0:
            events.append(Eval(n, 0.55 + abs(n - 100) / 1000, 100, 0.0, -0.1, 0.1, 0.6))
    said = say(*events)
    assert said.mood == "warn" and said.line.startswith("Memorising since step 100")


def test_orpo_is_judged_by_how_far_it_came_not_by_where_it_began() -> None:
    rising = [step(n, -0.9 + 0.6 * n / 200, -1.1 + 0.1 * n / 200, 0.9) for n in range(1, 201)]
    said = say(Start(7), *rising)
    assert said.mood == "good" and "the margin grows (0.21 to 0.68)" in said.line


def test_kto_has_no_pairs_and_may_see_one_kind_alone_in_a_step() -> None:
    events = [
        step(n, 0.5 * n / 200 if n % 2 else None, -0.5 * n / 200 if n % 3 else None) for n in range(1, 201)
    ]
    said = say(Start(7), *events)
    assert said.mood == "good" and said.line.startswith("Good answers gain on bad ones; the margin grows")


def test_the_end_sums_it_up() -> None:
    said = say(*sound(400), state="finished")
    assert said.line.startswith("Finished: 400 steps, margin 0") and "held-out pairs in 78 %" in said.more
    falling = [step(n, -2.5 * n / 200, -3.5 * n / 200, 0.8) for n in range(1, 201)]
    assert "Both rewards fell" in say(Start(7), *falling, state="finished").more


def test_lines_of_a_command_tell_them_too() -> None:
    told = preference(step(9, 0.25, -0.5, 0.84))
    assert told == ["chosen +0.250", "rejected -0.500", "margin +0.750", "pairs 84 %"]
    assert preference(step(9, None, None)) == []
    assert preference(Eval(9, 0.5, 10)) == []


def test_rewards_are_written_and_read_back_and_answers_have_none() -> None:
    told = step(9, 0.25, -0.5, 0.84)
    read = decode(encode(told, 1, NOW))
    assert read is not None and read.event == told
    plain = encode(Step(1, 9, 0.1, 2.0, 1e-4, 1.0, 10, 9.0), 1, NOW)
    assert b"reward" not in plain and b"margin" not in plain and b"accuracy" not in plain
