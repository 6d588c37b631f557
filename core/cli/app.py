"""The `finetui` command: its commands by name, and how any error becomes one line and an exit code."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from core.cli import data, life, look, planning, show, talk
from core.errors import UserError, nearest

app = typer.Typer(
    name="finetui",
    help="Fine-tune a language model in a terminal. Without a command: the wizard.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: dict[str, Callable[..., None]] = {
    "demo": talk.demo,
    "doctor": look.doctor,
    "data": data.data,
    "plan": planning.plan,
    "train": life.train,
    "runs": life.runs,
    "attach": life.attach,
    "stop": life.stop,
    "save": life.save,
    "resume": life.resume,
    "rm": life.rm,
    "chat": talk.chat,
    "compare": talk.compare,
}
for name, function in COMMANDS.items():
    app.command(name)(function)


def main(argv: list[str] | None = None) -> int:
    """Run a command. Returns 0 (done), 1 (the answer is no), 2 (the call is wrong), 130 (interrupted).

    What goes wrong is one line on stderr; with --json also {"error": …} on stdout.
    """
    words = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    as_json = "--json" in words
    command = typer.main.get_command(app)
    try:
        code = command.main(words, prog_name="finetui", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except UserError as error:
        return _refuse(error, as_json)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has left, as `head` does; nothing more may be flushed into it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # typer's own refusals
            return _refuse(_usage(error, words), as_json)
        if type(error).__name__ == "Abort":  # a question that was answered with Ctrl-C or Ctrl-D
            return 130
        return _refuse(unexpected(error), as_json)


def _refuse(error: UserError, as_json: bool) -> int:
    if as_json:
        show.answer({"error": {**error.to_dict(), "log": error.log}})
    print(f"{show.paint('finetui:', 'bad', sys.stderr)} {error.line()}", file=sys.stderr)
    return error.code


def _usage(error: Any, words: list[str]) -> UserError:
    """What typer says of a call, in our form: `what: why. todo`."""
    message = str(error.format_message()).strip().rstrip(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "finetui"
    if not message or message.startswith("Usage:"):
        return UserError("no command was given", "", "see finetui --help")
    command = words[0] if words else ""
    if command and not command.startswith("-") and command not in COMMANDS:
        meant = nearest(command, COMMANDS)
        todo = f"did you mean finetui {meant}?" if meant else "see finetui --help"
        return UserError(f"finetui has no command {command}", "", todo)
    why = message[0].lower() + message[1:]
    return UserError(f"{path} was called wrongly", why, f"see {path} --help")


def unexpected(error: Exception) -> UserError:
    """An error of ours: its traceback goes to the log, whose name goes to the user."""
    from core.runs.folder import home

    log = home() / "finetui.log"
    text = "".join(traceback.format_exception(error))
    where: Path | None = log
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(sys.argv)}\n{text}\n")
    except OSError:
        where = None
    why = f"{type(error).__name__}: {str(error) or 'no message'}".splitlines()[0]
    todo = "try again, and report this if it stays"
    return UserError("something went wrong that should not", why, todo, code=1, log=str(where or "") or None)
