"""What rows are when the user says which column is what."""

from collections.abc import Sequence

from core.data.formats.columns import HOW_TO_MAP, listed
from core.data.formats.shapes import FAMILIES, Shape
from core.data.formats.turns import dialect
from core.data.sources.source import Row
from core.errors import UserError, nearest

CORE = ("prompt", "completion", "messages", "text", "chosen", "rejected", "label")
"""Roles that say which format it is; the others stand beside any of them."""

IS_ENOUGH = "it takes prompt and completion, or messages, or text, or chosen and rejected"


def as_mapped(rows: Sequence[Row], roles: dict[str, str], format: str, made: bool) -> Shape | None:
    """The shape that a mapping makes; None where it only names what stands beside the rest.

    `made`: the prompt is made from an instruction's columns. UserError: a column is not there, or the
    roles do not go together.
    """
    there = list(dict.fromkeys(key for row in rows for key in row))
    for column in roles.values():
        if column not in there:
            near = nearest(column, there)
            hint = f"did you mean {near}?" if near else HOW_TO_MAP
            raise UserError(f"there is no column {column}", f"the columns are {listed(there)}", hint)
    needed = {role: column for role, column in roles.items() if role in CORE}
    if not needed:
        return None
    beside = {role: column for role, column in roles.items() if role not in CORE}
    family = _family(needed, beside, made)
    kind = "alpaca" if family == "pair" and ("input" in beside or format == "alpaca") else "completion"
    if "messages" in needed:
        kind = _turns(rows, needed["messages"])
    name = kind if family in ("pair", "turns") else family
    if format != "auto" and FAMILIES.get(format) != family:
        raise UserError(
            f"the mapping is not {format}",
            f"the roles {', '.join(needed)} make it {name}",
            "leave the format to auto, or map other columns",
        )
    return Shape(family, name, 1.0, f"mapped: {listed(roles)}", needed, beside)


def _family(needed: dict[str, str], beside: dict[str, str], made: bool) -> str:
    has = set(needed)
    if "text" in has:
        family = "text" if has == {"text"} else ""
    elif has & {"chosen", "rejected"}:
        fits = {"chosen", "rejected"} <= has and not has & {"completion", "label"}
        family = "preference" if fits and not {"prompt", "messages"} <= has else ""
    elif "messages" in has:
        family = {1: "turns", 2: "kto" if "label" in has else ""}.get(len(has), "")
    elif "completion" in has and ("prompt" in has or made):
        family = "kto" if "label" in has else "pair"
    else:
        family = ""
    if not family and (len(has) < 2 or has <= {"prompt", "label"}):
        what = f"the mapping {', '.join([*needed, *beside])} is not enough"
        raise UserError(what, IS_ENOUGH, HOW_TO_MAP)
    if not family:
        what = f"the roles {', '.join(needed)} do not go together"
        raise UserError(what, IS_ENOUGH, "leave one of them out")
    return family


def _turns(rows: Sequence[Row], column: str) -> str:
    kind = next((kind for row in rows if (kind := dialect(row.get(column)))), None)
    if kind is None:
        raise UserError(
            f"the column {column} holds no conversations",
            "each row should be a list of turns with role and content, or from and value",
            "map prompt and completion instead",
        )
    return "sharegpt" if kind == "strings" else kind
