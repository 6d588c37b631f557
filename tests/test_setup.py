"""The set-up: the machine's own torch is used where it sees the GPU, and every refusal names the way on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core import bootstrap
from tests.conftest import REPO


def test_without_a_new_enough_python_make_says_the_one_command(tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    for tool in ("make", "sh", "id", "dirname"):
        (bare / tool).symlink_to(shutil.which(tool) or tool)
    old = bare / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n')
    old.chmod(0o755)
    (bare / "apt-get").symlink_to("/bin/true")
    done = subprocess.run(
        ["make", "setup", "PYTHON="],
        cwd=REPO,
        env={"PATH": str(bare)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    [line] = [line for line in done.stderr.splitlines() if "finetui setup" in line]
    assert "Python 3.9.2" in line and "apt-get install -y python3.11 python3.11-venv" in line


@pytest.fixture
def outer(tmp_path: Path) -> Path:
    """A Python in a venv of its own, as images for GPU boxes have, with a torch that says what it is told."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "outer"], check=True)
    site = next((tmp_path / "outer" / "lib").iterdir()) / "site-packages" / "torch"
    site.mkdir()
    (site / "__init__.py").write_text(
        "import os\n__version__ = os.environ['TORCH_VERSION']\n"
        "class version: cuda = '13.0'\nclass cuda:\n    is_available = staticmethod(lambda: True)\n"
    )
    return tmp_path / "outer" / "bin" / "python"


@pytest.mark.parametrize(("version", "used"), [("2.12.0+cu130", True), ("2.8.0+cu128", False)])
def test_a_torch_that_sees_the_gpu_is_used_when_it_is_new_enough(
    tmp_path: Path, outer: Path, version: str, used: bool
) -> None:
    made = tmp_path / "made"
    code = (
        "import core.bootstrap as b; from pathlib import Path;"
        f"b.VENV = Path({str(made)!r}); b.PYTHON = b.VENV / 'bin' / 'python'; b.make_venv()"
    )
    env = {**os.environ, "TORCH_VERSION": version, "PYTHONPATH": str(REPO)}
    done = subprocess.run([outer, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert version.split("+")[0] in done.stdout
    finds = subprocess.run(
        [made / "bin" / "python", "-P", "-c", "import torch; print(torch.__version__)"],
        env={**env, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finds.stdout.strip() == version) == used


@pytest.mark.parametrize(
    ("driver", "said"), [((12, 4), "whl/cu126"), ((11, 8), "update the driver to 580"), ((13, 1), None)]
)
def test_a_driver_too_old_is_told_which_torch_fits(
    driver: tuple[int, int],
    said: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(bootstrap, "probe", lambda python: None)
    monkeypatch.setattr(bootstrap, "driver_cuda", lambda: driver)
    monkeypatch.setattr(bootstrap, "pip", lambda *words, quiet=False: asked.append(words))
    monkeypatch.delenv("TORCH", raising=False)
    if said is None:
        bootstrap.get_torch()
        assert asked == [("install", bootstrap.TESTED_TORCH)]
        return
    with pytest.raises(SystemExit):
        bootstrap.get_torch()
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not asked


def test_the_set_up_is_done_anew_when_what_it_installs_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text("a")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    before = bootstrap.stamp(False)
    assert before != bootstrap.stamp(True)
    (tmp_path / "pyproject.toml").write_text("b")
    assert before != bootstrap.stamp(False)
