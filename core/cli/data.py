"""The command that looks at data: what they hold, what is wrong, and one row as the model learns it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from core.cli import options, show
from core.errors import UserError

SHOWN_CHARACTERS = 60
SHOWN_TOKENS = 400

Pairs = list[str] | None


def data(
    source: Annotated[str, typer.Argument(help="File, folder, Hub id or URL.")],
    model: options.Model = None,
    template: Annotated[
        str, typer.Option("--template", metavar="T", help="auto, a named template or a Jinja file.")
    ] = "auto",
    format: Annotated[
        str,
        typer.Option(
            help="auto, alpaca, sharegpt, messages, completion, text, preference or kto.", metavar="F"
        ),
    ] = "auto",
    config: Annotated[str | None, typer.Option(help="Which configuration of a data set of the Hub.")] = None,
    split: Annotated[str, typer.Option(help="Which split, or a slice: train[:1000].")] = "train",
    column: Annotated[
        Pairs,
        typer.Option("--column", metavar="ROLE=NAME", help="What a column is, such as prompt=question."),
    ] = None,
    instruction: Annotated[
        str | None, typer.Option(help="Words before each prompt; with {column}, what the prompt is made of.")
    ] = None,
    fill: Annotated[
        Pairs, typer.Option("--fill", metavar="NAME=WORDS", help="What stands for a {{NAME}} in the rows.")
    ] = None,
    learn: Annotated[
        str, typer.Option(help="What is learned: assistant, last, completion or all.")
    ] = "assistant",
    length: Annotated[int | None, typer.Option(help="Most tokens of a row.")] = None,
    long: Annotated[str, typer.Option(help="What becomes of longer rows: cut, drop or split.")] = "cut",
    drop: Annotated[
        Pairs, typer.Option("--drop", metavar="CODE", help="Leave out rows with this finding. Repeatable.")
    ] = None,
    mend: Annotated[
        Pairs, typer.Option("--mend", metavar="CODE", help="Mend this finding in the text. Repeatable.")
    ] = None,
    eval: Annotated[
        str | None, typer.Option("--eval", metavar="E", help="Held out: a share, a file or a split.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Read only this many rows.")] = None,
    row: Annotated[int, typer.Option(help="Which row is shown as the example (from 1).")] = 1,
    head: Annotated[bool, typer.Option("--head", help="Look at the head alone: a second or two.")] = False,
    as_json: options.Json = False,
) -> None:
    """What a dataset holds, what is wrong with it, and with --model one row as the model will learn it."""
    from core.job import run_job
    from core.prepare import anchored, inspect_request
    from core.spec import parse_spec

    described: dict[str, Any] = {
        "source": source,
        "format": format,
        "config": config,
        "split": split,
        "columns": dict(_pair("--column", one, "prompt=question") for one in column or []),
        "instruction": instruction,
        "fill": dict(_pair("--fill", one, "name=Ada") for one in fill or []),
        "limit": limit,
        "long": long,
        "drop": drop or [],
        "mend": mend or [],
    }
    if eval is not None:
        described["eval"] = eval
    mapping = {"data": described, "template": template, "learn": learn, "length": length}
    spec = parse_spec({**mapping, "model": model or "none"}, "this call")
    request = {**inspect_request(anchored(spec), row=max(0, row - 1), preview=head), "model": model}
    tell, wipe = show.progress(not as_json)
    try:
        report = run_job("core.data.inspect", request, tell)
    finally:
        wipe()
    if as_json:
        show.answer(report)
    else:
        show.say(_report(report))
    if any(one["severity"] == "stop" for one in report["findings"]):
        raise typer.Exit(1)


def _pair(option: str, text: str, such: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"{option} {text} is not understood", "it has no =", f"write {option} {such}")
    return name, value


def _report(report: dict[str, Any]) -> str:
    from core.numbers import count, percent

    facts = [(_name(number, report), _source(one)) for number, one in enumerate(report["sources"])]
    facts += [("rows", _rows(report)), ("columns", _columns(report["columns"]))]
    template = report.get("template")
    if template:
        learned = "learned" if template["end_learned"] else "NOT learned"
        facts.append(("template", f"{template['name']}: {template['why']}"))
        facts.append(("end", f"{template['end']} ({learned})"))
    lengths = report.get("lengths")
    if lengths:
        spread = f"median {lengths['p50']:,}, 95 % up to {lengths['p95']:,}, longest {lengths['max']:,}"
        facts.append(("tokens a row", spread))
        share = report["learned_tokens"] / max(1, report["tokens"])
        facts.append(("tokens", f"{count(report['tokens'])}, {percent(share)} of them learned"))
    fates = _fates(report.get("fates") or {})
    if fates:
        facts.append(("long rows", fates))
    text = show.pairs(facts)
    for row in report["sample"][:3]:
        short = {key: str(value)[:SHOWN_CHARACTERS] for key, value in row.items()}
        text += "\n\n" + "\n".join(f"  {show.paint(key, 'dim')}: {value}" for key, value in short.items())
    if report.get("example"):
        text += "\n\n" + _example(report["example"])
    if report["findings"]:
        text += "\n\n" + show.findings(report["findings"])
    return text


def _name(number: int, report: dict[str, Any]) -> str:
    return "format" if len(report["sources"]) == 1 else f"source {number + 1}"


def _source(one: dict[str, Any]) -> str:
    from core.numbers import percent

    why = f", {one['why']}" if one["why"] else ""
    return f"{one['format']} ({percent(one['confidence'])} sure{why})"


def _rows(report: dict[str, Any]) -> str:
    pieces = "pieces to train on" if (report.get("fates") or {}).get("split") else "train"
    parts = f"{report['train_rows']:,} {pieces}, {report['eval_rows']:,} held out"
    if report["complete"]:
        return f"{report['rows']:,}: {parts}"
    rows = report["rows"] or report["rows_estimate"]
    about = "" if report["rows"] else "about "
    return f"{about}{rows:,}, by the head: {parts}" if rows else f"not counted; in the head {parts}"


def _fates(fates: dict[str, Any]) -> str:
    told = [f"{fates[name]:,} {name}" for name in ("cut", "dropped", "split") if fates.get(name)]
    return ", ".join(told)


def _columns(columns: dict[str, str | None]) -> str:
    used = [f"{name} → {role}" for name, role in columns.items() if role]
    unused = [name for name, role in columns.items() if not role]
    names = ", ".join(unused[:4]) + (f" and {len(unused) - 4} more" if len(unused) > 4 else "")
    return "; ".join(filter(None, [", ".join(used), f"not used: {names}" if unused else ""])) or "none"


def _example(example: dict[str, Any]) -> str:
    """The row as the model sees it; what is learned is coloured, or set in ⟦ ⟧ without colours."""
    coloured = show.paint("x", "accent") != "x"
    head = f"row {example['row']} as the model learns it ({'coloured' if coloured else '⟦ ⟧'}):"
    text = f"{show.paint(head, 'dim')}\n{_tokens(example, coloured)}"
    if example.get("rejected"):
        head = show.paint("and the answer that is rejected:", "dim")
        text += f"\n\n{head}\n{_tokens(example['rejected'], coloured)}"
    if example.get("pack"):
        rows = ", ".join(map(str, example["pack"]["rows"]))
        text += "\n\n" + show.paint(f"it shares its pack with the rows {rows}", "dim")
    return text


def _tokens(side: dict[str, Any], coloured: bool) -> str:
    parts, learned = [], False
    kept = [token for token in side["tokens"] if not token["cut"]]
    for token in kept[:SHOWN_TOKENS]:
        if token["learned"] != learned and not coloured:
            parts.append("⟦" if token["learned"] else "⟧")
        learned = token["learned"]
        parts.append(show.paint(token["text"], "accent") if learned and coloured else token["text"])
    if learned and not coloured:
        parts.append("⟧")
    more = len(kept) - SHOWN_TOKENS + side["hidden"]
    if more > 0:
        parts.append(show.paint(f" … {more:,} tokens more", "dim"))
    if side["cut"]:
        parts.append(show.paint(f" [{side['cut']:,} tokens are not trained on]", "dim"))
    return "".join(parts)
