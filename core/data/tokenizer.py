"""Loads a model's tokenizer, with a padding token that is not the end of a text where there is a choice."""

from pathlib import Path
from typing import Any

from core.errors import UserError

FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tokenizer_config.json")
PADS = ("<|pad|>", "<pad>", "[PAD]", "<|padding|>", "<|finetune_right_pad_id|>", "<|endoftext|>")


def load_tokenizer(model: str, revision: str | None = None) -> Any:
    """The tokenizer of a folder or Hub id.

    UserError: nothing there, no tokenizer in it, one that needs a package, no fast form, no network.
    """
    from transformers import AutoTokenizer, logging

    folder = Path(model).expanduser()
    local = folder.is_dir()
    if local and not any((folder / name).is_file() for name in FILES):
        raise UserError(
            f"{model} has no tokenizer",
            f"none of {', '.join(FILES[:3])} lies in the folder",
            "give a complete model folder, or copy the tokenizer of its base model into it",
        )
    if not local and (model.startswith((".", "/", "~")) or model.count("/") > 1):
        raise UserError(f"{model} is not there", "no such folder", "check the path")
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder) if local else model, revision=revision)
    except ImportError as error:
        raise UserError(f"the tokenizer of {model} needs a package", _first(error), "install it") from None
    except Exception as error:  # the library raises many kinds, down to KeyError, for a broken file
        raise _not_loaded(model, local, error) from None
    finally:
        logging.set_verbosity(before)
    if not tokenizer.is_fast:
        raise UserError(
            f"the tokenizer of {model} has no fast form",
            "without it there is no telling which token holds which words",
            "use a model that has a tokenizer.json",
        )
    tokenizer.pad_token = pad_token(tokenizer)
    return tokenizer


def pad_token(tokenizer: Any) -> str | None:
    """The token for filling up: its own, one of an unused name, the unknown token, and only then the end's.

    Whoever batches must mask by length, not by this token.
    """
    own, end = tokenizer.pad_token, tokenizer.eos_token
    added = tokenizer.get_added_vocab()
    # a pad token that is not in the vocabulary would need a new row of the embeddings
    if own and own != end and tokenizer.convert_tokens_to_ids(own) < tokenizer.vocab_size + len(added):
        return str(own)
    unused = next((text for text in PADS if text in added and text != end), None)
    unknown = tokenizer.unk_token if tokenizer.unk_token != end else None
    return unused or unknown or end


def _not_loaded(model: str, local: bool, error: Exception) -> UserError:
    said = str(error)
    if local and ("sentencepiece" in said.lower() or "tiktoken" in said.lower()):
        return UserError(
            f"the tokenizer of {model} needs the package sentencepiece",
            "it has a tokenizer.model but no tokenizer.json",
            "pip install sentencepiece",
        )
    if local:
        return UserError(
            f"the tokenizer of {model} cannot be loaded", _first(error), "check the files in the folder"
        )
    if "gated" in said.lower():
        return UserError(
            f"{model} is gated",
            "its owner lets in those who accepted the licence",
            f"accept it at https://huggingface.co/{model} and log in with hf auth login",
        )
    if "not a valid model identifier" in said or "404" in said:
        return UserError(
            f"{model} is not there", "no such folder, and no such model on the Hub", "check the name"
        )
    return UserError(
        f"the tokenizer of {model} cannot be fetched", _first(error), "check the name and the network", code=1
    )


def _first(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
