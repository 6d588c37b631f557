"""Asks the Hugging Face Hub for a model's shape, and says in one line why it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.machine.host import hub_cache, read_hub
from core.models.catalogue import entry, nearest_model
from core.models.remote import TIMEOUT as TIMEOUT
from core.models.remote import read_remote_headers
from core.models.shape import ModelShape, has_tokenizer, read_config, shape_from_config, with_stored
from core.models.weights import BYTES, Broken


def cached_folder(model: str, revision: str | None = None) -> Path | None:
    """The folder of this model in the Hub's cache, when its config lies there; asks nobody."""
    repository = hub_cache() / f"models--{model.replace('/', '--')}"
    name = revision or "main"
    try:
        commit = (repository / "refs" / name).read_text(encoding="utf-8").strip()
    except OSError:
        commit = name
    folder = repository / "snapshots" / commit
    return folder if (folder / "config.json").is_file() else None


def read_remote(model: str, revision: str | None = None) -> ModelShape:
    """The shape of a model on the Hub: its config and the headers of its weight files.

    A few small requests, no weights. UserError: as `explain` says it, or a config that is of no such model.
    """
    import huggingface_hub

    try:
        info = huggingface_hub.HfApi().model_info(
            model, revision=revision, files_metadata=True, timeout=TIMEOUT
        )
        names = {file.rfilename: file.size or 0 for file in info.siblings or []}
        if "config.json" not in names:
            raise UserError(
                f"{model} is not a model that can be tuned here",
                "it has no config.json on the Hub",
                "give a model in the format of transformers, not GGUF or an adapter",
            )
        file = huggingface_hub.hf_hub_download(model, "config.json", revision=info.sha, etag_timeout=TIMEOUT)
    except UserError:
        raise
    except Exception as error:
        raise explain(error, model) from error
    return _described(model, revision, read_config(Path(file)), names, info)


def _described(
    model: str, revision: str | None, config: dict[str, Any], names: dict[str, int], info: Any
) -> ModelShape:
    shape = shape_from_config(model, config, hub=True)
    safetensors = [name for name in names if name.endswith(".safetensors") and "/" not in name]
    weights = safetensors or [
        name for name in names if name.endswith(".bin") and name.startswith("pytorch_model")
    ]
    shape = replace(
        shape,
        has_weights=bool(weights),
        weight_bytes=sum(names[name] for name in weights) or shape.weight_bytes,
        has_tokenizer=has_tokenizer(names),
        has_template=True if "chat_template.jinja" in names else _said_template(info),
    )
    if revision is None and entry(
        model
    ):  # its size is known, and no more was asked than whether it can be had
        return _by_the_hub(shape, info, "")
    try:
        stored = read_remote_headers(model, info.sha, names)
    except Broken as error:
        return _by_the_hub(shape, info, f"its weight files were not looked at: {error}")
    return with_stored(shape, stored) if stored else _by_the_hub(shape, info, "")


def _by_the_hub(shape: ModelShape, info: Any, why: str) -> ModelShape:
    """The shape with the number of parameters that the Hub counted; by arithmetic where it counted none."""
    counted = getattr(info.safetensors, "parameters", None) or {}
    notes = (*shape.notes, why) if why else shape.notes
    if not counted or any(kind not in BYTES or kind[0] not in "FB" for kind in counted):
        return replace(shape, notes=notes)
    # the Hub counts what is stored: a tied head that is stored all the same would be counted twice
    total = sum(counted.values())
    if shape.tied and total - shape.parameters == shape.embedding:
        total = shape.parameters
    most = max(counted, key=lambda kind: counted[kind])
    return replace(
        shape,
        parameters=total,
        active_parameters=min(shape.active_parameters, total),
        other_parameters=max(0, total - shape.parameters),
        dtype_bytes=BYTES[most],
        estimated=False,
        notes=tuple(note for note in notes if "counted" not in note),
    )


def _said_template(info: Any) -> bool | None:
    """What the Hub's reading of tokenizer_config.json says; without a template it names none."""
    config = getattr(info, "config", None) or {}
    tokenizer = config.get("tokenizer_config")
    return bool(tokenizer.get("chat_template")) if isinstance(tokenizer, dict) else None


def explain(error: BaseException, model: str) -> UserError:
    """Why the Hub did not give this model, as the user can act on it.

    Told apart: an id that cannot be one, one that is not there (with the nearest that is), a gated model
    without a login, with a token that may not read gated models, with a licence not accepted or not yet
    granted, a revision that is not there, too many requests, offline mode, and no network.
    """
    from huggingface_hub import errors

    page = f"https://huggingface.co/{model}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    said = str(error).lower()
    if isinstance(error, errors.HFValidationError):
        return _not_there(model, "no Hub id looks like this, and no such folder is here")
    if isinstance(error, errors.GatedRepoError):
        return _gated(model, page, status, said)
    if isinstance(error, errors.RevisionNotFoundError):
        return UserError(f"{model} has no such revision", "the Hub does not know it", f"see {page}/tree/main")
    if isinstance(error, errors.RepositoryNotFoundError):
        known = entry(model)
        if known and known.gated and status == 401:
            return _gated(model, page, status, said)
        return _not_there(model, "the Hub has no such model, or it is private")
    if isinstance(error, errors.OfflineModeIsEnabled) or (read_hub().offline and status is None):
        return UserError(
            f"{model} is not on this machine",
            "HF_HUB_OFFLINE is set, so nothing is downloaded",
            f"unset HF_HUB_OFFLINE, or give the folder of a model{_or_meant(model)}",
            code=1,
        )
    if status == 401:
        return UserError(
            f"{model} cannot be read", "the Hub does not accept the token", "hf auth login", code=1
        )
    if status == 403:
        return _gated(model, page, status, said)
    if status == 429:
        todo = "wait a few minutes" if read_hub().token_found else "hf auth login raises the limit"
        return UserError(f"{model} cannot be read now", "too many requests to the Hub", todo, code=1)
    if status is not None and status >= 500:
        return UserError(
            f"{model} cannot be read now", f"the Hub answers {status}", "try again in a few minutes", code=1
        )
    if isinstance(error, errors.EntryNotFoundError) and status == 404:
        return UserError(
            f"{model} is not a model that can be tuned here",
            "a file of it is missing on the Hub",
            f"see {page}",
        )
    if _no_network(error):
        return UserError(
            f"{model} cannot be fetched",
            "no network: the Hub does not answer, and the model is not in the cache",
            f"connect this box, or give the folder of a model{_or_meant(model)}",
            code=1,
        )
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return UserError(f"{model} cannot be fetched", first, f"see {page}", code=1)


def _or_meant(model: str) -> str:
    near = nearest_model(model)
    return f" (or did you mean {near}?)" if near and near.lower() != model.lower() else ""


def _not_there(model: str, why: str) -> UserError:
    near = nearest_model(model)
    if near and near.lower() == model.lower():
        near = None
    todo = f"did you mean {near}?" if near else "check the id on https://huggingface.co/models"
    if not read_hub().token_found and not near:
        todo += "; if it is private: hf auth login"
    return UserError(f"{model} is not there", why, todo)


def _gated(model: str, page: str, status: int | None, said: str) -> UserError:
    what = f"{model} is gated"
    if not read_hub().token_found:
        return UserError(
            what,
            "its licence must be accepted, and you are not logged in to the Hub",
            f"accept the licence at {page}, then: hf auth login",
            code=1,
        )
    if status == 401:
        return UserError(what, "the Hub does not accept your token", "hf auth login", code=1)
    if "fine-grained" in said:
        return UserError(
            what,
            "your token may not read gated models",
            "tick 'Read access to public gated repos' for it at https://huggingface.co/settings/tokens",
            code=1,
        )
    if "awaiting" in said:
        return UserError(what, "your request waits for its authors", f"its state stands at {page}", code=1)
    if "rejected" in said:
        return UserError(what, "its authors declined your request", "choose another model", code=1)
    return UserError(what, "your account has not accepted its licence", f"accept it at {page}", code=1)


def _no_network(error: BaseException | None) -> bool:
    """Whether a missing connection lies under this error; huggingface_hub wraps it in several ways."""
    seen = 0
    while error is not None and seen < 10:
        names = {kind.__name__ for kind in type(error).__mro__}
        if names & {"ConnectError", "ConnectTimeout", "NetworkError", "TimeoutException", "ConnectionError"}:
            return True
        if names & {"LocalEntryNotFoundError", "TimeoutError", "gaierror"}:
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False
