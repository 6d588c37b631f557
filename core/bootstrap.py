"""Sets finetui up in .venv with nothing but Python and pip: `python3 core/bootstrap.py [--dev]`.

It imports the standard library alone, since it runs before anything is installed. A torch that
already sees the GPU fits this box's driver, so it is used rather than another one downloaded.
"""

import ctypes
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "finetui-setup"

OLDEST_PYTHON = (3, 11)
OLDEST_TORCH = (2, 11)
TESTED_TORCH = "torch==2.13.0"
TORCH_CUDA = (13, 0)
"""CUDA of the torch that pip brings; a driver of an older generation cannot run it."""
OLDER_CUDA = "cu126"
"""The build for drivers of the CUDA 12 generation, in the PyTorch project's own index."""
INDEX = "https://download.pytorch.org/whl/"

_PROBE = (
    "import json, torch;print(json.dumps([torch.__version__, torch.version.cuda, torch.cuda.is_available()]))"
)


def fail(what: str, why: str, todo: str) -> NoReturn:
    print(f"finetui setup: {what}: {why}. {todo}", file=sys.stderr)
    sys.exit(1)


def say(text: str) -> None:
    print(f"finetui setup: {text}", flush=True)


def main() -> None:
    dev = "--dev" in sys.argv[1:]
    if sys.version_info < OLDEST_PYTHON:
        fail("this Python is too old", f"{sys.version.split()[0]}, needed is 3.11 or newer", install_python())
    if PYTHON.exists() and STAMP.exists() and STAMP.read_text() in (stamp(dev), stamp(True)):
        return
    make_venv()
    get_torch()
    say("installing finetui and what it needs (a few minutes the first time)")
    pip("install", "--editable", f"{ROOT}[dev]" if dev else str(ROOT))
    STAMP.write_text(stamp(dev))
    say("ready: .venv/bin/finetui")


def stamp(dev: bool) -> str:
    """Changes when what is to be installed changes."""
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest() + (" dev" if dev else "")


def install_python() -> str:
    """The one command that brings a Python with venv to this kind of system."""
    major, minor = max(sys.version_info[:2], OLDEST_PYTHON)
    version = f"python{major}.{minor}"
    sudo = "" if os.geteuid() == 0 else "sudo "
    if shutil.which("apt-get"):
        return f"Run: {sudo}apt-get install -y {version} {version}-venv"
    if shutil.which("dnf"):
        return f"Run: {sudo}dnf install -y {version}"
    if shutil.which("apk"):
        return f"Run: {sudo}apk add python3 py3-pip"
    return "Run: curl -LsSf https://astral.sh/uv/install.sh | sh && uv python install 3.12 --default"


def make_venv() -> None:
    """.venv, seeing the packages around it when a torch among them sees the GPU."""
    if PYTHON.exists():
        return
    try:
        import ensurepip  # noqa: F401
        import venv
    except ImportError:
        fail("this Python cannot make a virtual environment", "its venv part is missing", install_python())
    outer = probe(Path(sys.executable))
    use = outer is not None and outer[2] and version(outer[0]) >= OLDEST_TORCH
    if use and outer:
        say(f"using this machine's torch {outer[0]} (CUDA {outer[1]}), which sees the GPU")
    elif outer and outer[2]:
        say(f"this machine's torch {outer[0]} is older than 2.11, so another one is installed in .venv")
    venv.create(VENV, with_pip=True, system_site_packages=bool(use), clear=VENV.exists())
    if use and sys.prefix != sys.base_prefix:
        # a venv made from a venv sees only the base's packages: name the one that holds torch
        site = subprocess.check_output(
            [PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        ).strip()
        around = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
        Path(site, "machine-packages.pth").write_text("\n".join(around) + "\n")


def get_torch() -> None:
    """Leaves any torch that is there; else brings the one that fits this box."""
    there = probe(PYTHON)
    if there and version(there[0]) >= OLDEST_TORCH:
        say(f"torch {there[0]} is there")
        return
    asked = os.environ.get("TORCH")
    if asked:
        pip("install", *asked.split())
        return
    driver = driver_cuda()
    if driver is None:
        say("no NVIDIA driver here: installing torch for the CPU")
        try:
            brief = ("--retries", "0", "--timeout", "10")
            pip("install", *brief, "--index-url", INDEX + "cpu", TESTED_TORCH, quiet=True)
        except subprocess.CalledProcessError:
            pip("install", TESTED_TORCH)
    elif driver[0] < TORCH_CUDA[0]:
        fits = f'make setup TORCH="torch --index-url {INDEX}{OLDER_CUDA}"'
        fail(
            "the NVIDIA driver is too old for the torch that pip would bring",
            f"it speaks CUDA {driver[0]}.{driver[1]}, that torch needs {TORCH_CUDA[0]}.{TORCH_CUDA[1]}",
            f"A torch built for CUDA 12.6 fits: {fits}"
            if driver[0] == 12
            else "No torch from 2.11 on fits it: update the driver to 580 or newer",
        )
    else:
        say("installing torch (some GB)")
        pip("install", TESTED_TORCH)


def probe(python: Path) -> list[str] | None:
    """[version, CUDA, sees a GPU] of that Python's torch, None where it has none that works."""
    done = subprocess.run([python, "-P", "-c", _PROBE], capture_output=True, text=True, check=False)
    try:
        found: list[str] = json.loads(done.stdout.strip().splitlines()[-1])
        return found
    except (ValueError, IndexError):
        return None


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("+")[0].split(".")[:2] if part.isdigit())


def driver_cuda() -> tuple[int, int] | None:
    """The newest CUDA that the installed driver speaks, None without a driver."""
    try:
        number = ctypes.c_int()
        if ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number)) != 0:
            return None
        return number.value // 1000, number.value % 1000 // 10
    except (OSError, AttributeError):
        return None


def pip(*words: str, quiet: bool = False) -> None:
    """Runs pip, showing its progress and its last error; `quiet` raises CalledProcessError instead."""
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", *words]
    shown = subprocess.DEVNULL if quiet or not sys.stdout.isatty() else None
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, stdout=shown, text=True)
    if done.returncode == 0:
        return
    if quiet:
        raise subprocess.CalledProcessError(done.returncode, command)
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["it failed"]
    fail(
        "pip could not install", lines[-1].removeprefix("ERROR: ").rstrip("."), "Mend that and run make again"
    )


if __name__ == "__main__":
    main()
