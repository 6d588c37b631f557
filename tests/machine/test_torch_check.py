"""The installed torch is described from its files alone."""

import importlib.metadata
import subprocess
import sys

from core.machine.torch_check import Torch, describe, driver_runs, find_torch, torch_for_driver


def test_a_cuda_build():
    source = "__version__ = '2.11.0+cu128'\ncuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n"
    assert describe("2.11.0", source) == Torch("2.11.0+cu128", "12.8", False)


def test_a_cpu_build():
    source = "__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip: Optional[str] = None\n"
    assert describe("2.13.0+cpu", source) == Torch("2.13.0+cpu", None, True)


def test_a_vendors_build_without_a_local_version():
    assert describe("2.11.0a0+nv26.3", "cuda: Optional[str] = '13.1'") == Torch(
        "2.11.0a0+nv26.3", "13.1", False
    )


def test_only_the_version_is_known():
    assert describe("2.9.1+cu126", "") == Torch("2.9.1+cu126", "12.6", False)


def test_a_build_for_another_maker():
    source = "__version__ = '2.11.0+rocm7.0'\ncuda: Optional[str] = None\nhip: Optional[str] = '7.0.1'\n"
    assert describe("2.11.0", source).built_for_cpu is False


def test_the_torch_of_this_python_is_found_without_importing_it():
    code = (
        "import sys; from core.machine.torch_check import find_torch;"
        " print(find_torch().version, 'torch' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert said[0].split("+")[0] == importlib.metadata.version("torch").split("+")[0]
    assert said[1] == "False"
    assert find_torch() is not None


def test_drivers():
    assert driver_runs("525.60.13", "12.8") is True and driver_runs("520.61.05", "12.1") is False
    assert driver_runs("580.65.06", "99.0") is None
    assert [torch_for_driver(one) for one in ("600.1", "550.54.14", "450.80.02")] == ["cu130", "cu126", None]
