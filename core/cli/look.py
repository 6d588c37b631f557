"""The commands that look before a run: doctor and data."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli import options, show
from core.errors import UserError

if TYPE_CHECKING:
    from core.machine import Machine

SHOWN_CHARACTERS = 60


def doctor(as_json: options.Json = False) -> None:
    """What this machine has, and what stands in the way of a run (exit code 1 if something does)."""
    from core.machine import look

    machine = look()
    if as_json:
        facts = asdict(machine)
        facts["ram_bytes"] = machine.ram_total
        show.answer(facts)
    else:
        show.say(_machine(machine))
    if any(one.severity == "stop" for one in machine.findings):
        raise typer.Exit(1)


def _machine(machine: Machine) -> str:
    from core.numbers import gib

    facts = []
    for gpu in machine.gpus:
        if gpu.error:
            facts.append((f"GPU {gpu.index}", f"{gpu.name or '?'}: {gpu.error}"))
            continue
        capability = ".".join(map(str, gpu.capability or ())) or "?"
        number = "bf16" if gpu.bf16 else "no bf16" if gpu.bf16 is False else "bf16 unknown"
        memory = f"{gib(gpu.memory_free)} free of {gib(gpu.memory_total)}"
        facts.append((f"GPU {gpu.index}", f"{gpu.name or '?'}, {memory}, capability {capability}, {number}"))
        for process in gpu.processes:
            who = process.name or "a process outside this container"
            facts.append(("", f"  held by {who} (pid {process.pid}): {gib(process.bytes)}"))
    if not machine.gpus:
        facts.append(("GPU", f"none ({machine.nvml})" if machine.nvml else "none"))
    if machine.driver:
        cuda = ".".join(map(str, machine.cuda_driver or ())) or "?"
        facts.append(("driver", f"{machine.driver}, CUDA up to {cuda}"))
    torch = machine.torch
    built = f"CUDA {torch.cuda}" if torch and torch.cuda else "built for the CPU"
    facts.append(("torch", f"{torch.version}, {built}" if torch else "not installed"))
    facts.append(("CPU", f"{machine.cpu_name}, {machine.cpus} cores"))
    facts.append(("RAM", f"{gib(machine.ram_available)} free of {gib(machine.ram_total)}"))
    for disk in machine.disks:
        facts.append((f"disk, {disk.purpose}", f"{gib(disk.free)} free of {gib(disk.total)} at {disk.path}"))
    hub = machine.hub
    facts.append(("Hub", f"token in {hub.where}" if hub.token_found else "not logged in"))
    found = [asdict(one) for one in machine.findings]
    text = show.pairs(facts)
    return f"{text}\n\n{show.findings(found)}" if found else f"{text}\n\nNothing stands in the way."


def data(
    source: Annotated[str, typer.Argument(help="File, folder, Hub id or URL.")],
    model: options.Model = None,
    template: Annotated[
        str, typer.Option("--template", metavar="T", help="auto, a named template or a Jinja file.")
    ] = "auto",
    format: Annotated[
        str, typer.Option(help="auto, alpaca, sharegpt, messages, completion or text.")
    ] = "auto",
    split: Annotated[str, typer.Option(help="Which split of a data set.")] = "train",
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="ROLE=NAME", help="What a column is, such as prompt=question."),
    ] = None,
    learn: Annotated[str, typer.Option(help="What is learned: assistant or all.")] = "assistant",
    length: Annotated[int | None, typer.Option(help="Most tokens of a row.")] = None,
    limit: Annotated[int | None, typer.Option(help="Read only this many rows.")] = None,
    row: Annotated[int, typer.Option(help="Which row is shown as the example (from 1).")] = 1,
    as_json: options.Json = False,
) -> None:
    """What a dataset holds, what is wrong with it, and with --model one row as the model will learn it."""
    from core.job import run_job
    from core.prepare import inspect_request
    from core.spec import parse_spec

    described: dict[str, Any] = {"source": source, "format": format, "split": split, "limit": limit}
    described["columns"] = dict(_column(one) for one in column or [])
    mapping = {"data": described, "template": template, "learn": learn, "length": length}
    spec = parse_spec({**mapping, "model": model or "none"}, "this call")
    tell, wipe = show.progress(not as_json)
    try:
        report = run_job(
            "core.data.inspect", {**inspect_request(spec, row=max(0, row - 1)), "model": model}, tell
        )
    finally:
        wipe()
    if as_json:
        show.answer(report)
    else:
        show.say(_report(report))
    if any(one["severity"] == "stop" for one in report["findings"]):
        raise typer.Exit(1)


def _column(text: str) -> tuple[str, str]:
    role, equals, name = text.partition("=")
    if not equals:
        raise UserError(f"--column {text} is not understood", "it has no =", "write --column prompt=question")
    return role, name


def _report(report: dict[str, Any]) -> str:
    from core.numbers import count, percent

    facts = [
        ("format", f"{report['format']} ({percent(report['confidence'])} sure)"),
        ("rows", f"{report['rows']:,}: {report['train_rows']:,} train, {report['eval_rows']:,} held out"),
        ("columns", _columns(report["columns"])),
    ]
    template = report.get("template")
    if template:
        learned = "learned" if template["end_learned"] else "NOT learned"
        facts.append(("template", f"{template['name']}: {template['why']}"))
        facts.append(("end", f"{template['end']} ({learned})"))
    lengths = report.get("lengths")
    if lengths:
        facts.append(
            (
                "tokens a row",
                f"median {lengths['p50']:,.0f}, 95 % up to {lengths['p95']:,.0f}, longest {lengths['max']:,}",
            )
        )
        share = report["learned_tokens"] / max(1, report["tokens"])
        facts.append(("tokens", f"{count(report['tokens'])}, {percent(share)} of them learned"))
    text = show.pairs(facts)
    for row in report["sample"][:3]:
        short = {key: str(value)[:SHOWN_CHARACTERS] for key, value in row.items()}
        text += "\n\n" + "\n".join(f"  {show.paint(key, 'dim')}: {value}" for key, value in short.items())
    if report.get("example"):
        text += "\n\n" + _example(report["example"])
    if report["findings"]:
        text += "\n\n" + show.findings(report["findings"])
    return text


def _columns(columns: dict[str, str | None]) -> str:
    used = [f"{name} → {role}" for name, role in columns.items() if role]
    unused = [name for name, role in columns.items() if not role]
    names = ", ".join(unused[:4]) + (f" and {len(unused) - 4} more" if len(unused) > 4 else "")
    return "; ".join(filter(None, [", ".join(used), f"not used: {names}" if unused else ""])) or "none"


def _example(example: dict[str, Any]) -> str:
    """The row as the model sees it; what is learned is coloured, or set in ⟦ ⟧ without colours."""
    parts, learned = [], False
    coloured = show.paint("x", "accent") != "x"
    for token in example["tokens"]:
        if token["learned"] != learned and not coloured:
            parts.append("⟦" if token["learned"] else "⟧")
        learned = token["learned"]
        parts.append(show.paint(token["text"], "accent") if learned and coloured else token["text"])
    if learned and not coloured:
        parts.append("⟧")
    head = show.paint(
        f"row {example['row']} as the model learns it ({'coloured' if coloured else '⟦ ⟧'}):", "dim"
    )
    return f"{head}\n{''.join(parts)}"
