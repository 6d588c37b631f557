"""The templates and learning choices that the Template step offers, each with a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KNOWN_FOR = {
    "auto": "the model's own, or one that fits it",
    "alpaca": "### Instruction and ### Response; no special tokens",
    "chatml": "<|im_start|> turns; many models",
    "command-r": "<|START_OF_TURN_TOKEN|> turns; Command-R and Aya",
    "deepseek": "<｜User｜> and <｜Assistant｜>; DeepSeek",
    "gemma": "<start_of_turn> turns; Gemma",
    "instruct": "plain words; for base models with no tokens to spare",
    "llama-2": "[INST] turns; Llama 2",
    "llama-3": "header tokens; Llama 3.x",
    "mistral": "[INST] turns; Mistral",
    "output": "### Instruct and ### Output, ended by ### End",
    "phi": "<|user|> and <|end|>; Phi-3",
    "phi-4": "<|im_start|> and <|im_sep|>; Phi-4",
    "plain": "the prompt and its answer, nothing around them",
    "qwen": "ChatML with tools and thoughts; Qwen",
    "vicuna": "USER: and ASSISTANT:",
    "zephyr": "<|user|> turns that end with the text's end",
}
FILE = "file"

LEARN = {
    "assistant": "all answers; questions are only read",
    "last": "only the last; the rest is context",
    "completion": "from the first answer to the end",
    "all": "every token: for texts and new facts",
}
LEARN_NAMES = {
    "assistant": "the answers",
    "last": "the last answer",
    "completion": "from the first answer",
    "all": "every token",
}


def names() -> list[str]:
    """The named templates."""
    from core.data.chat_template.named import NAMES

    return sorted(NAMES)


def offered(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the list shows and what it stands for; those whose tokens the tokenizer lacks say so."""
    lacks = report.get("lacking") or {}
    named = [(f"✗ {name}: no tokens" if lacks.get(name) else name, name) for name in names()]
    return [("auto", "auto"), *named, ("a Jinja file", FILE)]
