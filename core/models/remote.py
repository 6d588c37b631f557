"""The headers of a model's weight files on the Hub, by range requests: some 100 kB a file and no weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from core.models.weights import INDEX, WHOLE, Broken, Stored, shards, summed

TIMEOUT = 5.0
"""Seconds that one request may be silent."""
TOGETHER = 8
"""Requests at a time."""
TRIES, WAIT = 3, 0.5
"""How often a request is made that fails for a passing reason, and the seconds before the second time."""
PASSING = (408, 429, 500, 502, 503, 504)
PATIENCE = 20.0
"""Seconds for all files together: someone waits, and the Hub's own count is nearly as good."""
MOST_FILES = 400
"""Of one model; more are not asked for one by one."""


def read_remote_headers(model: str, revision: str | None, sizes: dict[str, int]) -> Stored | None:
    """What the headers say together; None where the model has no safetensors files.

    `sizes`: {file: bytes} of the repository. Broken: they cannot be had, or say nothing.
    """
    import huggingface_hub

    api, end = huggingface_hub.HfApi(), time.monotonic() + PATIENCE
    if WHOLE in sizes:
        names = [WHOLE]
    elif INDEX in sizes:
        file = _tried(
            lambda: huggingface_hub.hf_hub_download(model, INDEX, revision=revision, etag_timeout=TIMEOUT),
            end,
        )
        names = shards(Path(file).read_text(encoding="utf-8"))
    else:
        return None
    if len(names) > MOST_FILES:
        raise Broken(f"its weights lie in {len(names):,} files")
    missing = [name for name in names if name not in sizes]
    if missing:
        raise Broken(f"{missing[0]} is missing")

    def header(name: str) -> dict[str, Any]:
        read = _tried(
            lambda: api.parse_safetensors_file_metadata(model, name, revision=revision, timeout=TIMEOUT),
            end,
        )
        return {tensor: {"dtype": one.dtype, "shape": one.shape} for tensor, one in read.tensors.items()}

    with ThreadPoolExecutor(TOGETHER) as pool:
        return summed(pool.map(header, names), sum(sizes[name] for name in names))


def _tried(ask: Callable[[], Any], end: float) -> Any:
    """The answer, after some tries where the Hub or the way to it failed for the moment. `end`: see PATIENCE,
    by the monotonic clock."""
    for left in reversed(range(TRIES)):
        if time.monotonic() > end:
            raise Broken(f"the Hub did not give their headers within {PATIENCE:.0f} s")
        try:
            return ask()
        except Exception as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            kinds = {kind.__name__ for kind in type(error).__mro__}
            passing = status in PASSING or kinds & {"TimeoutException", "NetworkError", "RemoteProtocolError"}
            if not passing or not left:
                first = next(iter(str(error).strip().splitlines()), type(error).__name__)
                raise Broken(f"the Hub does not give their headers: {first}") from None
            time.sleep(WAIT * (TRIES - left))
    raise AssertionError("tried at least once")
