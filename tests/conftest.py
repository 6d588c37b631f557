"""What every test may use: a home of its own, and the real material beside the checkout where it is there."""

from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
SHARED = REPO.parent / "shared"


@pytest.fixture(autouse=True)
def finetui_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the user's own runs."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("FINETUI_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real models and data beside the checkout; the test is skipped where it is not there."""
    if not (SHARED / "models").is_dir():
        pytest.skip("needs the real models and data that lie beside the checkout in ../shared")
    return SHARED
