"""The `finetui` command: the wizard when called alone, a run's screen for `attach`, else the commands."""

import os
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 the answer is no, 2 the call is wrong."""
    words = list(sys.argv[1:] if argv is None else argv)
    rest, runs, plain = split(words)
    if rest is None or (rest and (plain or rest[0] != "attach" or len(rest) != 2)):
        return _command(words)
    if plain:
        from tui.plain import ask

        return ask(runs)
    from tui.terminal import refusal

    refused = refusal()
    if refused is not None:
        if rest:  # a run can be followed in lines of text
            return _command(words)
        print(f"finetui: {refused.line()}", file=sys.stderr)
        return refused.code
    return _screen(rest[1] if rest else None, runs)


def split(words: list[str]) -> tuple[list[str] | None, Path | None, bool]:
    """What is asked for, `--runs` and `--plain`; None when there are options that only a command knows."""
    rest: list[str] = []
    runs: Path | None = None
    plain = False
    left = iter(words)
    for word in left:
        if word == "--plain":
            plain = True
        elif word == "--runs" or word.startswith("--runs="):
            given = word.partition("=")[2] or next(left, "")
            if not given:
                return None, None, plain
            runs = Path(given).expanduser().absolute()
        elif word.startswith("-"):
            return None, None, plain
        else:
            rest.append(word)
    return rest, runs, plain


def _screen(run: str | None, runs: Path | None) -> int:
    """The wizard, or the screen of a run."""
    attach = None
    if run is not None:
        from core.errors import UserError
        from core.runs.folder import find, runs_dir

        try:
            attach = find(runs_dir(runs), run).path
        except UserError as error:
            print(f"finetui: {error.line()}", file=sys.stderr)
            return error.code
    from tui.app import FinetuiApp

    for name in ("COLUMNS", "LINES"):  # a size told once would hide every later one
        os.environ.pop(name, None)
    app = FinetuiApp(runs_dir=runs, attach=attach)
    app.run()
    return app.return_code or 0


def _command(words: list[str]) -> int:
    from core.cli import main as command

    return command(words)


if __name__ == "__main__":
    sys.exit(main())
