"""Loads a model's tokenizer, with a padding token that is not the end of a text where there is a choice."""

import json
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.models.hub import TIMEOUT, cached_folder, explain
from core.models.shape import has_tokenizer

PADS = ("<|pad|>", "<pad>", "[PAD]", "<|padding|>", "<|finetune_right_pad_id|>", "<|endoftext|>")


def load_tokenizer(model: str, revision: str | None = None) -> Any:
    """The tokenizer of a folder or Hub id.

    UserError: nothing there, no tokenizer in it, one that needs a package, no fast form, no network.
    """
    from transformers import AutoTokenizer, logging

    folder = Path(model).expanduser()
    if folder.is_dir():
        files = [path.name for path in folder.iterdir()]
    elif model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise UserError(f"{model} is not there", "no such folder", "check the path")
    else:
        cached, files = _ask_hub(model, revision)
        folder = cached or folder
    if not has_tokenizer(files):
        raise UserError(
            f"{model} has no tokenizer",
            "it holds no tokenizer.json, tokenizer.model or vocab.json",
            "give a complete model, or copy the tokenizer of its base model into the folder",
        )
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        place = str(folder) if folder.is_dir() else model
        tokenizer = AutoTokenizer.from_pretrained(place, revision=revision)
    except Exception as error:  # the library raises many kinds, down to KeyError, for a broken file
        raise _not_loaded(model, error) from error
    finally:
        logging.set_verbosity(before)
    if not tokenizer.is_fast:
        raise UserError(
            f"the tokenizer of {model} has no fast form",
            "without it there is no telling which token holds which words",
            "use a model that has a tokenizer.json",
        )
    tokenizer.pad_token = pad_token(tokenizer, _vocabulary(folder))
    return tokenizer


def pad_token(tokenizer: Any, vocabulary: int | None = None) -> str | None:
    """The token for filling up: its own, one of an unused name, the unknown token, and only then the end's.

    `vocabulary`: rows of the model's embeddings, if known; a token beyond them cannot be fed to the model.
    Whoever batches must mask by length, not by this token.
    """
    end, added = tokenizer.eos_token, tokenizer.get_added_vocab()

    def usable(text: str | None) -> bool:
        if not text or text == end:
            return False
        one = tokenizer.convert_tokens_to_ids(text)
        return one is not None and (vocabulary is None or one < vocabulary)

    unused = [text for text in PADS if text in added]
    return next((text for text in (tokenizer.pad_token, *unused, tokenizer.unk_token) if usable(text)), end)


def _vocabulary(folder: Path) -> int | None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return int(config.get("vocab_size") or config["text_config"]["vocab_size"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _ask_hub(model: str, revision: str | None) -> tuple[Path | None, list[str]]:
    """Its folder in the cache if the Hub does not answer, and its files' names.

    Asked once and briefly: without a network the library's own tries take most of a minute.
    """
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(model, revision=revision, timeout=TIMEOUT)
    except Exception as error:
        cached = cached_folder(model, revision)
        if cached is None:
            raise explain(error, model) from error
        return cached, [path.name for path in cached.iterdir()]
    return None, [file.rfilename for file in info.siblings or []]


def _not_loaded(model: str, error: Exception) -> UserError:
    said = str(error).lower()
    if "sentencepiece" in said or "tiktoken" in said:
        return UserError(
            f"the tokenizer of {model} needs the package sentencepiece",
            "it has a tokenizer.model but no tokenizer.json",
            "run pip install sentencepiece",
        )
    if Path(model).expanduser().is_dir():
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        return UserError(f"the tokenizer of {model} cannot be loaded", first, "check the files in the folder")
    return explain(error, model)
