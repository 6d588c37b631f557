"""The demo keeps its promise: base babbles, tuned answers, also when asked in words it was not taught."""

import pytest

from core.runs.history import replay
from core.runs.state import status

from .conftest import EACH, Gone

pytestmark = pytest.mark.timeout(600)


def test_it_is_a_finished_run_like_any_other(gone_demo: Gone) -> None:
    assert status(gone_demo.run).state == "finished"
    result = gone_demo.run.result()
    assert result is not None and (result / "adapter_config.json").exists()
    history = replay(gone_demo.run)
    assert history.step == history.steps_total == gone_demo.result["steps"]


def test_tuned_answers_and_base_does_not(gone_demo: Gone) -> None:
    scores = gone_demo.result["scores"]
    for kind, least in (("taught", 0.9), ("held_out", 0.75)):
        assert scores[kind]["base"]["asked"] == scores[kind]["tuned"]["asked"] == EACH
        assert scores[kind]["base"]["share"] <= 0.05, kind
        assert scores[kind]["tuned"]["share"] >= least, [
            (one["question"], one["answer"])
            for one in gone_demo.result["answers"]
            if one["side"] == "tuned" and not one["right"]
        ]


def test_held_out_loss_falls_with_the_training_loss(gone_demo: Gone) -> None:
    for losses in (gone_demo.result["loss"], gone_demo.result["held_out_loss"]):
        assert losses["last"] < losses["first"] / 3


def test_what_it_counts_is_what_it_shows(gone_demo: Gone) -> None:
    result = gone_demo.result
    for kind, key in (("held out", "held_out"), ("taught", "taught")):
        for side in ("base", "tuned"):
            of_it = [one for one in result["answers"] if one["kind"] == kind and one["side"] == side]
            assert sum(one["right"] for one in of_it) == result["scores"][key][side]["right"]
