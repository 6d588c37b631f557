"""`finetui --plain`: the few questions that a run needs, as lines of text, for screen readers."""

import sys
from pathlib import Path

from core.cli import main as command


def ask(runs: Path | None) -> int:
    """Show the runs; then, where someone can answer, ask for a new one, plan it, and start it when told to.

    Everything is done by the commands, so that it is the same here as there.
    """
    where = ["--runs", str(runs)] if runs else []
    command(["runs", *where])
    if not sys.stdin.isatty():
        print("The commands: finetui --help")
        return 0
    print(
        "\nA new run. Leave an answer empty to end here; what stands in brackets is taken for an empty one."
    )
    try:
        model = input("Base model, a Hub id or a folder: ").strip()
        data = model and input("Data, a file, a folder or a Hub id: ").strip()
        if not data:
            return 0
        method = input("Method, auto, full, lora or qlora [auto]: ").strip() or "auto"
        call = ["--model", model, "--data", data, "--method", method]
        print()
        planned = command(["plan", *call])
        if planned != 0:
            return planned
        if input("\nStart it? [no] ").strip().lower() not in ("y", "yes"):
            return 0
    except (EOFError, KeyboardInterrupt):
        print()
        return 0
    return command(["train", *call, *where])
