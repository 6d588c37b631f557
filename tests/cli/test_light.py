"""The commands start at once: they import none of the heavy libraries, and little else."""

import json
import subprocess
import sys

import pytest

from core.cli.app import COMMANDS
from core.job import environment

HEAVY = ("torch", "transformers", "datasets", "peft", "trl", "pandas", "pyarrow", "numpy", "textual", "rich")
SECONDS_OF_CPU = 0.6  # 0.15 to 0.25 on the two cores that this was written on

SCRIPT = """
import json, resource, sys
from core.cli import main
code = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"code": code, "modules": sorted(sys.modules), "cpu": used.ru_utime + used.ru_stime}))
"""


@pytest.mark.parametrize("words", [["--help"], ["runs"], ["runs", "--json"], ["doctor"], ["stop", "nobody"]])
def test_it_is_light_and_quick(words: list[str]) -> None:
    made = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], env=environment(), capture_output=True, text=True, check=True
    )
    told = json.loads(made.stdout.splitlines()[-1])
    assert told["code"] == (2 if "nobody" in words else 0)
    assert not {module.split(".")[0] for module in told["modules"]} & set(HEAVY)
    assert told["cpu"] < SECONDS_OF_CPU


def test_help_names_every_command_and_each_explains_itself() -> None:
    def told(*words: str) -> str:
        call = "import sys; from core.cli import main; sys.exit(main(sys.argv[1:]))"
        return subprocess.run(
            [sys.executable, "-c", call, *words],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    whole = told("--help")
    assert all(f"\n  {command} " in whole for command in COMMANDS)
    assert "--detach" in told("train", "--help")
