"""The job behind `finetui data` and the wizard's Data step: what a source is and what a model would see.

Run as a child process (`core.job`); everything it tells is made by the code that feeds the trainer.
"""

import sys
from typing import Any

from core.data import lengths
from core.data.conversation import Conversation
from core.data.convert import fingerprint
from core.data.findings import Tally
from core.data.mask import Refused, Rendered, render
from core.data.rows import (
    Data,
    Progress,
    about_held_out,
    choose_template,
    read,
    read_held_out,
    split,
    tokenise,
)
from core.data.templates import Template
from core.spec import parse_spec

SAMPLE_ROWS, SAMPLE_CHARACTERS = 10, 200
EXAMPLE_TOKENS = 8_000  # a row of two megabytes would be half a million


def answer(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The report on a source. With `model` (a model or a folder with its tokenizer alone) also its tokens.

    `row` counts from 0; the example is the first row from there on that can be shown. UserError: what
    cannot be read, or a model or template that cannot be used. Data that cannot be trained on is no
    error here but a finding that stops, so that its columns can be looked at and mapped.
    """
    spec = parse_spec(
        {
            "model": request.get("model") or "none",
            "data": {
                "source": request["source"],
                **{key: request[key] for key in ("format", "split", "columns") if request.get(key)},
                **{key: request[key] for key in ("limit", "eval") if request.get(key) is not None},
            },
            **{key: request[key] for key in ("template", "learn", "seed") if request.get(key) is not None},
            "length": request.get("length"),
        },
        "the request",
    )
    progress("read", 0, None)
    tally, held_tally = Tally(), Tally()
    data = read(spec.data, tally)
    apart = None if isinstance(spec.data.eval, float) else read_held_out(spec.data, held_tally)
    report = _about_source(request["source"], data)
    counted: list[Any] = data.conversations
    if request.get("model"):
        progress("tokenizer", 0, None)
        from core.data.tokenizer import load_tokenizer

        tokenizer = load_tokenizer(request["model"], request.get("revision"))
        template = choose_template(data, spec.template, tokenizer, tally)
        done = tokenise(data, tokenizer, template, spec.learn, spec.length, tally, progress)
        counted = done.rows
        shown = _example(data.conversations, int(request.get("row") or 0), tokenizer, template, spec)
        report |= {
            "template": _about_template(template, shown),
            "lengths": lengths.describe(done.whole) if done.whole else None,
            "tokens": sum(len(row["input_ids"]) for row in done.rows),
            "learned_tokens": sum(sum(row["learned"]) for row in done.rows),
            "longer_than_length": sum(spec.length is not None and one > spec.length for one in done.whole),
            "example": _tokens(shown, spec.length) if shown else None,
        }
    if isinstance(spec.data.eval, float) and counted:
        train, held_out = split(counted, spec.data.eval, spec.seed)
        report |= {"train_rows": len(train), "eval_rows": len(held_out)}
    else:
        report |= {"train_rows": len(counted), "eval_rows": len(apart.conversations) if apart else 0}
    findings = tally.findings(len(data.rows))
    if apart:
        findings += about_held_out(held_tally.findings(len(apart.rows)))
    return {**report, "findings": [finding.to_dict() for finding in findings]}


def _about_source(source: str, data: Data) -> dict[str, Any]:
    columns = list(dict.fromkeys(key for row in data.rows[:200] for key in row))
    role_of = {column: role for role, column in data.found.roles.items()}
    return {
        "source": source,
        "format": data.found.format,
        "confidence": data.found.confidence,
        "rows": len(data.rows),
        "columns": {column: role_of.get(column) for column in columns},
        "sample": [
            {column: _short(value) for column, value in row.items()} for row in data.rows[:SAMPLE_ROWS]
        ],
        "fingerprint": fingerprint(data.conversations),
        "template": None,
        "lengths": None,
        "tokens": None,
        "learned_tokens": None,
        "longer_than_length": None,
        "example": None,
    }


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return text if len(text) <= SAMPLE_CHARACTERS else text[: SAMPLE_CHARACTERS - 1] + "…"


def _about_template(template: Template | None, shown: Rendered | None) -> dict[str, Any] | None:
    if template is None:
        return None
    return {
        "name": template.name,
        "origin": template.origin,
        "end": template.end_token,
        "end_learned": bool(shown and shown.ends),
        "why": template.why,
    }


def _example(
    conversations: list[Conversation], row: int, tokenizer: Any, template: Template | None, spec: Any
) -> Rendered | None:
    """The first row from `row` on, or else the first of all, that can be rendered."""
    later = [one for one in conversations if one.row > row]
    for one in [*later[:50], *conversations[:50]]:
        shown = render(one, tokenizer, template, spec.learn)
        if not isinstance(shown, Refused):
            return shown
    return None


def _tokens(shown: Rendered, length: int | None) -> dict[str, Any]:
    """`text` is what the tokens spell, without what is cut; `cut` and `hidden` count tokens not listed."""
    kept = min(len(shown.ids), length or len(shown.ids))
    listed = min(kept, EXAMPLE_TOKENS)
    tokens, at = [], 0
    for place in range(listed):
        # tokens that share a character (bytes of one emoji): the first shows it, the others show nothing
        end = max(at, shown.offsets[place][1])
        tokens.append(
            {"id": shown.ids[place], "text": shown.text[at:end], "learned": bool(shown.learned[place])}
        )
        at = end
    return {
        "row": shown.row,
        "text": shown.text[:at],
        "tokens": tokens,
        "cut": len(shown.ids) - kept,
        "hidden": kept - listed,
    }


if __name__ == "__main__":
    # tokenizers do without torch, and importing it takes longer than reading most datasets
    sys.modules["torch"] = None  # type: ignore[assignment]
    from core.job import serve

    serve(answer)
