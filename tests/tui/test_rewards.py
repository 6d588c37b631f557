"""The Train screen of a preference run: rewards as two lines, margin and accuracy, at any size."""

import math
import os
from pathlib import Path

import pytest

from core.runs.events import Eval, EventLog, Start, Step
from core.runs.folder import RunFolder, create
from core.runs.lock import write_facts
from core.spec import dump_spec, parse_spec
from tests.tui.test_train_screen import opened, text, until
from tui.app import FinetuiApp
from tui.widgets.picture import Picture
from tui.widgets.reward_chart import Rewards, draw, reward


def step(n: int) -> Step:
    grown = 1 - math.exp(-n / 80)
    return Step(
        n, 400, n / 400, 0.69 - 0.3 * grown, 1e-5, 1.0, n * 100, 900.0, None, n * 0.1,
        reward_chosen=0.3 * grown, reward_rejected=-0.9 * grown, margin=1.2 * grown,
        accuracy=min(1.0, 0.5 + 0.34 * grown),
    )  # fmt: skip


@pytest.fixture
def run(runs_dir: Path) -> RunFolder:
    folder = create(runs_dir, "owl")
    spec = {"model": "m", "data": "pairs.jsonl", "objective": "dpo", "name": "owl"}
    folder.spec_file.write_text(dump_spec(parse_spec(spec), full=True))
    write_facts(folder, os.getpid())
    folder.lock_file.touch()
    log = EventLog(folder.events_file)
    for event in (
        Start(os.getpid()),
        *(step(n) for n in range(1, 201)),
        Eval(200, 0.5, 90, 0.2, -0.7, 0.9, 0.78),
    ):
        log.write(event)
    return folder


async def test_a_wide_screen_has_loss_and_rewards(app: FinetuiApp, run: RunFolder) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, run)
        await until(pilot, lambda: "step 200 / 400" in text(pilot), "the past")
        assert screen.query_one("#chart").display and screen.query_one("#rewards").display
        shown = "\n".join(screen.query_one("#rewards", Picture).lines)
        assert "margin +1." in shown and "accuracy 8" in shown and "held out +0.90, 78 %" in shown
        assert "Prefers the chosen answer in 8" in text(pilot) and "chosen" in text(pilot)


async def test_a_short_screen_shows_rewards_in_place_of_the_loss(app: FinetuiApp, run: RunFolder) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, run)
        await until(pilot, lambda: "margin +1." in text(pilot), "the rewards")
        assert not screen.query_one("#chart").display
        assert screen.query_one("#rewards").size.height >= 5


async def test_answers_have_no_rewards(app: FinetuiApp, run: RunFolder) -> None:
    run.events_file.unlink()
    log = EventLog(run.events_file)
    for event in (Start(os.getpid()), *(Step(n, 9, 0.1, 2.0, 1e-4, 1.0, 10, 9.0) for n in range(1, 5))):
        log.write(event)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, run)
        await until(pilot, lambda: "step 4 / 9" in text(pilot), "the past")
        assert screen.query_one("#chart").display and not screen.query_one("#rewards").display


def lines(seen: Rewards, width: int, height: int) -> list[str]:
    return ["".join(part for part, _ in line) for line in draw(seen, width, height)]


def seen(count: int = 200) -> Rewards:
    steps = [step(n) for n in range(1, count + 1)]
    return Rewards(
        [one.step for one in steps],
        [one.reward_chosen for one in steps],
        [one.reward_rejected for one in steps],
        [one.margin for one in steps],
        [one.accuracy for one in steps],
        None,
        400,
    )


@pytest.mark.parametrize("width", [20, 40, 80, 160])
@pytest.mark.parametrize("height", [1, 2, 3, 6, 12, 30])
def test_it_fits_into_any_room(width: int, height: int) -> None:
    for one in (seen(), seen(1), Rewards()):
        drawn = lines(one, width, height)
        assert len(drawn) <= height and all(len(line) <= width for line in drawn)


def test_the_chosen_line_is_above_the_rejected_one_and_zero_between_them() -> None:
    rows = draw(seen(), 60, 16)
    at: dict[str, list[int]] = {"smooth": [], "held": []}
    for row, line in enumerate(rows):
        for part, role in line:
            if role in at and part.strip():
                at[role].append(row)
    assert max(at["smooth"][-3:]) < max(at["held"])
    assert any(line.lstrip().startswith("0┤") for line in lines(seen(), 60, 16))


def test_rewards_far_from_zero_are_not_squeezed_by_it() -> None:
    """As ORPO's are, which compare with no earlier model."""
    far = Rewards([1, 2, 3], [-2.0, -1.95, -1.9], [-2.2, -2.2, -2.2], [0.2, 0.25, 0.3], [1, 1, 1], None, 3)
    assert not any(line.lstrip().startswith("0┤") for line in lines(far, 60, 16))


def test_a_reward_has_its_sign_and_unknown_is_a_dash() -> None:
    assert [reward(one) for one in (0.5, -0.123, 0.001, None)] == ["+0.50", "-0.12", "0", "–"]
