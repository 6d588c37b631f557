"""What a run leaves: the adapter or the model, with all that is needed to use it as it lies there."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.runs.folder import RunFolder
from core.runs.lock import write_whole
from core.spec import RunSpec
from core.train import checkpoints


def save(
    run: RunFolder, spec: RunSpec, model: Any, tokenizer: Any, end_ids: Sequence[int], revision: str | None
) -> Path:
    """Weights first, then tokenizer with its template, generation settings and run.yaml. Returns the folder.

    Written aside and renamed when it is on the disk, so that it is either whole or not there.
    An adapter names its base as the spec does: the Hub id (at `revision`), or the folder's full path.
    """
    final = run.model if spec.method == "full" else run.adapter
    aside = run.path / f".saving-{final.name}"
    shutil.rmtree(aside, ignore_errors=True)
    settings = generation_settings(model, tokenizer, end_ids)
    if spec.method == "full":
        model.generation_config = settings
        model.save_pretrained(aside)
    else:
        config = model.peft_config["default"]
        folder = Path(spec.model).expanduser()
        config.base_model_name_or_path = str(folder.absolute()) if folder.is_dir() else spec.model
        config.revision = None if folder.is_dir() else revision
        # the vocabulary is never changed, so there are no embeddings to save and no Hub to ask
        model.save_pretrained(aside, save_embedding_layers=False)
        settings.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    shutil.copyfile(run.spec_file, aside / "run.yaml")
    checkpoints.make_durable(aside)
    shutil.rmtree(final, ignore_errors=True)
    aside.replace(final)
    checkpoints.sync_folder(run.path)
    return final


def generation_settings(model: Any, tokenizer: Any, end_ids: Sequence[int]) -> Any:
    """The base's generation settings, ending where the template ends and where the base ends."""
    from transformers import GenerationConfig

    base = model.generation_config
    before = base.eos_token_id if isinstance(base.eos_token_id, list) else [base.eos_token_id]
    ends = [token for token in dict.fromkeys([*end_ids, *before]) if token is not None]
    kept = base.to_diff_dict()
    kept |= {"eos_token_id": ends, "bos_token_id": base.bos_token_id, "pad_token_id": tokenizer.pad_token_id}
    if any(kept.get(key) is not None for key in ("temperature", "top_p", "top_k", "min_p")):
        kept["do_sample"] = True  # some published settings name a temperature and forget this
    return GenerationConfig(**kept)


def report(run: RunFolder, facts: dict[str, Any]) -> None:
    """report.json: what the run was and what it came to."""
    write_whole(run.report_file, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
