"""Says what a dataset is: its format, how sure that is, by what, and what each column becomes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from core.data.findings import Finding, Remedy
from core.data.formats import shapes
from core.data.formats.columns import HOW_TO_MAP, listed, verdict
from core.data.formats.mapped import as_mapped
from core.data.formats.shapes import FAMILIES, Shape
from core.data.formats.wording import Parts, parts_of
from core.data.sources.source import Row
from core.errors import UserError
from core.spec import SourceSpec

TRAINED = ("alpaca", "sharegpt", "messages", "completion", "text", "preference", "kto")
LOOKED_AT = 200
AUTO = SourceSpec(source="-")


@dataclass(frozen=True)
class Recognised:
    """`format` is one of TRAINED, or questions or unknown, which cannot be trained on.

    `confidence` is the share of looked-at rows that have this shape, lowered where a name had to be
    guessed. `roles` maps a role of the spec to its column.
    """

    format: str
    confidence: float
    roles: dict[str, str] = field(default_factory=dict)
    why: str = ""
    """What it was recognised by, in a short phrase."""
    refusal: str = ""
    """Why it cannot be trained on, where it cannot."""
    findings: tuple[Finding, ...] = ()
    """What was guessed, or holds something that is not used."""
    fixed: bool = False
    """Whether the user said the format or the columns: then no row is read in another way."""
    template: Parts = ()
    """What the prompt is made of, where the spec's instruction names columns."""

    @property
    def objective(self) -> str:
        """What such rows can teach: sft, dpo or kto."""
        return {"preference": "dpo", "kto": "kto"}.get(self.format, "sft")


def recognise(rows: Sequence[Row], spec: SourceSpec = AUTO) -> Recognised:
    """The format of the rows at a source's head, of which the first 200 count.

    UserError: mapped columns or columns of the instruction that are not there, or a format that does not fit.
    """
    rows = rows[:LOOKED_AT]
    there = list(dict.fromkeys(key for row in rows for key in row))
    template = parts_of(spec.instruction, there) if spec.instruction else ()
    asked = tuple(column for _, column in template if column)
    if not rows:
        return Recognised("unknown", 0.0, refusal="it has no rows")
    roles = {str(role): column for role, column in spec.columns.items()}
    shape = as_mapped(rows, roles, spec.format, bool(asked)) if roles else None
    found = _as(shape, 1.0) if shape else _commonest(rows, asked, spec.format)
    if shape is None and roles:  # only what stands beside was said: the rest as it is recognised
        found = replace(found, roles={**found.roles, **roles})
    if spec.format not in ("auto", found.format) and not _goes_for(spec.format, found):
        raise UserError(
            f"the data is not {spec.format}",
            f"its columns {listed(there)} look like {found.format}",
            f"leave the format to auto, or {HOW_TO_MAP}",
        )
    if spec.instruction and found.format == "text":
        raise UserError(
            "plain text takes no instruction",
            "an instruction stands before a prompt, and plain text has none",
            "leave the instruction out, or map a prompt and a completion",
        )
    if asked and "messages" in found.roles:
        raise UserError(
            "the instruction names columns",
            "these rows are conversations, so their questions are there already",
            "leave the braces out: then it stands before the first question",
        )
    fixed = bool(roles or asked) or spec.format != "auto"
    return replace(found, fixed=fixed, template=template)


def shape_of(row: Row) -> Recognised:
    """What one row looks like by itself."""
    return _as(shapes.shape_of(row), 1.0)


def _commonest(rows: Sequence[Row], asked: tuple[str, ...], format: str) -> Recognised:
    wanted = FAMILIES.get(format)
    looked_at = [shapes.shape_of(row, wanted, asked) for row in rows]
    known = [one for one in looked_at if one.family != "unknown"] or looked_at
    cores = Counter(one.core for one in known)
    core, count = cores.most_common(1)[0]
    alike = [one for one in known if one.core == core]
    label = alike[0].needed.get("label")
    if label and not wanted and any(_is_no_verdict(row.get(label)) for row in rows):
        bare = [{name: value for name, value in row.items() if name != label} for row in rows]
        return _commonest(bare, asked, format)  # classes, not verdicts
    if wanted and alike[0].family == "unknown":
        return _as(shapes.shape_of(rows[0]), 1.0)
    # what only some rows have beside, an input or tools, is a column of them all
    told = max(alike, key=lambda one: (one.answered, one.format == "alpaca", len(one.beside)))
    beside: dict[str, str] = {}
    for one in alike:
        beside = {**one.beside, **beside}
    found = _as(replace(told, beside=beside), count / len(looked_at))
    same = found.format in ("alpaca", "completion") and format in ("alpaca", "completion")
    return replace(found, format=format) if same else found


def _is_no_verdict(value: object) -> bool:
    return value is not None and verdict(value) is None


def _as(shape: Shape, share: float) -> Recognised:
    format, refusal = shape.format, shape.refusal
    if shape.family != "unknown" and not shape.answered:
        format, refusal = "questions", "it holds questions without answers, so nothing would be learned"
    roles = {} if refusal else {**shape.needed, **shape.beside}
    found = [] if refusal else _findings(shape)
    return Recognised(format, round(shape.sure * share, 2), roles, shape.why, refusal, tuple(found))


def _goes_for(format: str, found: Recognised) -> bool:
    return found.format in TRAINED and FAMILIES.get(format) == FAMILIES.get(found.format)


def _findings(shape: Shape) -> list[Finding]:
    found: list[Finding] = []
    if shape.guessed:
        message = f"no column says by its name what it is: {shape.guessed}"
        todo = f"if that is wrong, {HOW_TO_MAP}"
        found.append(Finding("warn", "guessed_columns", message, (), todo))
    if shape.ranked:
        message = f"{' and '.join(shape.ranked)} hold ranked answers, which are not used beside a plain one"
        remedy = Remedy("learn which is preferred", {"data.format": "preference"})
        todo = "set the format to preference to learn which is preferred"
        found.append(Finding("info", "ignored_columns", message, (), todo, remedies=(remedy,)))
    for role, column in shape.rivals:
        used = shape.needed[role]
        message = f"{used} is taken for the {role}, though {column} could be it as well"
        if role == "prompt":
            asked = [used, column, *filter(None, [shape.beside.get("input")])]
            template = "\n\n".join(f"{{{name}}}" for name in asked)
            remedy = Remedy("put both in the prompt", {"data.instruction": template})
        else:
            columns = {**shape.needed, **shape.beside, role: column}
            remedy = Remedy(f"learn {column} instead", {"data.columns": columns})
        found.append(Finding("info", "unused_column", message, (), HOW_TO_MAP, remedies=(remedy,)))
    if "weight" in shape.beside:
        message = f"the column {shape.beside['weight']} says how much a row counts"
        found.append(Finding("info", "row_weights", message))
    return found
