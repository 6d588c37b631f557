"""DPO, ORPO and KTO truly train: the ids that were rendered reach the model, margins grow, runs resume."""

import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from core.data.chat_template import templates
from core.data.chat_template.mask import render
from core.data.conversation import Conversation, Message
from core.data.tokenizer import load_tokenizer
from core.runs.events import Checkpoint, End, Error, Eval, Stage, Step
from core.runs.folder import RunFolder
from core.runs.history import replay
from core.train import pairs, worker
from core.train.preference import label_weights
from tests.train.conftest import COLOURS, Make
from tests.train.following import told, told_of

NAMES = ("Ann", "Ben", "Cleo", "Dan", "Eve", "Finn")
CASES = [("dpo", "lora"), ("dpo", "full"), ("orpo", "lora"), ("kto", "lora"), ("kto", "full")]
RATES = {"lora": 5e-3, "full": 3e-4}


def questions() -> list[tuple[str, str, str]]:
    """A question, the answer wanted, and one that is not."""
    return [
        (f"{name} asks: what colour is the {thing}?", f"The {thing} is {colour}.", "Look for yourself!")
        for name in NAMES
        for thing, colour in COLOURS.items()
    ]


@pytest.fixture(scope="module")
def pairs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = [{"prompt": ask, "chosen": good, "rejected": bad} for ask, good, bad in questions()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def labels_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One answer a question, every third of them bad."""
    path = tmp_path_factory.mktemp("data") / "labels.jsonl"
    rows = [
        {"prompt": ask, "completion": bad if n % 3 == 0 else good, "label": n % 3 != 0}
        for n, (ask, good, bad) in enumerate(questions())
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


Prefer = Callable[..., RunFolder]


@pytest.fixture(scope="module")
def prefer(make_run: Make, pairs_file: Path, labels_file: Path) -> Prefer:
    """Makes the folder of a preference run."""

    def make(objective: str, method: str = "lora", **changes: Any) -> RunFolder:
        source = labels_file if objective == "kto" else pairs_file
        settings = {
            "data": {"source": str(source), "eval": 0.2},
            "objective": objective,
            "method": method,
            "learning_rate": RATES[method],
            "steps": 30,
            "evaluate": {"every": 15},
            "save": {"every": 12},
            **changes,
        }
        return make_run(f"{objective}-{method}", **settings)

    return make


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def done(request: pytest.FixtureRequest, prefer: Prefer) -> RunFolder:
    run = prefer(*request.param)
    assert worker.work(run) == 0, told(run)[-3:]
    return run


def test_the_margin_grows_and_pairs_are_ranked_right(done: RunFolder) -> None:
    steps, objective = told_of(done, Step), done.spec().objective
    assert told_of(done, End) == [End("finished")]
    margins = [one.margin for one in steps if one.margin is not None]
    assert sum(margins[-5:]) / 5 > margins[0] + 0.05
    assert sum(margins[-5:]) > 0
    if objective == "kto":
        assert all(one.accuracy is None for one in steps)
    else:
        assert steps[-1].accuracy >= 0.75
        assert steps[-1].margin == pytest.approx(
            steps[-1].reward_chosen - steps[-1].reward_rejected, abs=1e-5
        )
    if objective != "orpo":
        assert steps[0].margin in (None, pytest.approx(0, abs=1e-4)), "both are the model as it was"


def test_the_held_out_rows_are_judged_too(done: RunFolder) -> None:
    before, middle, after = told_of(done, Eval)
    assert (before.step, middle.step, after.step) == (0, 15, 30)
    assert after.loss < before.loss and after.margin > before.margin
    report = json.loads(done.report_file.read_text())
    assert report["objective"] == done.spec().objective
    assert report["held_out_rewards"]["30"]["margin"] == after.margin


def test_tokens_are_counted_and_no_second_model_is_saved(done: RunFolder) -> None:
    steps = told_of(done, Step)
    assert steps[0].tokens > 0 and all(a.tokens < b.tokens for a, b in pairwise(steps))
    result = done.result()
    assert result is not None and not [path for path in result.rglob("*") if path.name == "ref"]
    stages = {one.name for one in told_of(done, Stage)}
    assert ("reference" in stages) == (done.spec().method == "full")


@pytest.mark.parametrize(
    ("objective", "method"), [("dpo", "lora"), ("dpo", "full"), ("kto", "lora"), ("orpo", "lora")]
)
def test_a_stopped_run_goes_on_with_the_same_losses(
    prefer: Prefer, when: Any, objective: str, method: str
) -> None:
    changes = {"steps": 12, "save": {"every": 4}, "evaluate": {"every": 6}}
    once, twice = prefer(objective, method, **changes), prefer(objective, method, **changes)
    assert worker.work(once) == 0
    when(twice, lambda event: isinstance(event, Step) and event.step >= 5, twice.stop_file.touch)
    assert worker.work(twice) == 0
    assert told_of(twice, Checkpoint)[-1].reason == "stop"
    at = told_of(twice, Step)[-1].step
    assert 5 <= at < 12
    assert worker.work(twice) == 0
    whole, parts = replay(once), replay(twice)
    assert [one.step for one in parts.steps] == list(range(1, 13))
    assert parts.losses == pytest.approx(whole.losses, rel=1e-4)
    assert [one.margin for one in parts.steps] == pytest.approx(
        [one.margin for one in whole.steps], rel=1e-3, abs=1e-5
    )
    assert parts.steps[-1].tokens == whole.steps[-1].tokens
    if method == "full":
        kept = json.loads((twice.path / "reference.json").read_text())
        assert len(kept) == 2, "what the model as it was says is measured once, not again by a resumed run"


@pytest.mark.parametrize("objective", ["dpo", "orpo", "kto"])
def test_the_model_sees_the_ids_that_are_shown(
    prefer: Prefer, monkeypatch: pytest.MonkeyPatch, objective: str
) -> None:
    """Every batch of a run, line by line, against `render` of the conversations themselves."""
    seen: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    tensors = pairs.tensors

    def spied(sequences: Any, pad: int) -> Any:
        batch = tensors(sequences, pad)
        for ids, mask, marks in zip(
            batch["input_ids"].tolist(),
            batch["attention_mask"].tolist(),
            batch["completion_mask"].tolist(),
            strict=True,
        ):
            size = sum(mask)
            seen.append((tuple(ids[:size]), tuple(marks[:size])))
        return batch

    monkeypatch.setattr(pairs, "tensors", spied)
    run = prefer(objective, data={"source": prefer(objective).spec().data.source, "eval": 0}, steps=9)
    assert worker.work(run) == 0
    tokenizer = load_tokenizer(run.spec().model, None)
    template = templates.choose("chatml", tokenizer)
    expected = set()
    for n, (ask, good, bad) in enumerate(questions(), 1):
        said = (Message("user", ask), Message("assistant", good))
        whole = Conversation(n, said, prompt=1, rejected=(Message("assistant", bad),))
        shown = render(whole, tokenizer, template)
        other = render(Conversation(n, (said[0], Message("assistant", bad))), tokenizer, template)
        assert shown.other.ids == other.ids
        expected |= {(tuple(one.ids), tuple(one.learned)) for one in (shown, other)}
    if objective == "kto":  # every second batch is the mismatched one, which is no row
        seen = [one for one in seen if one in expected]
    assert seen and set(seen) <= expected
    assert len(set(seen)) >= 36


def test_what_is_learned_of_orpo_is_the_answer_alone(tiny: Path, prefer: Prefer) -> None:
    """The loss of the first held-out look, from plain logits: nothing of the prompt is in it."""
    import torch
    from transformers import AutoModelForCausalLM

    run = prefer("orpo", steps=1, evaluate={"every": 1})
    assert worker.work(run) == 0
    from core.data.rows import build

    spec = run.spec()
    held_out = build(spec, load_tokenizer(spec.model), lambda *_: None, run.path).eval
    model = AutoModelForCausalLM.from_pretrained(tiny).eval()

    def mean(ids: list[int], learned: list[int]) -> tuple[Any, int]:
        with torch.no_grad():
            words = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0, :-1], dim=-1)
        marks = torch.tensor(learned[1:]).bool()
        told = words.gather(1, torch.tensor(ids)[1:, None])[:, 0][marks]
        return told.sum(), int(marks.sum())

    losses, batch = [], 4
    for at in range(0, len(held_out), batch):
        rows = [held_out[place] for place in range(at, min(at + batch, len(held_out)))]
        good = [mean(row["input_ids"], row["learned"]) for row in rows]
        bad = [mean(row["rejected_ids"], row["rejected_learned"]) for row in rows]
        answer = -sum(one for one, _ in good) / sum(count for _, count in good)
        odds = [
            torch.logit(torch.exp(a / n).double()) - torch.logit(torch.exp(b / m).double())
            for (a, n), (b, m) in zip(good, bad, strict=True)
        ]
        ratio = torch.nn.functional.logsigmoid(torch.stack(odds)).mean()
        losses += [float(answer - spec.beta * ratio)] * len(rows)
    assert told_of(run, Eval)[0].loss == pytest.approx(sum(losses) / len(losses), rel=1e-3)


@pytest.mark.parametrize(
    ("objective", "data", "said"),
    [
        ("dpo", "labels", "it takes pairs of a chosen and a rejected answer"),
        ("kto", "pairs", "it takes answers with a label"),
        ("dpo", "answers", "these are rows with one answer each"),
        ("sft", "labels", "the bad answers would be learned too"),
    ],
)
def test_data_of_another_kind_are_refused_in_a_line(
    prefer: Prefer, pairs_file: Path, labels_file: Path, lines: Path, objective: str, data: str, said: str
) -> None:
    source = {"labels": labels_file, "pairs": pairs_file, "answers": lines}[data]
    run = prefer(objective, data={"source": str(source), "eval": 0.2})
    assert worker.work(run) == 1
    (error,) = told_of(run, Error)
    assert f"objective {objective} cannot learn from these data" in error.what and said in error.why
    assert "set objective" in error.todo


def test_pairs_with_objective_sft_teach_the_chosen_answers(prefer: Prefer) -> None:
    run = prefer("sft", steps=3)
    assert worker.work(run) == 0
    assert all(step.margin is None and step.reward_chosen is None for step in told_of(run, Step))
    assert "margin" not in run.events_file.read_text()


def test_by_default_the_data_decide(prefer: Prefer, labels_file: Path) -> None:
    run = prefer("auto", steps=2, data={"source": str(labels_file), "eval": 0})
    assert worker.work(run) == 0
    assert json.loads(run.report_file.read_text())["objective"] == "kto"


def test_kto_wants_two_rows_in_a_pass(prefer: Prefer) -> None:
    run = prefer("kto", batch=1)
    assert worker.work(run) == 1
    (error,) = told_of(run, Error)
    assert error.what == "KTO needs a batch of 2 or more"


def test_rows_of_both_labels_are_mixed_evenly() -> None:
    rows = [{"label": place < 6} for place in range(24)]
    order = pairs.spread(rows, 1)
    assert sorted(order) == list(range(24)) and order == pairs.spread(rows, 1) != pairs.spread(rows, 2)
    for at in range(0, 24, 8):
        assert sum(rows[place]["label"] for place in order[at : at + 8]) == 2


def test_the_rarer_label_counts_for_more() -> None:
    assert label_weights([{"label": n % 4 == 0} for n in range(20)]) == (3.0, 1.0)
    assert label_weights([{"label": n % 4 != 0} for n in range(20)]) == (1.0, 3.0)
    assert label_weights([{"label": True}] * 3) == (1.0, 1.0)


def test_kto_sets_each_prompt_beside_the_answer_before_it() -> None:
    rows = [
        {"input_ids": [1, 2, 30, 31], "learned": [0, 0, 1, 1], "label": True},
        {"input_ids": [5, 60], "learned": [0, 1], "label": False},
    ]
    batch = pairs.labelled(rows, pad=0, length=3)
    assert batch["input_ids"].tolist() == [[1, 2, 30, 31], [5, 60, 0, 0]]
    assert batch["completion_mask"].tolist() == [[0, 0, 1, 1], [0, 1, 0, 0]]
    assert batch["KL_input_ids"].tolist() == [[1, 2, 60], [5, 30, 31]]
    assert batch["KL_completion_mask"].tolist() == [[0, 0, 1], [0, 1, 1]]
    assert batch["label"].tolist() == [True, False]


def test_padding_is_known_by_its_place_whatever_the_pad_token_is() -> None:
    make = partial(pairs.paired, pad=7)
    rows = [
        {"input_ids": [1, 7], "learned": [0, 1], "rejected_ids": [1, 8, 7], "rejected_learned": [0, 1, 1]}
    ]
    batch = pairs.collator((rows,), make)([{"part": 0, "place": 0}])
    assert batch["input_ids"].tolist() == [[1, 7, 7], [1, 8, 7]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch["completion_mask"].tolist() == [[0, 1, 0], [0, 1, 1]]
