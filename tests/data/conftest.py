"""Tokenizers to test with: a byte-level one (it ships with the demo), and one made here as Llama's are."""

import copy
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from core.data.chat_template.named import NEEDS
from core.data.tokenizer import load_tokenizer

REPO = Path(__file__).resolve().parents[2]
MARKS = ["<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
MARKS += ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"]
MARKS = list(dict.fromkeys([*MARKS, *(token for tokens in NEEDS.values() for token in tokens)]))


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@cache
def byte_level() -> Any:
    """The demo's tokenizer with every named template's tokens: no beginning of text, spells anything."""
    tokenizer = load_tokenizer(str(REPO / "core" / "demo" / "model"))
    tokenizer.add_tokens(
        [mark for mark in MARKS if mark not in tokenizer.get_added_vocab()], special_tokens=True
    )
    return tokenizer


@cache
def llama_like() -> Any:
    """Pieces with a mark for the blank, bytes for what is unknown, a beginning of text before every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    text = [
        "the cat sat on the mat and asked what a token is",
        "a token is a piece of a word",
        "yes no maybe",
    ]
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *MARKS]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=names, show_progress=False)
    tokenizer.train_from_iterator(text, trainer)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>"
    )


MADE: dict[str, Callable[[], Any]] = {"byte-level": byte_level, "llama-like": llama_like}


@pytest.fixture(params=list(MADE))
def tokenizer(request: pytest.FixtureRequest) -> Any:
    """A copy: a test may give it a template."""
    return copy.deepcopy(MADE[request.param]())
