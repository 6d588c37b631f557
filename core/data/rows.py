"""From a spec's data to the rows that are trained on: read, render, mask, fit to the length, hold out."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from core.data import templates
from core.data.conversation import Conversation
from core.data.endings import end_tokens
from core.data.findings import Finding, Tally
from core.data.fit import Fitted, fit
from core.data.held_out import bin_of, key, mixed, repeats
from core.data.mask import Refused, Rendered, render_all
from core.data.reading import Opened, conversations, findings, open_all, open_held_out, understood
from core.data.store import Places, Rows, Store, Writer
from core.data.templates import Template
from core.errors import UserError
from core.spec import RunSpec

Progress = Callable[[str, int, int | None], None]

BATCH = 512  # rows tokenised at once: enough for the tokenizer's threads, few enough to show progress
FILE = "rows.arrow"


@dataclass(frozen=True)
class Built:
    """What a run trains on. `template` is None for plain text."""

    train: Rows
    """As an epoch sees them: rows of a source with a weight may be there twice, or not at all."""
    eval: Rows | None
    template: Template | None
    findings: tuple[Finding, ...]
    counts: dict[str, Any]
    """What became of the rows: `Fates.to_dict`, `leaks`, and each source with its rows and weight."""
    objective: str
    """sft, dpo or kto, as the data ask for."""


@dataclass
class Fates:
    """How many source rows came to what, under which policy."""

    long: str
    length: int | None
    rows: int = 0
    cut: int = 0
    dropped: int = 0
    split: int = 0
    pieces: int = 0
    """Into which rows were split."""
    nothing: int = 0
    """Rows left out since no learned token was left."""
    refused: int = 0
    """Rows left out since the template or the mask cannot take them."""
    tokens: int = 0
    learned: int = 0

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True)
class Made:
    """One source row with all that became of it."""

    one: Conversation
    key: int
    shown: Rendered
    """Whole, before any cut."""
    fitted: Fitted


@dataclass
class Making:
    """What turns conversations into rows, the same for the preview, the report and the worker."""

    spec: RunSpec
    tokenizer: Any
    template: Template | None
    progress: Progress
    fates: Fates = field(init=False)
    done: int = 0
    """Rows of all sources so far."""
    total: int | None = None

    def __post_init__(self) -> None:
        self.fates = Fates(self.spec.data.long, self.spec.length)
        self._typed = re.compile("|".join(re.escape(one) for one in end_tokens(self.tokenizer)) or "(?!)")

    def rows(self, opened: Opened, enough: Callable[[int], bool] | None = None) -> Iterator[Made]:
        """A pass over one source. What is lost or changed on the way is in its tally."""
        waiting, before = conversations(opened, enough), self.done
        made = 0
        while batch := list(islice(waiting, BATCH)):
            results = render_all(batch, self.tokenizer, self.template, self.spec.learn)
            for one, result in zip(batch, results, strict=True):
                if ready := self._one(one, result, opened.tally):
                    made += len(ready.fitted.pieces)
                    yield ready
            self.done = before + opened.rows
            self.progress("tokenise", self.done, self.total or opened.estimate())
        self.done = before + opened.rows
        if opened.kept and not made:
            opened.tally.say("stop", "nothing_learned", f"{opened.name}: in no row is anything learned")

    def _one(self, one: Conversation, result: Rendered | Refused, tally: Tally) -> Made | None:
        said = [turn.content for turn in one.messages] if one.text is None else [one.text]
        if held := self._typed.search("\n".join(said)):
            tally.note("special_token_in_text", one.row, held.group())
        self.fates.rows += 1
        if isinstance(result, Refused):
            self.fates.refused += 1
            tally.note(result.code, one.row, result.why)
            return None
        if result.folded:
            tally.note("system_folded", one.row)
        if result.lossy:
            tally.note("unknown_characters", one.row)
        name = key(one)
        fitted = fit(one, result, name, self.spec.length, self.spec.data.long)
        self._note(one, result, fitted, tally)
        return Made(one, name, result, fitted)

    def _note(self, one: Conversation, shown: Rendered, fitted: Fitted, tally: Tally) -> None:
        fates, limit = self.fates, f"{self.spec.length or 0:,}"
        longer = self.spec.length is not None and len(shown.ids) > self.spec.length
        if fitted.fate == "cut":
            fates.cut += 1
            tally.note("cut", one.row, limit)
        elif fitted.fate == "dropped":
            fates.dropped += 1
            tally.note("dropped_long", one.row, limit)
        elif fitted.fate == "split":
            fates.split += 1
            fates.pieces += len(fitted.pieces)
            tally.note("split_text" if one.text is not None else "split_long", one.row, limit)
            if fitted.lost:
                tally.note("pieces_left_out", one.row)
        elif fitted.fate == "nothing":
            fates.nothing += 1
            if longer:
                tally.note("cut_to_nothing", one.row, limit)
            else:
                tally.note("no_answer", one.row, "nothing in it is learned")
        fates.tokens += sum(len(piece.input_ids) for piece in fitted.pieces)
        fates.learned += sum(sum(piece.learned) for piece in fitted.pieces)


def build(spec: RunSpec, tokenizer: Any, progress: Progress, folder: Path | None = None) -> Built:
    """The rows of a run, the same for the same spec and sources; on the disk of `folder` while this process
    lives (None: where temporary files lie).

    UserError: whatever stops a source from being read, and code 1 where nothing would be learned.
    """
    if folder is None:
        with TemporaryDirectory(prefix="finetui-") as place:
            return build(spec, tokenizer, progress, Path(place))
    progress("read", 0, None)
    sources, apart = open_all(spec.data), open_held_out(spec.data)
    template = choose_template(sources, spec.template, tokenizer)
    making = Making(spec, tokenizer, template, progress)
    making.total = sum(one.source.count or 0 for one in sources) if all_counted(sources) else None
    with Writer(folder / FILE) as writer:
        for opened in sources:
            for made in making.rows(opened):
                for piece in made.fitted.pieces:
                    writer.add(piece)
    store = Store(folder / FILE, forget=True)
    train, held = divided(store, sources, spec)
    leaks = 0
    counts = making.fates.to_dict() | {"sources": [about(one) for one in sources]}
    if apart:
        again = Making(spec, tokenizer, template, progress)
        learned = set(store.column("key").tolist())
        with Writer(folder / f"held-out-{FILE}") as writer:
            for made in again.rows(apart):
                leaks += made.key in learned
                for piece in made.fitted.pieces if made.key not in learned else ():
                    writer.add(piece)
        kept = Store(folder / f"held-out-{FILE}", forget=True)
        held = Rows(kept, np.arange(len(kept)))
    say_leaks(sources, leaks)
    found = findings(sources, apart)
    stops = [finding for finding in found if finding.severity == "stop"]
    if stops:
        why = "; ".join(finding.message for finding in stops)
        raise UserError(f"{sources[0].name} cannot be trained on", why, stops[0].todo, code=1)
    counts |= {"train_rows": len(train), "eval_rows": len(held), "leaks": leaks}
    return Built(train, held if len(held) else None, template, tuple(found), counts, sources[0].objective)


def all_counted(sources: list[Opened]) -> bool:
    return all(one.source.count is not None for one in sources)


def about(one: Opened) -> dict[str, Any]:
    """A source as reports tell of it."""
    return {
        "source": one.spec.source,
        "format": one.found.format,
        "confidence": one.found.confidence,
        "rows": one.rows,
        "weight": one.spec.weight,
    }


def say_leaks(sources: list[Opened], rows: int) -> None:
    if rows:
        are, leave = ("is", "leaves") if rows == 1 else ("are", "leave")
        message = (
            f"{rows:,} held-out row{'s' * (rows > 1)} {are} also learned from, word for word, and {leave}"
        )
        sources[0].tally.say("warn", "leak", f"{message} the held-out set", count=rows)


def divided(store: Store, sources: list[Opened], spec: RunSpec) -> tuple[Rows, Rows]:
    """Places of the rows that are learned, as often as an epoch sees them, and of those held out."""
    share = spec.data.eval if isinstance(spec.data.eval, float) else 0.0
    keys = store.column("key")
    rows, source = store.column("row"), store.column("source")
    by_piece = in_pieces(sources, share)
    first = np.ones(len(store), bool)
    if len(store):
        first[1:] = (rows[1:] != rows[:-1]) | (source[1:] != source[:-1])
    if by_piece:
        starts = np.flatnonzero(first)
        part = np.arange(len(store)) - np.repeat(starts, np.diff([*starts, len(store)]))
        keys = [mixed(one, int(nth)) for one, nth in zip(keys.tolist(), part, strict=True)]
        first[:] = True
    from core.data.held_out import Count

    count, bins = Count(), np.zeros(len(store), np.int64)
    for place, one in enumerate(keys):
        bins[place] = bin_of(int(one), spec.seed)
        count.add(int(bins[place]), 1, 1, 0, rows=int(first[place]))
    held = np.isin(bins, list(count.held_out(share)))
    weights = {one.number: one.spec.weight for one in sources}
    times = [
        repeats(int(of), int(row), weights[int(of)], spec.seed) for of, row in zip(source, rows, strict=True)
    ]
    places: Places = np.arange(len(store))
    train = np.repeat(places, np.where(held, 0, np.array(times, np.int64)))
    return Rows(store, train), Rows(store, places[held])


def in_pieces(sources: list[Opened], share: float) -> bool:
    """Whether parts of texts are held out rather than whole ones: of few texts none could be spared."""
    return (
        bool(share) and all(one.is_text for one in sources) and sum(one.kept for one in sources) * share < 1
    )


def choose_template(sources: list[Opened], name: str, tokenizer: Any) -> Template | None:
    """None where all is plain text. UserError as `templates.choose`."""
    tally = sources[0].tally
    spoken = [one for one in sources if not one.is_text]
    if len(spoken) < len(sources) and tokenizer.eos_token_id is None:
        tally.say("warn", "no_end", "this tokenizer has no end of text, so where a text ends is not learned")
    if not spoken:
        return None
    thoughts = any("<think>" in words for one in spoken for words in _answers(one))
    template = templates.choose(name, tokenizer, thoughtless=not thoughts)
    if template.warning:
        tally.say("warn", "template", template.warning, "choose another template if answers look wrong")
    return template


def _answers(opened: Opened) -> Iterator[str]:
    """Of the head's rows, without noting what is wrong with them."""
    from dataclasses import replace

    quiet = replace(opened, tally=Tally())
    for number, row in enumerate(opened.head, 1):
        if one := understood(row, number, quiet):
            yield from one.answers()
