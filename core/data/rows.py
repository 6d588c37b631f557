"""From a spec's data to the rows that are trained on: read, render, mask, cut, hold out."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.data import templates
from core.data.conversation import Conversation
from core.data.convert import convert
from core.data.files import Row as SourceRow
from core.data.findings import Finding, Tally
from core.data.load import Source, load, not_there
from core.data.mask import Refused, Rendered, render_all
from core.data.recognise import HOW_TO_MAP, TRAINED, Recognised, recognise
from core.data.spans import end_tokens
from core.data.templates import Template
from core.errors import UserError
from core.spec import DataSpec, Learn, RunSpec

Progress = Callable[[str, int, int | None], None]
Row = dict[str, list[int]]
"""{"input_ids": token ids, "learned": 0 or 1 for each of them}"""
Rows = list[Row]

BATCH = 512  # rows tokenised at once: enough for the tokenizer's threads, few enough to show progress
FEW = 10


@dataclass(frozen=True)
class Built:
    """What a run trains on. `template` is None for plain text."""

    train: Rows
    eval: Rows | None
    template: Template | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Data:
    """A source that was read and understood, before any tokenizer."""

    name: str
    rows: list[SourceRow]
    found: Recognised
    conversations: list[Conversation]

    @property
    def is_text(self) -> bool:
        return self.found.format == "text"


@dataclass
class Tokenised:
    """Rows as tokens, each with its number in the source. `whole` holds their lengths before any cut."""

    rows: Rows
    numbers: list[int]
    whole: list[int]


def build(spec: RunSpec, tokenizer: Any, progress: Progress) -> Built:
    """The rows of a run, the same for the same spec and source.

    UserError: whatever stops the source from being read, and code 1 where nothing would be learned.
    """
    tally = Tally()
    progress("read", 0, None)
    data = read(spec.data, tally)
    template = choose_template(data, spec.template, tokenizer, tally)
    done = tokenise(data, tokenizer, template, spec.learn, spec.length, tally, progress)
    if isinstance(spec.data.eval, float):
        train, held_out = split(done.rows, spec.data.eval, spec.seed)
        findings = tally.findings(len(data.rows))
    else:
        held_tally = Tally()
        apart = read_held_out(spec.data, held_tally)
        train = done.rows
        held_out = tokenise(apart, tokenizer, template, spec.learn, spec.length, held_tally, progress).rows
        findings = tally.findings(len(data.rows)) + about_held_out(held_tally.findings(len(apart.rows)))
    stops = [finding for finding in findings if finding.severity == "stop"]
    if stops:
        why = "; ".join(finding.message for finding in stops)
        raise UserError(f"{data.name} cannot be trained on", why, stops[0].todo, code=1)
    return Built(train, held_out or None, template, tuple(findings))


def read(data: DataSpec, tally: Tally) -> Data:
    """Everything about a source that needs no tokenizer; `tally` holds a stop where it cannot be trained."""
    source = load(data.source, data.split, data.limit)
    return _understand(source, data, tally)


def read_held_out(data: DataSpec, tally: Tally) -> Data:
    """The rows of `data.eval`: a file, or another split of the same source, read in the same way."""
    named = str(data.eval)
    if Path(named).expanduser().exists():
        source = load(named, data.split, data.limit)
    elif Path(data.source).expanduser().is_file():
        raise not_there(Path(named).expanduser())
    else:
        source = load(data.source, named, data.limit)
    return _understand(source, data, tally)


def about_held_out(findings: list[Finding]) -> list[Finding]:
    return [replace(one, code=f"eval_{one.code}", message=f"held out: {one.message}") for one in findings]


def _understand(source: Source, data: DataSpec, tally: Tally) -> Data:
    found = recognise(source.rows, data.format, {str(role): name for role, name in data.columns.items()})
    if source.dropped_column is not None:
        name = source.dropped_column or "without a name"
        tally.say("info", "index_column", f"the column {name} only numbers the rows and is not used")
    if found.format not in TRAINED:
        todo = (
            HOW_TO_MAP if found.format in ("unknown", "questions") else "give questions with one answer each"
        )
        tally.say("stop", found.format, f"{source.name}: {found.refusal}", todo)
        return Data(source.name, source.rows, found, [])
    if found.ignored:
        columns = " and ".join(found.ignored)
        tally.say(
            "info", "ignored_columns", f"{columns} hold ranked answers, which this version does not use"
        )
    conversations = convert(source.rows, found, tally)
    if not conversations:
        message = f"{source.name}: no row has an answer"
        tally.say("stop", "nothing_learned", message, "give rows with answers")
    elif len(conversations) < FEW and found.format != "text":
        rows = f"{len(conversations)} row{'' if len(conversations) == 1 else 's'}"
        tally.say("warn", "few_rows", f"only {rows} to learn from: they will be learned by heart", "add more")
    return Data(source.name, source.rows, found, conversations)


def choose_template(data: Data, name: str, tokenizer: Any, tally: Tally) -> Template | None:
    """None for plain text. UserError as `templates.choose`."""
    if data.is_text:
        if tokenizer.eos_token_id is None:
            tally.say(
                "warn", "no_end", "this tokenizer has no end of text, so where a text ends is not learned"
            )
        return None
    thoughts = any("<think>" in words for one in data.conversations[:200] for words in one.answers())
    template = templates.choose(name, tokenizer, thoughtless=not thoughts)
    if template.warning:
        tally.say("warn", "template", template.warning, "choose another template if answers look wrong")
    return template


def tokenise(
    data: Data,
    tokenizer: Any,
    template: Template | None,
    learn: Learn,
    length: int | None,
    tally: Tally,
    progress: Progress,
) -> Tokenised:
    """All rows as tokens, at most `length` long (None: as long as they are); what is lost is in `tally`."""
    done = Tokenised([], [], [])
    rows, total = data.conversations, len(data.conversations)
    typed = re.compile("|".join(re.escape(text) for text in end_tokens(tokenizer)) or "(?!)")
    for start in range(0, total, BATCH):
        progress("tokenise", start, total)
        batch = rows[start : start + BATCH]
        for one, result in zip(batch, render_all(batch, tokenizer, template, learn), strict=True):
            said = [turn.content for turn in one.messages] if one.text is None else [one.text]
            if held := typed.search("\n".join(said)):
                tally.note("special_token_in_text", one.row, held.group())
            if isinstance(result, Refused):
                tally.note(result.code, one.row, result.why)
            else:
                _keep(result, data.is_text, length, tally, done)
    progress("tokenise", total, total)
    if total and not done.rows:
        tally.say("stop", "nothing_learned", f"{data.name}: in no row is anything learned")
    return done


def _keep(row: Rendered, is_text: bool, length: int | None, tally: Tally, done: Tokenised) -> None:
    if row.folded:
        tally.note("system_folded", row.row)
    if row.lossy:
        tally.note("unknown_characters", row.row)
    done.whole.append(len(row.ids))
    long = length is not None and len(row.ids) > length
    if long and is_text:
        tally.note("split_text", row.row, f"{length:,}")
    elif long and 1 not in row.learned[1:length]:
        tally.note("cut_to_nothing", row.row, f"{length:,}")
        return
    elif long:
        tally.note("cut", row.row, f"{length:,}")
    elif 1 not in row.learned[1:]:  # the first token has nothing before it from which it could be told
        tally.note("no_answer", row.row, "nothing in it is learned")
        return
    step = length if long and length else len(row.ids)
    stop = len(row.ids) if is_text else step
    for at in range(0, stop, step):
        if stop - at > 1:
            done.rows.append({"input_ids": row.ids[at : at + step], "learned": row.learned[at : at + step]})
            done.numbers.append(row.row)


def split(rows: Sequence[Any], share: float, seed: int) -> tuple[list[Any], list[Any]]:
    """Rows to train on and rows held out, in their order; fixed by the seed. At least one is trained on."""
    held = min(max(1, round(len(rows) * share)) if share > 0 else 0, len(rows) - 1)
    out = set(random.Random(seed).sample(range(len(rows)), max(held, 0)))
    train = [row for place, row in enumerate(rows) if place not in out]
    return train, [rows[place] for place in sorted(out)]
