"""One whole demo, gone through once and looked at by several tests."""

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.demo.demo import run_demo
from core.runs.folder import RunFolder


@dataclass(frozen=True)
class Gone:
    """A demo that was gone through: its run, what it returned and all that it printed."""

    run: RunFolder
    result: dict[str, Any]
    printed: str


EACH = 12


@pytest.fixture(scope="session")
def gone_demo(tmp_path_factory: pytest.TempPathFactory) -> Gone:
    """`finetui demo --json`, from the data on disk to the last answer, with fewer questions."""
    runs = tmp_path_factory.mktemp("demo-runs")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        result = run_demo(runs, as_json=True, each=EACH)
    assert json.loads(printed.getvalue()) == json.loads(json.dumps(result))
    return Gone(RunFolder(Path(result["folder"])), result, printed.getvalue())
