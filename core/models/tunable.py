"""Whether a config.json is of a model that can be tuned here, and if not, why and what to take instead.

What the installed transformers can load is read from its source, without importing it.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.models.sizes import shown
from core.models.traits import TRAITS

OTHER_TASKS = (
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForImageClassification",
    "ForMaskedImageModeling",
    "ForSpeechSeq2Seq",
    "ForCTC",
)
"""Endings of architectures that have a head, and not one that says the next token."""
EXAMPLE = "give a decoder model such as Qwen/Qwen3-0.6B"


def refuse(name: str, config: dict[str, Any]) -> None:
    """UserError when this is no causal language model, or none that the installed transformers can load."""
    what = f"{name} is no language model that can be tuned here"
    family = config.get("model_type")
    if config.get("is_encoder_decoder"):
        raise UserError(
            what,
            "it has an encoder and a decoder, and what is tuned here only continues text",
            "give a decoder-only model such as Qwen/Qwen3-0.6B",
        )
    built = config.get("architectures")
    if isinstance(built, list) and built and all(str(one).endswith(OTHER_TASKS) for one in built):
        raise UserError(what, f"it is a {shown(built[0])[1:-1]}, which writes no text", EXAMPLE)
    if not isinstance(family, str) or family in TRAITS:
        return
    loadable, known = installed()
    if not loadable or family in loadable:
        return
    if family in known:
        why = f"transformers loads a {family} for other uses, not as a language model that continues text"
        raise UserError(what, why, EXAMPLE)
    if config.get("auto_map"):
        raise UserError(
            f"{name} cannot be tuned here",
            f"it brings its own code, which is not run, and transformers itself knows no {family}",
            "take a model whose family transformers has, or a version of this one that was converted to it",
        )


@functools.cache
def installed() -> tuple[frozenset[str], frozenset[str]]:
    """(model types that the installed transformers loads as causal language models, all it knows).

    Both empty where it is not installed, or its source is not as expected: then nothing is refused for it.
    """
    try:
        found = importlib.util.find_spec("transformers")
        folder = Path((found.submodule_search_locations or [""])[0]) / "models/auto" if found else None
        if folder is None:
            return frozenset(), frozenset()
        models = (folder / "modeling_auto.py").read_text(encoding="utf-8")
        configs = folder / "auto_mappings.py"
        known = (configs if configs.is_file() else folder / "configuration_auto.py").read_text(
            encoding="utf-8"
        )
    except (OSError, ValueError, ImportError):
        return frozenset(), frozenset()
    return _names(models, "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"), _names(known, "CONFIG_MAPPING_NAMES")


def _names(source: str, table: str) -> frozenset[str]:
    """The first words of the pairs in `table = OrderedDict([("word", …), …])`."""
    found = re.search(rf"^{table} = OrderedDict\(\n(.*?)^\)", source, re.MULTILINE | re.DOTALL)
    return frozenset(re.findall(r'\(\s*"([^"]+)",', found.group(1))) if found else frozenset()
