"""A run with a real adapter on a small real model, made here, so that both sides can be asked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.chat.blocking import BlockingChat
from core.runs.folder import RunFolder
from core.spec import dump_spec, parse_spec
from tests.conftest import REPO


@pytest.fixture(scope="session")
def small_model() -> Path:
    return REPO / "core" / "demo" / "model"


@pytest.fixture(scope="session")
def adapter_run(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished LoRA run: its adapter changes what the model says; checkpoint 5 changes it otherwise."""
    run = RunFolder(tmp_path_factory.mktemp("runs") / "stories")
    run.path.mkdir()
    spec = parse_spec(
        {"model": str(small_model), "data": "rows.jsonl", "method": "lora", "template": "chatml"}
    )
    run.spec_file.write_text(dump_spec(spec, full=True))
    write_adapter(small_model, run.adapter, seed=1)
    checkpoint = run.checkpoints / "checkpoint-5"
    write_adapter(small_model, checkpoint, seed=2)
    (checkpoint / "trainer_state.json").write_text("{}")
    return run


def write_adapter(model: Path, to: Path, seed: int) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from core.data.chat_template import templates
    from core.data.tokenizer import load_tokenizer

    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    # init_lora_weights=False: both halves are random, so that the adapter does something
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(base, config).save_pretrained(to)
    tokenizer = load_tokenizer(str(model), None)
    templates.apply(templates.choose("chatml", tokenizer), tokenizer)
    tokenizer.save_pretrained(to)


def write_changed_model(model: Path, to: Path) -> None:
    """The model with other weights, as a full run leaves it."""
    import torch
    from transformers import AutoModelForCausalLM

    from core.data.chat_template import templates
    from core.data.tokenizer import load_tokenizer

    torch.manual_seed(3)
    changed = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    with torch.no_grad():
        for weight in changed.parameters():
            weight += 0.02 * torch.randn_like(weight)
    changed.save_pretrained(to)
    tokenizer = load_tokenizer(str(model), None)
    templates.apply(templates.choose("chatml", tokenizer), tokenizer)
    tokenizer.save_pretrained(to)


@pytest.fixture(scope="module")
def talk(adapter_run: RunFolder) -> Iterator[BlockingChat]:
    with BlockingChat() as chat:
        chat.start(run=adapter_run.path)
        yield chat
