"""The chat templates that come with finetui: what they are called and which tokens each needs."""

from functools import cache
from pathlib import Path
from typing import Any

# name -> the texts that must each be one token of the tokenizer; all but these and eos_token is plain text
NEEDS: dict[str, tuple[str, ...]] = {
    "chatml": ("<|im_start|>", "<|im_end|>"),
    "qwen": ("<|im_start|>", "<|im_end|>"),
    "llama-2": (),
    "llama-3": ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "mistral": (),
    "gemma": ("<start_of_turn>", "<end_of_turn>"),
    "phi": ("<|user|>", "<|assistant|>", "<|end|>"),
    "phi-4": ("<|im_start|>", "<|im_sep|>", "<|im_end|>"),
    "deepseek": ("<｜User｜>", "<｜Assistant｜>"),
    "command-r": (
        "<|START_OF_TURN_TOKEN|>",
        "<|END_OF_TURN_TOKEN|>",
        "<|SYSTEM_TOKEN|>",
        "<|USER_TOKEN|>",
        "<|CHATBOT_TOKEN|>",
    ),
    "vicuna": (),
    "alpaca": (),
    "zephyr": (),
    "instruct": (),
    "output": (),
    "plain": (),
}
NAMES = tuple(NEEDS)

ALSO_CALLED = {
    "phi-3": "phi",
    "llama-3.1": "llama-3",
    "llama-3.2": "llama-3",
    "llama-3.3": "llama-3",
    "qwen2.5": "qwen",
    "qwen3": "qwen",
}

# Tried in this order for a model without a template: its unused tokens tell what it was made for.
PREFERRED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("phi-4", NEEDS["phi-4"]),
    ("chatml", NEEDS["chatml"]),
    ("llama-3", NEEDS["llama-3"]),
    ("gemma", NEEDS["gemma"]),
    ("command-r", NEEDS["command-r"]),
    ("deepseek", NEEDS["deepseek"]),
    ("phi", NEEDS["phi"]),
    ("mistral", ("[INST]", "[/INST]")),
)


@cache
def source_of(name: str) -> str:
    return (Path(__file__).parent / "jinja" / f"{name}.jinja").read_text(encoding="utf-8")


def fitting(tokenizer: Any, *, tools: bool = False) -> tuple[str, str]:
    """The template that a tokenizer's tokens are made for, or one that needs none; and why it is that.

    `tools`: the rows call tools, which ChatML has no place for, but Qwen's form of it has.
    """
    for name, tokens in PREFERRED:
        if all(is_one_token(text, tokenizer) for text in tokens):
            if tools and name == "chatml":
                return "qwen", "the model has the tokens of chatml, and qwen is chatml with a place for tools"
            return name, f"the model has no template, but already has the tokens of {name}"
    return "instruct", "the model has no template; this one needs no tokens of its own"


def lacking(name: str, tokenizer: Any) -> list[str]:
    """The tokens that a named template needs and the tokenizer does not have."""
    return [text for text in NEEDS[name] if not is_one_token(text, tokenizer)]


def is_one_token(text: str, tokenizer: Any) -> bool:
    """Whether this text, wherever it stands, is one id and no other text's."""
    if text not in (*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens):
        return False
    one = tokenizer.convert_tokens_to_ids(text)
    return one is not None and (one != tokenizer.unk_token_id or text == tokenizer.unk_token)
