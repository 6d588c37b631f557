"""From the sources of a spec to conversations, one row after another; nothing is held but a source's head."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from core.data.check.screen import Screen
from core.data.conversation import Conversation
from core.data.findings import Finding, Tally
from core.data.formats.columns import HOW_TO_MAP
from core.data.formats.convert import understand
from core.data.formats.recognise import TRAINED, Recognised, recognise
from core.data.sources import Row, Source, open_source
from core.data.sources.open import not_there
from core.data.sources.web import is_address
from core.errors import UserError
from core.spec import DataSpec, SourceSpec

HEAD = 200
"""Rows that the format is recognised by."""
FEW = 10
LEAKS = ("leak", "same_prompts")
"""Codes that speak of held-out rows only."""


@dataclass
class Opened:
    """A source with its format known, and what was found in it so far."""

    number: int
    """Which of the spec's sources it is; 0 is the first."""
    spec: SourceSpec
    source: Source
    head: list[Row]
    found: Recognised
    held_out: bool = False
    drop: tuple[str, ...] = ()
    """Codes whose rows are left out."""
    tally: Tally = field(default_factory=Tally)
    rows: int = 0
    """Rows read in the newest pass."""
    kept: int = 0
    """Of them, those that became conversations."""
    whole: bool = False
    """Whether the newest pass came to the end."""

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def is_text(self) -> bool:
        return self.found.format == "text"

    @property
    def objective(self) -> str:
        """What its rows can teach: sft, dpo or kto."""
        return self.found.objective

    def estimate(self) -> int | None:
        """About how many rows there are, by the bytes that those so far have taken; None: unknown."""
        if self.whole:
            return self.rows
        if self.source.count is not None:
            return self.source.count
        done = self.source.place() if self.source.place else 0
        if not self.source.size or not done or not self.rows:
            return None
        return max(self.rows, round(self.rows * self.source.size / done))


def open_all(data: DataSpec) -> list[Opened]:
    """The spec's sources, each with a stop in its tally where it cannot be trained on.

    UserError: what cannot be opened, a mapping that does not fit, or sources that do not go together.
    """
    sources = [open_one(one, number) for number, one in enumerate([data, *data.more])]
    for one in sources:
        one.drop = tuple(data.drop)
    for one in sources if len(sources) > 1 else ():
        one.tally.source = one.name
        one.tally.said = [replace(it, source=one.name) for it in one.tally.said]
    trained = [one for one in sources if one.found.format in TRAINED]
    for one in trained[1:]:
        if one.objective != trained[0].objective:
            raise UserError(
                f"{trained[0].name} and {one.name} do not go together",
                f"the one is {trained[0].found.format}, the other {one.found.format}",
                "train on them in two runs, one after the other",
            )
    return sources


def open_held_out(data: DataSpec) -> Opened | None:
    """The rows of `data.eval` where that is a file or a split, read as the first source is."""
    if isinstance(data.eval, float):
        return None
    path = Path(data.eval).expanduser()
    if path.exists() or is_address(data.eval):
        # a slice or configuration of the rows to train on says nothing of another file
        apart: dict[str, Any] = {"source": data.eval, "split": "train", "config": None}
    elif path.suffix and "[" not in data.eval:
        raise not_there(path)
    else:
        apart = {"split": data.eval}
    opened = open_one(SourceSpec(**{**_source_part(data), "weight": 1.0, **apart}), 0)
    opened.held_out = True
    opened.drop = tuple(data.drop)
    return opened


def _source_part(data: SourceSpec) -> dict[str, Any]:
    return {name: getattr(data, name) for name in SourceSpec.model_fields}


def open_one(spec: SourceSpec, number: int) -> Opened:
    source = open_source(spec)
    head = list(islice(source.rows(), HEAD))
    found = recognise(head, spec)
    opened = Opened(number, spec, source, head, found)
    opened.tally.said += found.findings
    if source.dropped_column is not None:
        name = source.dropped_column or "without a name"
        opened.tally.say("info", "index_column", f"the column {name} only numbers the rows and is not used")
    if found.format not in TRAINED:
        opened.tally.say("stop", found.format, f"{source.name}: {found.refusal}", HOW_TO_MAP)
    return opened


def conversations(
    opened: Opened, screen: Screen, enough: Callable[[int], bool] | None = None
) -> Iterator[Conversation]:
    """A pass over a source: the rows that can be learned from, the others are noted in its tally.

    `enough`: asked before each row whether the rows so far will do, which leaves the pass unfinished.
    """
    opened.rows = opened.kept = 0
    opened.whole = False
    if opened.found.format not in TRAINED:
        return
    for row in opened.source.rows():
        if enough is not None and enough(opened.rows):
            return
        opened.rows += 1
        one = understood(row, opened.rows, opened)
        if one is not None and (one := screen.look(one)) is not None:
            opened.kept += 1
            yield one
    opened.whole = True
    opened.tally.said += opened.source.findings()
    _say_few(opened)


def understood(row: Row, number: int, opened: Opened) -> Conversation | None:
    """One row as a conversation; None, and noted, where it cannot be learned from."""
    one = understand(row, number, opened.found, opened.tally, opened.spec, opened.drop)
    if one is None:
        return None
    return replace(one, source=opened.number) if opened.number else one


def _say_few(opened: Opened) -> None:
    if not opened.kept:
        message = f"{opened.name}: no row has an answer"
        opened.tally.say("stop", "nothing_learned", message, "give rows with answers")
    elif opened.kept < FEW and not opened.is_text and not opened.held_out:
        rows = f"{opened.kept} row{'' if opened.kept == 1 else 's'}"
        message = f"only {rows} to learn from: they will be learned by heart"
        opened.tally.say("warn", "few_rows", message, "add more")


def about(one: Opened) -> dict[str, Any]:
    """A source as reports tell of it."""
    return {
        "source": one.spec.source,
        "format": one.found.format,
        "confidence": one.found.confidence,
        "why": one.found.why,
        "rows": one.rows,
        "weight": one.spec.weight,
    }


def findings(sources: list[Opened], held_out: Opened | None = None) -> list[Finding]:
    """Of all sources, worst first."""
    found = [it for one in sources for it in one.tally.findings(one.rows)]
    if held_out:
        found += [
            it if it.code in LEAKS else replace(it, code=f"eval_{it.code}", message=f"held out: {it.message}")
            for it in held_out.tally.findings(held_out.rows)
        ]
    order = {"stop": 0, "warn": 1, "info": 2}
    return sorted(found, key=lambda one: order[one.severity])
