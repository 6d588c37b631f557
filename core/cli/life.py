"""The commands of a run's life: train, runs, attach, stop, save, resume, rm."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli import options, show
from core.errors import UserError

if TYPE_CHECKING:
    from core.prepare import Prepared
    from core.runs.folder import RunFolder

Detach = Annotated[bool, typer.Option("--detach", help="Start and return at once.")]
Anyway = Annotated[bool, typer.Option("--anyway", help="Start even if another run holds the GPU.")]
INTERRUPTED = 130


def train(
    file: options.SpecFile = None,
    model: options.Model = None,
    data: options.Data = None,
    method: options.Method = None,
    changes: options.Set = None,
    name: Annotated[str | None, typer.Option(help="What the run is called.")] = None,
    detach: Detach = False,
    anyway: Anyway = False,
    runs: options.Runs = None,
    as_json: options.Json = False,
) -> None:
    """Start a run that lives on by itself, and follow it. Ctrl-C leaves it alone."""
    from core.prepare import prepare
    from core.runs.folder import runs_dir
    from core.runs.start import start

    changes = [*(changes or []), *([f"name={name}"] if name else [])]
    spec = options.spec_of(file, model, data, method, changes)
    tell, wipe = show.progress(not as_json)
    try:
        prepared = prepare(spec, tell)
    finally:
        wipe()
    if not as_json:
        show.say(_summary(prepared))
    prepared.refuse_if_stopped(runs_dir(runs))
    run = start(prepared.spec, runs_dir(runs), anyway=anyway)
    _started(run, runs, detach, as_json, frozenset(one["message"] for one in prepared.findings()))


def resume(
    run: options.RunName,
    detach: Detach = False,
    anyway: Anyway = False,
    runs: options.Runs = None,
    as_json: options.Json = False,
) -> None:
    """Continue a stopped or lost run from its newest checkpoint, with its own settings."""
    from core.runs import start

    folder = _find(run, runs)
    start.resume(folder, anyway=anyway)
    _started(folder, runs, detach, as_json)


def attach(
    run: options.RunName,
    plain: Annotated[bool, typer.Option("--plain", help="Lines of text, no screen.")] = False,
    runs: options.Runs = None,
    as_json: options.Json = False,
) -> None:
    """Watch a run, from any number of terminals; Ctrl-C leaves it alone."""
    _watch(_find(run, runs), runs, as_json)


def _started(
    run: RunFolder, runs: Path | None, detach: bool, as_json: bool, known: frozenset[str] = frozenset()
) -> None:
    if detach:
        if as_json:
            show.answer({"run": run.name, "folder": str(run.path)})
        else:
            show.say(f"{show.paint(run.name, 'bold')} runs by itself, in {run.path}")
            show.say(f"Watch it with: finetui attach {run.name}{_where(runs)}")
        return
    if not as_json:
        show.say(f"{show.paint(run.name, 'bold')} runs by itself; Ctrl-C leaves it alone.")
    _watch(run, runs, as_json, known)


def _watch(run: RunFolder, runs: Path | None, as_json: bool, known: frozenset[str] = frozenset()) -> None:
    from core.cli.follow import follow

    try:
        now, history = follow(run, quiet=as_json, known=known)
    except KeyboardInterrupt:
        where = _where(runs)
        print(
            f"\n{run.name} goes on without you. Come back: finetui attach {run.name}{where}   "
            f"End it: finetui stop {run.name}{where}",
            file=sys.stderr,
        )
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        show.answer({**_row(run, now.state, history), "why": now.why})
    elif now.state == "finished":
        show.say(f"Talk to it: finetui chat {run.name}{_where(runs)}")
    if now.state in ("failed", "died"):
        raise typer.Exit(1)


def runs(runs: options.Runs = None, as_json: options.Json = False) -> None:
    """Every run of this machine, newest first."""
    from core.numbers import duration
    from core.runs.folder import every, runs_dir
    from core.runs.history import replay
    from core.runs.state import status

    where = runs_dir(runs)
    found = []
    for run in every(where):
        history = replay(run)
        now = status(run, history)
        found.append({**_row(run, now.state, history), "why": now.why})
    if as_json:
        show.answer(found)
        return
    if not found:
        show.say(f"No runs in {where} yet. Start one: finetui train, or finetui for the wizard.")
        return

    def line(one: dict[str, Any]) -> list[str]:
        steps = f"{one['step']:,}/{one['steps']:,}" if one["steps"] else "-"
        loss = f"{one['loss']:.3f}" if one["loss"] is not None else "-"
        ago = f"{duration(time.time() - one['started'])} ago" if one["started"] else "-"
        return [one["run"], one["state"], steps, loss, ago, one["why"][:50]]

    show.say(
        show.table([line(one) for one in found], ["run", "state", "step", "loss", "started", ""], (2, 3))
    )


def stop(
    run: options.RunName,
    now: Annotated[bool, typer.Option("--now", help="Do not wait for the step; ends within 30 s.")] = False,
    runs: options.Runs = None,
    as_json: options.Json = False,
) -> None:
    """End a run; it saves first and can be resumed."""
    from core.runs import control
    from core.runs.state import status

    folder = _find(run, runs)
    control.stop(folder, now=now)
    state = status(folder).state
    if as_json:
        show.answer({"run": folder.name, "state": state})
    elif now:
        show.say(f"{folder.name} is {state}. Go on with: finetui resume {folder.name}{_where(runs)}")
    else:
        show.say(f"{folder.name} saves after this step and ends. Go on with: finetui resume {folder.name}")


def save(run: options.RunName, runs: options.Runs = None, as_json: options.Json = False) -> None:
    """Have a run save a checkpoint after its next step."""
    from core.runs import control
    from core.runs.state import status

    folder = _find(run, runs)
    control.save(folder)
    if as_json:
        show.answer({"run": folder.name, "state": status(folder).state})
    else:
        show.say(f"{folder.name} saves a checkpoint after this step.")


def rm(
    run: options.RunName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    runs: options.Runs = None,
    as_json: options.Json = False,
) -> None:
    """Delete a run with all that it made. A running one is refused."""
    from core.numbers import gib
    from core.runs import control
    from core.runs.state import status

    folder = _find(run, runs)
    if status(folder).live:
        control.remove(folder)  # refuses, and says why
    size = sum(path.stat().st_size for path in folder.path.rglob("*") if path.is_file())
    if not yes:
        if as_json or not sys.stdin.isatty():
            todo = f"say so with: finetui rm {folder.name} --yes"
            raise UserError(f"{folder.name} is not deleted", "nobody can be asked here", todo)
        if not typer.confirm(f"Delete {folder.name} ({gib(size)}) for ever?"):
            show.say("Nothing was deleted.")
            raise typer.Exit(1)
    control.remove(folder)
    if as_json:
        show.answer({"run": folder.name, "removed": True, "bytes": size})
    else:
        show.say(f"{folder.name} is deleted, {gib(size)} are free again.")


def _find(name: str, runs: Path | None) -> RunFolder:
    from core.runs.folder import find, runs_dir

    return find(runs_dir(runs), name)


def _where(runs: Path | None) -> str:
    return f" --runs {runs}" if runs else ""


def _row(run: RunFolder, state: str, history: Any) -> dict[str, Any]:
    return {
        "run": run.name,
        "state": state,
        "step": history.step,
        "steps": history.steps_total,
        "loss": history.loss,
        "started": history.started,
        "folder": str(run.path),
    }


def _summary(prepared: Prepared) -> str:
    """What is about to start, in a few lines."""
    from core.numbers import count, duration, money, rate
    from core.plan.objective import ABOUT, NAMES

    spec, shape, report = prepared.spec, prepared.shape, prepared.report
    chosen = next((one for one in prepared.plan.methods if one.method == spec.method), None)
    long = f"{spec.steps:,} steps" if spec.steps else f"{spec.epochs:g} epochs"
    facts = [
        ("model", f"{spec.model}, {count(shape.parameters)} parameters"),
        ("data", f"{spec.data.source}: {report['train_rows']:,} rows, {report['eval_rows']:,} held out"),
        ("method", f"{spec.method}: {prepared.plan.reason}"),
        (
            "run",
            f"{long}, batch {spec.batch} x {spec.accumulate}, length {spec.length:,}, "
            f"rate {rate(spec.learning_rate)}"
            + (f", about {duration(chosen.seconds)}" if chosen and chosen.seconds else "")
            + (f" and {money(chosen.cost)} to pay" if chosen and chosen.cost is not None else ""),
        ),
    ]
    objective = prepared.plan.objective
    if objective != "sft":
        facts.insert(2, ("learns", f"{NAMES[objective]}, beta {spec.beta:g}: {ABOUT[objective]}"))
    found = [one for one in prepared.findings() if one["severity"] != "info"]
    text = show.pairs(facts)
    return f"{text}\n{show.findings(found)}" if found else text
