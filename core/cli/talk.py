"""The commands that talk to a model: chat, compare, and the demo that goes the whole way."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli import options, show
from core.errors import UserError

if TYPE_CHECKING:
    from core.chat.blocking import BlockingChat
    from core.chat.talk import Done, Loading, Message, Settings, Side

Target = Annotated[
    str | None, typer.Argument(metavar="[RUN]", help="A run's name or folder, or a model's folder.")
]
Prompt = Annotated[str | None, typer.Option("--prompt", "-p", help="Ask this and leave.")]
System = Annotated[str | None, typer.Option(help="The system prompt.")]
Checkpoint = Annotated[int | None, typer.Option(metavar="STEP", help="Talk to the checkpoint of a step.")]
Temperature = Annotated[float, typer.Option(help="0 takes the likeliest token each time.")]
TopP = Annotated[float, typer.Option("--top-p", help="Draw from the likeliest tokens up to this share.")]
MaxTokens = Annotated[int, typer.Option("--max-tokens", help="Most tokens of an answer.")]
Stop = Annotated[list[str] | None, typer.Option("--stop", help="A text that ends the answer. Repeatable.")]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same answer.")]
PlainModel = Annotated[
    str | None, typer.Option("--model", metavar="M", help="A model without a run: Hub id or folder.")
]
HELP = "/base and /tuned change sides, /system TEXT, /new, /save PATH, /quit; Ctrl-C ends an answer"


def chat(
    run: Target = None,
    model: PlainModel = None,
    prompt: Prompt = None,
    base: Annotated[
        bool, typer.Option("--base", help="Ask the base model, without what was learned.")
    ] = False,
    system: System = None,
    checkpoint: Checkpoint = None,
    temperature: Temperature = 0.7,
    top_p: TopP = 0.95,
    max_tokens: MaxTokens = 512,
    stop: Stop = None,
    seed: Seed = None,
    runs: options.Runs = None,
    as_json: options.Json = False,
) -> None:
    """Talk to what a run has learned: one question with --prompt, else line by line."""
    from core.chat.talk import Settings

    settings = Settings(temperature, top_p, max_tokens, tuple(stop or ()), seed)
    if as_json and prompt is None:
        raise UserError("--json needs --prompt", "a line chat has no one answer", "add --prompt TEXT")
    with _open(run, model, checkpoint, runs, as_json) as (talk, sides):
        side: Side = "base" if base or "tuned" not in sides else "tuned"
        if prompt is None:
            _line_chat(talk, side, sides, system, settings)
            return
        done = _ask(talk, _turns(system, prompt), side, settings, show_it=not as_json)
        if as_json:
            show.answer(done.to_dict())


def compare(
    run: Target = None,
    prompt: Prompt = None,
    system: System = None,
    checkpoint: Checkpoint = None,
    temperature: Temperature = 0.0,
    top_p: TopP = 0.95,
    max_tokens: MaxTokens = 256,
    stop: Stop = None,
    seed: Seed = 42,
    runs: options.Runs = None,
    as_json: options.Json = False,
) -> None:
    """Ask the base model and the tuned one the same, and show both answers."""
    from core.chat.talk import Settings

    settings = Settings(temperature, top_p, max_tokens, tuple(stop or ()), seed)
    if prompt is None:
        if as_json or not sys.stdin.isatty():
            raise UserError("compare needs a question", "none was given", "add --prompt TEXT")
        prompt = input("question › ")
    if run is None or _target(run, None, runs)[0] is None:
        why = "it is a plain model" if run else "no run was named"
        raise UserError(f"{run or 'compare'} has nothing to compare", why, "name a run; see finetui runs")
    with _open(run, None, checkpoint, runs, as_json) as (talk, _):
        answers: dict[str, Any] = {"prompt": prompt}
        both: tuple[Side, Side] = ("base", "tuned")
        for side in both:
            if not as_json:
                show.say(show.paint(f"{side}:", "bold"))
            answers[side] = _ask(talk, _turns(system, prompt), side, settings, show_it=not as_json).to_dict()
        if as_json:
            show.answer(answers)


def _open(
    run: str | None, model: str | None, checkpoint: int | None, runs: Path | None, as_json: bool
) -> Any:
    """A context with the loaded chat and its sides."""
    from core.chat.blocking import BlockingChat

    folder, plain = _target(run, model, runs)
    tell, wipe = show.progress(not as_json)

    @contextlib.contextmanager
    def opened() -> Iterator[tuple[BlockingChat, tuple[Side, ...]]]:
        with BlockingChat() as talk:
            try:
                ready = talk.start(
                    run=folder,
                    model=plain,
                    checkpoint=checkpoint,
                    on_stage=lambda now: tell(*_loading(now)),
                )
            finally:
                wipe()
            for note in ready.notes:
                _note(note)
            yield talk, ready.sides

    return opened()


def _loading(now: Loading) -> tuple[str, int, int | None]:
    if now.stage == "download":
        return "download, MiB", now.done >> 20, now.total >> 20 if now.total else None
    return f"loading: {now.stage}", now.done, now.total


def _target(run: str | None, model: str | None, runs: Path | None) -> tuple[Path | None, str | None]:
    """A run's folder, or the name of a plain model."""
    from core.runs.folder import find, runs_dir

    if (run is None) == (model is None):
        raise UserError("nobody to talk to", "name a run or a model, one of them", "see finetui runs")
    if run is None:
        return None, model
    try:
        return find(runs_dir(runs), run).path, None
    except UserError:
        if (Path(run).expanduser() / "config.json").exists():
            return None, str(Path(run).expanduser())
        raise


def _turns(system: str | None, prompt: str) -> list[Message]:
    before: list[Message] = [{"role": "system", "content": system}] if system else []
    return [*before, {"role": "user", "content": prompt}]


def _ask(
    talk: BlockingChat, messages: list[Message], side: Side, settings: Settings, *, show_it: bool = True
) -> Done:
    for piece in talk.generate(messages, side=side, settings=settings):
        if show_it:
            print(piece, end="", flush=True)
    assert talk.done
    if show_it:
        show.say()
    for note in talk.notes:
        _note(note)
    if show_it and sys.stdout.isatty():
        why = {"end": "", "length": ", cut at the most tokens", "asked": ", stopped"}[talk.done.stopped]
        speed = talk.done.tokens / max(talk.done.seconds, 1e-9)
        show.say(show.paint(f"{talk.done.tokens} tokens, {speed:.0f} a second{why}", "dim"))
    return talk.done


def _line_chat(
    talk: BlockingChat, side: Side, sides: tuple[Side, ...], system: str | None, settings: Settings
) -> None:
    """A conversation a line at a time, from a person or a pipe."""
    person = sys.stdin.isatty()
    if person:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  # input() then edits the line and remembers earlier ones
        show.say(show.paint(HELP, "dim"))
    history: list[Message] = []
    while (line := _read(side, person)) is not None:
        word, _, rest = line.strip().partition(" ")
        if not word:
            continue
        if word in ("/quit", "/exit"):
            return
        if word == "/new":
            history = []
        elif word == "/system":
            system = rest.strip() or None
        elif word in ("/base", "/tuned"):
            asked: Side = "base" if word == "/base" else "tuned"
            if asked in sides:
                side = asked
            else:
                _note(f"there is no {asked} side here")
        elif word == "/save":
            _saved(talk, rest.strip())
        elif word.startswith("/"):
            _note(HELP)
        else:
            question: Message = {"role": "user", "content": line}
            before: list[Message] = [{"role": "system", "content": system}] if system else []
            try:
                done = _ask(talk, [*before, *history, question], side, settings)
            except KeyboardInterrupt:
                show.say()
                if talk.done is None:
                    raise
                done = talk.done
            except UserError as error:  # the conversation goes on without this question
                print(error.line(), file=sys.stderr)
                continue
            history += [question, {"role": "assistant", "content": done.answer}]


def _read(side: Side, person: bool) -> str | None:
    """The next line, None at the end of input."""
    try:
        return input(f"{side} › " if person else "")
    except (EOFError, KeyboardInterrupt):
        if person:
            show.say()
        return None


def _saved(talk: BlockingChat, path: str) -> None:
    try:
        show.say(f"saved in {talk.save_transcript(path or 'chat.md')}")
    except UserError as error:
        print(error.line(), file=sys.stderr)


def _note(text: str) -> None:
    print(show.paint(f"note: {text}", "dim", sys.stderr), file=sys.stderr)


def demo(runs: options.Runs = None, as_json: options.Json = False) -> None:
    """The whole way on a small model that ships with finetui: no network, no GPU, a few minutes."""
    from core.demo.demo import run_demo

    run_demo(runs=runs, as_json=as_json)
