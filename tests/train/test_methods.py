"""Each method truly trains, and what it leaves loads as it lies there and is what was evaluated."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from core.data.rows import build
from core.data.tokenizer import load_tokenizer
from core.runs.events import Checkpoint, End, Eval, Sample, Stage, Start, Step
from core.runs.folder import RunFolder
from core.train import worker
from tests.train.conftest import Make, rows
from tests.train.following import told, told_of

METHODS = ("full", "lora", "qlora")


@pytest.fixture(scope="module", params=METHODS)
def done(request: pytest.FixtureRequest, make_run: Make) -> RunFolder:
    run = make_run(request.param, method=request.param)
    assert worker.work(run) == 0, told(run)[-3:]
    return run


def test_the_loss_falls(done: RunFolder) -> None:
    losses = [step.loss for step in told_of(done, Step)]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    before, *_, after = [one.loss for one in told_of(done, Eval)]
    assert after < 0.9 * before


def test_events_tell_the_whole_course(done: RunFolder) -> None:
    records = told(done)
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    events = [record.event for record in records]
    assert isinstance(events[0], Start) and events[0].versions["torch"]
    assert events[-1] == End("finished")
    assert [step.step for step in told_of(done, Step)] == list(range(1, 13))
    assert [one.step for one in told_of(done, Eval)] == [0, 6, 12]
    assert {one.step for one in told_of(done, Sample)} >= {0, 12}
    stages = list(dict.fromkeys(one.name for one in told_of(done, Stage)))
    assert stages == ["load", "tokenise", "first step", "evaluate", "train", "save"]
    kept = [(one.step, one.reason) for one in told_of(done, Checkpoint)]
    assert kept == [(5, "schedule"), (10, "schedule"), (12, "end")]


def test_samples_are_questions_as_they_were_asked(done: RunFolder) -> None:
    asked = {row["prompt"] for row in rows()}
    assert all(one.prompt in asked for one in told_of(done, Sample))


def test_steps_count_tokens_rate_and_time(done: RunFolder) -> None:
    steps = told_of(done, Step)
    assert all(late.tokens > early.tokens for early, late in pairwise(steps))
    assert all(late.seconds > early.seconds for early, late in pairwise(steps))
    assert steps[-1].tokens / steps[-1].seconds == pytest.approx(
        sum(one.tokens_per_second * (one.seconds - before) for one, before in _with_before(steps))
        / steps[-1].seconds,
        rel=0.05,
    )
    assert all(step.steps == 12 and math.isfinite(step.grad_norm) for step in steps)
    assert steps[-1].learning_rate < steps[3].learning_rate <= 0.01


def _with_before(steps: list[Step]) -> list[tuple[Any, float]]:
    return list(zip(steps, [0.0, *(one.seconds for one in steps)], strict=False))


def test_it_leaves_a_result_and_nothing_half_written(done: RunFolder) -> None:
    result = done.result()
    assert result is not None
    assert (result / "run.yaml").read_text() == done.spec_file.read_text()
    report = json.loads(done.report_file.read_text())
    assert report["state"] == "finished" and report["steps"] == 12
    assert report["held_out_loss"]["12"] == told_of(done, Eval)[-1].loss
    assert [step for step, _ in done.checkpoint_list()] == [5, 10]
    assert not list(done.path.glob(".saving*")) and not list(done.checkpoints.glob(".writing/*"))


def test_the_saved_tokenizer_renders_what_was_trained(done: RunFolder) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(done.result())
    messages = [
        {"role": "user", "content": "Ann asks: what colour is the sky?"},
        {"role": "assistant", "content": "The sky is blue."},
    ]
    rendered = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    spec = done.spec().model_copy(update={"data": done.spec().data.model_copy(update={"eval": 0.0})})
    first = build(spec, load_tokenizer(spec.model), lambda *_: None).train[0]["input_ids"]
    # a template may write a line break after the last end token, which no row needs
    assert rendered[: len(first)] == first and len(rendered) - len(first) <= 1


def test_the_end_token_is_learned_and_ends_generation(done: RunFolder) -> None:
    from transformers import AutoTokenizer, GenerationConfig

    tokenizer = AutoTokenizer.from_pretrained(done.result())
    settings = GenerationConfig.from_pretrained(done.result())
    assert tokenizer.eos_token == "<|im_end|>"
    assert settings.eos_token_id[0] == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_the_result_loads_and_has_the_loss_that_was_told(done: RunFolder) -> None:
    """Computed here from plain logits, without the trainer, its labels or its fused head."""
    spec = done.spec()
    model = _load(done)
    held_out = build(spec, load_tokenizer(spec.model), lambda *_: None).eval
    assert held_out
    assert _loss(model, held_out) == pytest.approx(told_of(done, Eval)[-1].loss, rel=2e-3)


def _load(run: RunFolder) -> Any:
    import torch
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM

    from core.train.device import Device
    from core.train.model import four_bits, keep_unpacked

    if run.spec().method == "full":
        return AutoModelForCausalLM.from_pretrained(run.result()).eval()
    more = {"quantization_config": four_bits(Device("cpu", "fp32"))} if run.spec().method == "qlora" else {}
    model = AutoPeftModelForCausalLM.from_pretrained(run.result(), dtype=torch.float32, **more).eval()
    if more:
        keep_unpacked(model)
    return model


def _loss(model: Any, held_out: list[dict[str, list[int]]]) -> float:
    import torch

    total, count = 0.0, 0
    for row in held_out:
        ids = torch.tensor([row["input_ids"]])
        with torch.no_grad():
            words = torch.log_softmax(model(input_ids=ids).logits[0, :-1].float(), dim=-1)
        for place, (token, learned) in enumerate(zip(row["input_ids"][1:], row["learned"][1:], strict=True)):
            if learned:
                total, count = total - float(words[place, token]), count + 1
    return total / count


def test_the_adapter_names_its_base_by_full_path(make_run: Make, tiny: Path, done: RunFolder) -> None:
    if done.spec().method == "full":
        assert json.loads((done.model / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
        return
    config = json.loads((done.adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny)
    assert config["r"] == 8 and config["lora_alpha"] == 16
