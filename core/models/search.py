"""A job that searches the Hugging Face Hub for causal language models by words of their names."""

from __future__ import annotations

from typing import Any

from core.errors import UserError
from core.job import Progress, serve

MOST = 12


def answer(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """{"text"} -> {"models": [{id, downloads, gated}]}, the most downloaded first.

    UserError (code 1) when the Hub does not answer: the caller may leave the search out without a word.
    """
    import huggingface_hub

    progress("searching the Hub", 0, None)
    try:
        found = huggingface_hub.HfApi().list_models(
            search=request["text"],
            pipeline_tag="text-generation",
            filter="transformers",
            sort="downloads",
            limit=MOST,
            expand=["downloads", "gated"],
        )
        models = [{"id": one.id, "downloads": one.downloads or 0, "gated": bool(one.gated)} for one in found]
    except Exception as error:
        raise UserError("the Hub cannot be searched", f"{type(error).__name__}: {error}", code=1) from None
    return {"models": models}


if __name__ == "__main__":
    serve(answer)
