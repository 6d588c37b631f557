"""Packed rows do not see each other, a weight changes a row's loss as it should, nothing is miscounted."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from core.data.pack import best_fit, packs
from core.data.rows import build
from core.data.tokenizer import load_tokenizer
from core.errors import UserError
from core.runs.events import Eval, Step
from core.runs.folder import RunFolder
from core.train import worker
from core.train.batches import IGNORED, Layout, Packs, collate, refuse_leaks
from core.train.order import steps_of
from tests.train.conftest import Make, rows
from tests.train.following import told_of

DOCUMENTS = [[5, 9, 11, 40, 7], [8, 30, 31], [60, 61, 62, 63]]


def row(ids: list[int], weight: float = 1.0, learned: list[int] | None = None) -> dict[str, Any]:
    return {"input_ids": ids, "learned": learned or [1] * len(ids), "weight": weight}


@pytest.fixture(scope="module")
def model(tiny: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()


def loss_of(model: Any, batch: dict[str, Any]) -> Any:
    """The sum of the loss over all labels, by the logits themselves."""
    import torch.nn.functional as F

    inputs = {name: one for name, one in batch.items() if name in ("input_ids", "position_ids")}
    logits = model(**inputs, use_cache=False).logits
    return F.cross_entropy(
        logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
    )


@pytest.mark.parametrize("lines", [[[0, 1, 2]], [[0, 1], [2]]], ids=["one line", "lines of unequal length"])
def test_a_packed_document_has_the_logits_that_it_has_alone(model: Any, lines: list[list[int]]) -> None:
    import torch

    batch = collate([[row(DOCUMENTS[one]) for one in line] for line in lines], 3)
    assert "attention_mask" not in batch and int(batch["tokens"]) == 12
    with torch.no_grad():
        inputs = {name: batch[name] for name in ("input_ids", "position_ids")}
        packed = model(**inputs, use_cache=False).logits
        for number, line in enumerate(lines):
            at = 0
            for one in line:
                ids = DOCUMENTS[one]
                alone = model(torch.tensor([ids])).logits[0]
                assert torch.allclose(packed[number, at : at + len(ids)], alone, atol=1e-5)
                at += len(ids)


def test_a_neighbour_changes_neither_logits_nor_gradients(model: Any) -> None:
    import torch

    def of_second(first: list[int]) -> tuple[Any, list[Any]]:
        silent = row(first, learned=[0] * len(first))
        batch = collate([[silent, row(DOCUMENTS[1]), row(DOCUMENTS[2])]], 3)
        model.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        return loss.detach(), [one.grad.clone() for one in model.parameters() if one.grad is not None]

    (one, grads), (other, others) = of_second(DOCUMENTS[0]), of_second([70, 71, 72, 73, 74])
    assert torch.equal(one, other)
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(grads, others, strict=True))
    # and they are those of the two documents by themselves
    model.zero_grad()
    (loss_of(model, collate([row(DOCUMENTS[1]), row(DOCUMENTS[2])], 3))).backward()
    alone = [one.grad for one in model.parameters() if one.grad is not None]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(grads, alone, strict=True))


def test_no_document_is_asked_for_its_first_token() -> None:
    batch = collate([[row(DOCUMENTS[0]), row(DOCUMENTS[1])], [row(DOCUMENTS[2])]], 3)
    assert batch["labels"][0].tolist() == [IGNORED, 9, 11, 40, 7, IGNORED, 30, 31]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 4, 0, 1, 2], [0, 1, 2, 3, 0, 0, 0, 0]]
    assert batch["labels"][1].tolist() == [IGNORED, 61, 62, 63] + [IGNORED] * 4


def test_a_model_whose_documents_see_each_other_is_refused(model: Any) -> None:
    refuse_leaks(model, Layout("blocks"))

    class Leaky:
        """As a model that carries a state along does: what was before shows."""

        config = model.config
        training = False

        def eval(self) -> None: ...
        def train(self, mode: bool) -> None: ...
        def parameters(self) -> Any:
            return model.parameters()

        def __call__(self, input_ids: Any, position_ids: Any, use_cache: bool) -> Any:
            return model(input_ids)

    with pytest.raises(UserError, match="see each other"):
        refuse_leaks(Leaky(), Layout("blocks"))


def test_packs_hold_every_row_once_and_are_full() -> None:
    lengths = [7, 3, 5, 1, 9, 2, 2, 10, 4]
    found = best_fit(lengths, 10)
    assert sorted(place for pack in found for place in pack) == list(range(9))
    assert all(sum(lengths[place] for place in pack) <= 10 for pack in found)
    assert len(found) == math.ceil(sum(lengths) / 10)
    apart = packs([(0, 1), (0, 2), (1, 1), (0, 5_000)], [2, 2, 2, 2], 10)
    assert sorted(map(sorted, apart)) == [[0, 1], [2], [3]], "sources and windows are packed by themselves"


def test_a_weight_counts_in_the_loss_of_a_step(make_run: Make, tmp_path: Path) -> None:
    """The first step's loss is the weighted sum over the tokens, divided by their number."""
    import torch

    weights = [0.25, 0.5, 2.0, 1.0]
    data = tmp_path / "weighted.jsonl"
    lines = [
        {"messages": _turns(one), "weight": weight} for one, weight in zip(rows(), weights, strict=False)
    ]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    spec = {"source": str(data), "eval": 0.0, "columns": {"messages": "messages", "weight": "weight"}}
    run = make_run("weights", data=spec, steps=1, batch=4)
    built = build(run.spec(), load_tokenizer(run.spec().model), lambda *_: None)
    assert sorted(one["weight"] for one in built.train) == sorted(weights)
    assert worker.work(run) == 0
    from core.train import device, model

    torch.manual_seed(0)
    fresh = model.load(run.spec(), Path(run.spec().model), device.choose(run.spec())).eval()
    total, tokens = 0.0, 0
    with torch.no_grad():
        for one in built.train:
            batch = collate([{**one, "weight": 1.0}], 3)
            total += one["weight"] * float(loss_of(fresh, batch))
            tokens += int((batch["labels"] != IGNORED).sum())
    assert told_of(run, Step)[0].loss == pytest.approx(total / tokens, rel=1e-4)


def _turns(one: dict[str, str]) -> list[dict[str, str]]:
    return [
        {"role": "user", "content": one["prompt"]},
        {"role": "assistant", "content": one["completion"]},
    ]


def test_a_packed_run_counts_its_steps_and_tokens(make_run: Make) -> None:
    run = make_run("packed", packing=True, steps=None, epochs=2, batch=2, evaluate={"every": 2})
    assert worker.work(run) == 0
    spec = run.spec()
    built = build(spec, load_tokenizer(spec.model), lambda *_: None)
    packed = Packs(built.train, spec.length or 0)
    steps = told_of(run, Step)
    assert len(steps) == steps_of(spec, len(packed)) < steps_of(spec, len(built.train))
    assert steps[-1].tokens == 2 * sum(len(one["input_ids"]) for one in built.train)
    report = json.loads(run.report_file.read_text())
    assert report["packs"] == len(packed) and report["data"]["train_rows"] == len(built.train)
    assert _evaluated(run) == _evaluated(make_run_unpacked(make_run))


def make_run_unpacked(make_run: Make) -> RunFolder:
    run = make_run("unpacked", steps=1, batch=2)
    assert worker.work(run) == 0
    return run


def _evaluated(run: RunFolder) -> float:
    """Held-out loss before the first step: the same rows, one by one, whether the run packs or not."""
    return round(told_of(run, Eval)[0].loss, 5)


def test_packed_texts_keep_all_tokens_and_their_borders(make_run: Make, tmp_path: Path) -> None:
    path = tmp_path / "texts.json"
    texts = [f"A tale of {number}. " * (number + 1) for number in range(12)]
    path.write_text(json.dumps(texts))
    spec = make_run("texts", data={"source": str(path), "eval": 0.0}, packing=True, length=64).spec()
    tokenizer = load_tokenizer(spec.model)
    built = build(spec, tokenizer, lambda *_: None)
    documents = [one for pack in Packs(built.train, 64) for one in pack]
    assert sorted(one["row"] for one in documents) == sorted(one["row"] for one in built.train)
    for number, text in enumerate(texts, 1):
        ids = [token for one in built.train if one["row"] == number for token in one["input_ids"]]
        assert tokenizer.decode(ids) == text + "<|endoftext|>"
    batch = collate([list(pack) for pack in Packs(built.train, 64)], 3)
    starts = int((batch["position_ids"] == 0).sum()) - int((batch["input_ids"] == 3).sum())
    assert (
        starts == len(built.train)
        and int((batch["labels"] != IGNORED).sum()) == int(batch["tokens"]) - starts
    )
