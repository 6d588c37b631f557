"""The templates and learning choices that the Template step offers, each with a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KNOWN_FOR = {
    "auto": "the model's own, or the one that its tokens fit: no need to change it",
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
    "assistant": "every answer (usual): nothing is spent on learning questions",
    "last": "the last answer alone: what comes before it is context",
    "completion": "all from the first answer on, later questions too",
    "all": "every token: for plain text and new facts",
}
LEARN_NAMES = {
    "assistant": "the answers",
    "last": "the last answer",
    "completion": "from the first answer",
    "all": "every token",
}


def names() -> list[str]:
    """The named templates."""
    from core.data.named import NAMES

    return sorted(NAMES)


def offered(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the list shows and what it stands for; those whose tokens the tokenizer lacks say so."""
    lacks = report.get("lacking") or {}
    named = [(f"✗ {name}: lacks tokens" if lacks.get(name) else name, name) for name in names()]
    return [("auto", "auto"), *named, ("a Jinja file", FILE)]
