"""What the wizard knows: choices by dotted key, what a change makes stale, and the draft on disk."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from core.errors import UserError
from tui.journey import STEPS, Journey, step_after, step_before


@pytest.fixture
def journey(tmp_path: Path) -> Journey:
    return Journey(tmp_path / "home")


def test_a_choice_is_kept_under_its_dotted_key(journey: Journey) -> None:
    journey.set("lora.rank", 8)
    journey.set("data.columns.prompt", "question")
    assert journey.choices == {"lora": {"rank": 8}, "data": {"columns": {"prompt": "question"}}}
    assert journey.get("lora.rank") == 8
    assert journey.get("lora.alpha", 3) == 3 and journey.get("model.x.y") is None


def test_the_short_form_of_data_grows(journey: Journey) -> None:
    journey.choices["data"] = "rows.jsonl"
    assert journey.label == "rows.jsonl"
    journey.set("data.split", "test")
    assert journey.choices["data"] == {"source": "rows.jsonl", "split": "test"}


def test_none_takes_a_choice_back(journey: Journey) -> None:
    journey.set("batch", 4)
    journey.set("batch", None)
    assert "batch" not in journey.choices


@pytest.mark.parametrize(
    ("key", "stays"),
    [
        ("model", set()),
        ("data.source", {"shape"}),
        ("template", {"shape"}),
        ("batch", {"shape", "report"}),
        ("lora.rank", {"shape", "report"}),
    ],
)
def test_a_change_forgets_what_rests_on_it(journey: Journey, key: str, stays: set[str]) -> None:
    journey.shape, journey.report, journey.plan = "shape", {"rows": 1}, "plan"  # type: ignore[assignment]
    journey.set(key, 3)
    assert {name for name in ("shape", "report", "plan") if getattr(journey, name) is not None} == stays
    journey.report = {"rows": 2}
    journey.set(key, 3)
    assert journey.report == {"rows": 2}, "choosing the same again changes nothing"


def test_the_draft_comes_back_whole(journey: Journey, tmp_path: Path) -> None:
    journey.set("model", "Qwen/Qwen3-0.6B")
    journey.set("data.source", "über.jsonl")
    journey.passed("aim")
    journey.at("data")
    again = Journey(tmp_path / "home")
    assert again.has_draft() and again.load_draft()
    assert (again.choices, again.done, again.step) == (journey.choices, {"aim"}, "data")
    assert again.label == "Qwen3-0.6B · über.jsonl"
    again.clear_draft()
    assert not journey.has_draft() and not journey.load_draft()
    again.clear_draft()


plain = some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text()
nested = some.recursive(
    plain, lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner), max_leaves=8
)


@given(choices=some.dictionaries(some.text(min_size=1), nested, min_size=1))
def test_any_choices_survive_the_draft(
    tmp_path_factory: pytest.TempPathFactory, choices: dict[str, Any]
) -> None:
    journey = Journey(tmp_path_factory.mktemp("home"))
    journey.choices = choices
    journey.save()
    again = Journey(journey.draft_file.parent)
    assert again.load_draft() and again.choices == choices


@pytest.mark.parametrize(
    "text", ["", "choices: [", "- 1", "choices: 3", "step: data", "\x00", "choices: {}\ndone: 7"]
)
def test_a_broken_draft_is_no_draft(journey: Journey, text: str) -> None:
    journey.draft_file.parent.mkdir(parents=True)
    journey.draft_file.write_text(text)
    assert not journey.load_draft()
    assert journey.choices == {}


def test_a_disk_that_refuses_is_told_not_raised(journey: Journey, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    journey.set("model", "m")
    assert "not saved" in journey.unsaved
    assert journey.get("model") == "m"
    (tmp_path / "home").unlink()
    journey.set("model", "n")
    assert journey.unsaved == "" and journey.has_draft()


def test_the_choices_are_a_spec(journey: Journey) -> None:
    with pytest.raises(UserError):
        journey.spec()
    journey.set("model", "m")
    journey.set("data.source", "d.jsonl")
    journey.set("lora.rank", 4)
    assert journey.spec().lora.rank == 4


def test_steps_follow_each_other() -> None:
    walked = [STEPS[0]]
    while (following := step_after(walked[-1])) is not None:
        walked.append(following)
    assert tuple(walked) == STEPS
    assert [step_before(step) for step in STEPS] == [None, *STEPS[:-1]]
