"""What earlier runs were made with, newest first, so that it can be taken again with one key."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

MOST = 5
"""Offered at most; older ones are typed again or found by path."""

LOOKED_AT = 40
"""Run folders opened at most: a box with thousands of runs must not slow a list down."""


def recent(runs_dir: Path, what: Literal["model", "data"]) -> list[str]:
    """Models (id or folder) or data sources of the newest runs, each once. Damaged runs are passed over."""
    from core.errors import UserError
    from core.runs.folder import every

    folders = sorted(every(runs_dir), key=lambda one: _changed(one.path), reverse=True)
    found: dict[str, None] = {}
    for folder in folders[:LOOKED_AT]:
        try:
            spec = folder.spec()
        except UserError:
            continue
        found[spec.model if what == "model" else spec.data.source] = None
    return list(found)[:MOST]


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
