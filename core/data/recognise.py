"""Says what a dataset is: its format, how sure that is, and what each column becomes."""

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from core.data.files import Row
from core.errors import UserError, nearest

# Names that people give to a role, the usual one first. Compared without case, spaces and underscores.
NAMES: dict[str, tuple[str, ...]] = {
    "messages": ("messages", "conversations", "conversation", "dialog", "dialogue", "chat", "turns"),
    "prompt": ("prompt", "instruction", "question", "query", "user", "human", "problem", "input"),
    "completion": (
        "completion",
        "output",
        "response",
        "answer",
        "assistant",
        "gpt",
        "target",
        "solution",
        "reply",
    ),
    "input": ("input", "context"),
    "system": ("system", "systemprompt", "systemmessage"),
    "text": ("text", "content", "document", "story"),
}
REJECTED = ("rejected", "rejectedmessages", "responsek", "rejectedresponse")

TRAINED = ("alpaca", "sharegpt", "messages", "completion", "text")
HOW_TO_MAP = "say which column is what, as in --column prompt=NAME --column completion=NAME"


@dataclass(frozen=True)
class Recognised:
    """`format` is one of TRAINED, or preference, kto, tools, questions, unknown, which cannot be trained yet.

    `confidence` is the share of looked-at rows that have this shape, lowered where a name had to be guessed.
    `roles` maps a role (prompt, completion, input, system, messages, text) to its column.
    """

    format: str
    confidence: float
    roles: dict[str, str] = field(default_factory=dict)
    refusal: str = ""
    """Why it cannot be trained, where it cannot."""
    ignored: tuple[str, ...] = ()
    """Columns that say something which is not used, such as ranked answers beside a plain one."""


def recognise(rows: list[Row], format: str = "auto", columns: dict[str, str] | None = None) -> Recognised:
    """The format of `rows`. UserError: mapped columns that are not there, or a format that does not fit."""
    if columns:
        return _as_mapped(rows, format, columns)
    looked_at = [shape_of(row) for row in rows[:200]]
    by_shape = Counter((one.format, str(one.roles)) for one in looked_at)
    commonest, count = by_shape.most_common(1)[0]
    first = next(one for one in looked_at if (one.format, str(one.roles)) == commonest)
    result = replace(first, confidence=round(first.confidence * count / len(looked_at), 2))
    if format not in ("auto", result.format):
        return _as_told(result, format, rows)
    return result


def shape_of(row: Row) -> Recognised:
    """What one row looks like."""
    known = {key.lower().replace("_", "").replace(" ", "").replace("-", ""): key for key in row}

    def column(role: str) -> str | None:
        return next((known[name] for name in NAMES[role] if name in known), None)

    ranked = any(name in known for name in REJECTED)
    ignored = tuple(known[name] for name in ("chosen", "rejected") if name in known)
    turns = column("messages")
    instructed = column("system")
    system = {"system": instructed} if instructed and instructed != turns else {}
    if turns and (found := _turns(row[turns])):
        if ranked:
            return Recognised(
                "preference", 1.0, {}, _later("preference pairs (a chosen and a rejected answer)")
            )
        if isinstance(row.get("label"), bool):
            return Recognised("kto", 1.0, {}, _later("answers labelled good or bad (KTO)"))
        if found == "questions":
            return Recognised(
                "questions", 1.0, {}, "it holds questions without answers, so nothing would be learned"
            )
        if row.get("tools") or _speaks_to_tools(row[turns]):
            return Recognised("tools", 1.0, {}, _later("conversations with tool calls"))
        return Recognised(found, 1.0, {"messages": turns, **system})
    answer, question = column("completion"), column("prompt")
    if answer and question and answer != question:
        roles = {"prompt": question, "completion": answer, **system}
        extra = next(
            (known[name] for name in NAMES["input"] if name in known and known[name] != question), None
        )
        usual = {answer.lower(), question.lower()} & {"completion", "output", "response", "answer"}
        sure = 1.0 if usual else 0.8
        if extra:
            roles["input"] = extra
        alpaca = extra and "instruction" in question.lower()
        return Recognised("alpaca" if alpaca else "completion", sure, roles, ignored=ignored)
    if ranked:
        return Recognised("preference", 1.0, {}, _later("preference pairs (a chosen and a rejected answer)"))
    text = column("text")
    if text and isinstance(row[text], str):
        return Recognised("text", 1.0 if len(row) == 1 else 0.8, {"text": text})
    if question and not answer:
        return Recognised(
            "questions", 0.8, {}, "it holds questions without answers, so nothing would be learned"
        )
    why = f"the columns {_listed(row)} are none of the known ones"
    return Recognised("unknown", 0.0, {}, why)


def _turns(value: Any) -> str | None:
    """messages, sharegpt or questions, if `value` is a conversation."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.lstrip().startswith("[") else None
        except json.JSONDecodeError:
            return None
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(turn, dict) for turn in value):
        keys = value[0].keys()
        if "role" in keys:
            return "messages"
        return "sharegpt" if {"from", "value"} <= keys or {"user", "assistant"} & keys else None
    return "questions" if all(isinstance(turn, str) for turn in value) else None


TOOL_ROLES = {
    "tool",
    "tools",
    "function",
    "function_call",
    "observation",
    "tool_call",
    "tool_calls",
    "function_response",
}


def _speaks_to_tools(turns: Any) -> bool:
    if not isinstance(turns, list):
        return False
    return any(turn.get("role", turn.get("from")) in TOOL_ROLES or turn.get("tool_calls") for turn in turns)


def _later(what: str) -> str:
    return f"it holds {what}, which this version does not train"


def _listed(row: Row) -> str:
    names = [repr(key) if " " in key or not key else key for key in list(row)[:6]]
    return ", ".join(names) + (", …" if len(row) > 6 else "")


def _as_mapped(rows: list[Row], format: str, columns: dict[str, str]) -> Recognised:
    there = dict.fromkeys(key for row in rows[:200] for key in row)
    for role, column in columns.items():
        if role not in NAMES:
            raise UserError(f"{role} is no role of a column", f"roles are {', '.join(NAMES)}", HOW_TO_MAP)
        if column not in there:
            near = nearest(column, there)
            hint = f"did you mean {near}?" if near else HOW_TO_MAP
            raise UserError(f"there is no column {column}", f"the columns are {_listed(there)}", hint)
    if "messages" in columns:
        turns = next((kind for row in rows[:200] if (kind := _turns(row.get(columns["messages"])))), None)
        if turns not in ("messages", "sharegpt"):
            raise UserError(
                f"the column {columns['messages']} holds no conversations",
                "each row should be a list of turns with role and content, or from and value",
                "map prompt and completion instead",
            )
        return Recognised(turns, 1.0, dict(columns))
    if "completion" in columns and "prompt" in columns:
        return Recognised("alpaca" if "input" in columns else "completion", 1.0, dict(columns))
    if "text" in columns:
        return Recognised("text", 1.0, dict(columns))
    raise UserError(
        f"the mapping {', '.join(columns)} is not enough",
        "it takes prompt and completion, or messages, or text",
        HOW_TO_MAP,
    )


def _as_told(found: Recognised, format: str, rows: list[Row]) -> Recognised:
    """The user named a format that was not the first guess: taken if the rows can be read as it."""
    if format == "text":
        known = {key.lower(): key for key in rows[0]}
        text = next((known[name] for name in NAMES["text"] if name in known), None)
        if text:
            return Recognised("text", 1.0, {"text": text})
    if {format, found.format} == {"alpaca", "completion"} and found.roles:
        return Recognised(format, found.confidence, found.roles, ignored=found.ignored)
    raise UserError(
        f"the data is not {format}",
        f"its columns {_listed(rows[0])} look like {found.format}",
        f"leave the format to auto, or {HOW_TO_MAP}",
    )
