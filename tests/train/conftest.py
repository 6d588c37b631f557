"""A model and data small enough to train in seconds, made here: nothing is fetched, nothing lies beside."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.runs.events import Event
from core.runs.folder import RunFolder, create
from core.spec import dump_spec, parse_spec
from tests.train.following import Reaction

COLOURS = {"sky": "blue", "grass": "green", "snow": "white", "coal": "black", "rose": "red", "sun": "yellow"}


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """For a model this small threads cost more than they give."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    """What other tests compiled neither serves nor is counted."""
    import torch
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 2 layers with random weights, and a byte-level tokenizer with ChatML's tokens."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    words.train_from_iterator([row["prompt"] + row["completion"] for row in rows()], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<|endoftext|>", pad_token="<|pad|>", model_max_length=256
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        initializer_range=0.15,  # large enough that adapters under a frozen head can change what is said
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def rows() -> list[dict[str, str]]:
    names = ("Ann", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal")
    return [
        {"prompt": f"{name} asks: what colour is the {thing}?", "completion": f"The {thing} is {colour}."}
        for name in names
        for thing, colour in COLOURS.items()
    ]


@pytest.fixture(scope="session")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 questions with answers, as JSONL."""
    path = tmp_path_factory.mktemp("data") / "colours.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    return path


Make = Callable[..., RunFolder]


@pytest.fixture(scope="session")
def make_run(tiny: Path, lines: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes the folder of a resolved run on the tiny model; keywords change its spec."""

    def make(name: str = "run", **changes: Any) -> RunFolder:
        spec: dict[str, Any] = {
            "model": str(tiny),
            "data": {"source": str(lines), "eval": 0.2},
            "method": "lora",
            "template": "chatml",
            "length": 128,
            "batch": 4,
            "accumulate": 1,
            "steps": 12,
            "learning_rate": 0.01,
            "optimizer": "adamw",
            "recompute": 0,
            "precision": "fp32",
            "lora": {"rank": 8},
            "save": {"every": 5},
            "evaluate": {"every": 6},
            **changes,
        }
        run = create(tmp_path_factory.mktemp("runs"), name)
        run.spec_file.write_text(dump_spec(parse_spec(spec), full=True))
        return run

    return make


@pytest.fixture
def when() -> Iterator[Callable[..., Reaction]]:
    """`when(run, wanted, act)`: acts once while the run goes on."""
    started: list[Reaction] = []

    def begin(run: RunFolder, wanted: Callable[[Event], bool], act: Callable[[], None]) -> Reaction:
        reaction = Reaction(run, wanted, act)
        reaction.start()
        started.append(reaction)
        return reaction

    yield begin
    for reaction in started:
        reaction.over.set()
        reaction.join(timeout=5)
