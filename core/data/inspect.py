"""The job behind `finetui data` and the wizard's Data step: what a source is and what a model would see.

Run as a child process (`core.job`); everything it tells is made by the code that feeds the trainer.
"""

import hashlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from core.data import lengths
from core.data.chat_template.named import NAMES, lacking
from core.data.chat_template.templates import Template
from core.data.check.leaks import find_leaks, key, say_leaks
from core.data.example import example
from core.data.findings import Finding, Remedy
from core.data.fit import Key
from core.data.held_out import Choice, Count, repeats
from core.data.making import Made, Making, choose_template, screen_of
from core.data.pack import Beside, pack_of, window_of
from core.data.reading import Opened, about, conversations, findings, open_all, open_held_out
from core.job import Progress
from core.spec import DataSpec, RunSpec, parse_spec

SAMPLE_ROWS, SAMPLE_CHARACTERS = 10, 200
HEAD_ROWS, HEAD_CHARACTERS, HEAD_LONG = 5, 2_000, 50
"""Rows told as they are, for a mapping to be tried on; characters of a text and entries of a list in them."""
PREVIEW_ROWS, PREVIEW_SECONDS = 1_000, 2.0
OF_THE_RUN = ("template", "learn", "seed", "packing", "objective", "revision")


def answer(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The report on a source. With `model` (a model or a folder with its tokenizer alone) also its tokens.

    `row` counts from 0; the example is the first row of the first source from there on that can be shown.
    `preview`: the head alone, in a second or two; `complete` then says whether that was all. UserError:
    what cannot be read, or a model or template that cannot be used. Data that cannot be trained on is no
    error here but a finding that stops, so that its columns can be looked at and mapped.
    """
    spec = spec_of(request)
    progress("read", 0, None)
    sources, apart = open_all(spec.data), open_held_out(spec.data)
    survey = Survey(spec, sources, apart, progress, int(request.get("row") or 0), _enough(request))
    report = about_source(request["source"], sources)
    if request.get("model"):
        progress("tokenizer", 0, None)
        from core.data.tokenizer import load_tokenizer

        tokenizer = load_tokenizer(request["model"], request.get("revision"))
        template = choose_template(sources, spec.template, tokenizer)
        survey.tokens(tokenizer, template)
        report |= survey.about_tokens(tokenizer, template)
    else:
        survey.words()
    return {**report, **survey.about_rows(), "findings": [one.to_dict() for one in survey.findings()]}


def spec_of(request: dict[str, Any]) -> RunSpec:
    """The spec that a request speaks of; what it leaves out is as a spec leaves it out."""
    data = {name: request[name] for name in DataSpec.model_fields if request.get(name) is not None}
    run = {name: request[name] for name in OF_THE_RUN if request.get(name) is not None}
    given = {"model": request.get("model") or "none", "data": data, "length": request.get("length")}
    return parse_spec({**given, **run}, "the request")


def _enough(request: dict[str, Any]) -> Callable[[int], bool] | None:
    """Of a preview: whether so many rows of a source will do."""
    if not request.get("preview"):
        return None
    begun: list[float] = []

    def enough(rows: int) -> bool:
        begun[:] = begun or [time.monotonic()]
        return rows >= PREVIEW_ROWS or time.monotonic() - begun[0] > PREVIEW_SECONDS

    return enough


@dataclass
class Survey:
    """One pass over all sources, of which nothing is kept but counts, a sample and the row to be shown."""

    spec: RunSpec
    sources: list[Opened]
    apart: Opened | None
    progress: Progress
    row: int
    enough: Callable[[int], bool] | None
    choice: Choice = field(default_factory=Choice)
    whole: Counter[int] = field(default_factory=Counter)
    """Lengths before any cut."""
    digest: Any = field(default_factory=hashlib.sha256)
    shown: Made | None = None
    fates: dict[str, Any] = field(default_factory=dict)
    eval_rows: int = 0
    leaks: int = 0
    window: list[Beside] = field(default_factory=list)
    """What may share a pack with the row to be shown."""

    def words(self) -> None:
        """The pass without a tokenizer: rows alone."""
        screen = screen_of(self.spec, self.sources)
        for opened in self.sources:
            for one in conversations(opened, screen, self.enough):
                self._count(opened, one.row, key(one), [0])
            self.progress("read", opened.rows, opened.estimate())
        screen.end()
        if self.apart and not self.enough:
            aside = screen_of(self.spec, [self.apart])
            self.eval_rows = sum(1 for _ in conversations(self.apart, aside))
            aside.end()

    def tokens(self, tokenizer: Any, template: Template | None) -> None:
        making = Making(
            self.spec, tokenizer, template, self.progress, screen_of(self.spec, self.sources, tokenizer)
        )
        keys, numbers, pieces = [], [], []
        if self.apart and not self.enough:
            screen = screen_of(self.spec, [self.apart], tokenizer)
            for made in Making(self.spec, tokenizer, template, self.progress, screen).rows(self.apart):
                keys.append(made.key)
                numbers.append(made.one.row)
                pieces.append(len(made.fitted.pieces))
            screen.end()
        leaks = find_leaks(self._keys(making), keys)
        making.screen.end()
        self.fates = making.fates.to_dict()
        self._offer()
        if self.apart:
            say_leaks(leaks, numbers, self.apart.tally)
            self.leaks = len(leaks.out)
            self.eval_rows = sum(pieces) - sum(pieces[place] for place in leaks.out)

    def _offer(self) -> None:
        """What a key press can do about rows that are too long."""
        ways = {"cut": "cut them", "drop": "leave them out", "split": "train on their pieces"}
        whole = Remedy(
            f"keep all whole: length {max(self.whole, default=0):,}", {"length": max(self.whole, default=8)}
        )
        others = [Remedy(say, {"data.long": way}) for way, say in ways.items() if way != self.spec.data.long]
        for opened in self.sources:
            for code in ("cut", "cut_to_nothing", "dropped_long", "split_long"):
                opened.tally.offer(code, whole, *others)

    def _keys(self, making: Making) -> Iterator[Key]:
        """What the rows say, one after another, while all else about them is counted."""
        for opened in self.sources:
            for made in making.rows(opened, self.enough):
                self.whole[_longest(made)] += 1
                self._count(opened, made.one.row, made.key, made.tokens())
                self._show(made)
                if made.fitted.pieces:
                    yield made.key

    def _count(self, opened: Opened, row: int, name: Key, pieces: list[int]) -> None:
        self.digest.update(name[0].to_bytes(8, "big"))
        if not pieces:
            return
        times = repeats(opened.number, row, opened.spec.weight, self.spec.seed)
        self.choice.add(name, pieces, times, self.spec.seed, is_text=opened.is_text)
        if self.spec.packing and opened.number == 0 and window_of(row) == window_of(self.row + 1):
            self.window += [Beside(row, name, part, one, times) for part, one in enumerate(pieces)]

    def _show(self, made: Made) -> None:
        """The first row from the asked one on, or else the first of all."""
        shown = self.shown
        if shown is None or (shown.one.row <= self.row < made.one.row and made.one.source == 0):
            self.shown = made

    # ---- what it came to ----

    @property
    def complete(self) -> bool:
        return all(one.whole for one in self.sources)

    def findings(self) -> list[Finding]:
        return findings(self.sources, self.apart)

    def held_out(self) -> tuple[frozenset[int], Count]:
        way, held = self.choice.held_out(self.share)
        return held, self.choice.counts[way]

    def _told_held_out(self) -> dict[str, Any] | None:
        """By what rows are held out, and which bins of them: so that the packs of any row can be told."""
        if not self.complete:
            return None
        way, held = self.choice.held_out(self.share)
        return {"way": way, "bins": sorted(held)}

    @property
    def share(self) -> float:
        return self.spec.data.eval if isinstance(self.spec.data.eval, float) else 0.0

    def about_rows(self) -> dict[str, Any]:
        estimates = [one.estimate() for one in self.sources]
        known = None if None in estimates else sum(one or 0 for one in estimates)
        held, count = self.held_out()
        seen = count.outside(held, "seen")
        held_rows = count.inside(held, "pieces") if not self.apart else self.eval_rows
        rows: int | None = sum(one.rows for one in self.sources)
        if not self.complete:
            scale = known / max(1, rows or 0) if known else 1.0
            seen, held_rows = round(seen * scale), round(held_rows * scale)
            counted = [one.source.count for one in self.sources]
            rows = None if None in counted else sum(one or 0 for one in counted)
        return {
            "complete": self.complete,
            "rows": rows,
            "rows_estimate": known,
            "train_rows": seen,
            "eval_rows": held_rows,
            "train_tokens": count.outside(held, "tokens") if self.whole else None,
            "leaks": self.leaks,
            "fingerprint": self.digest.hexdigest() if self.complete else None,
            "sources": [about(one) for one in self.sources],
            "objective": self.sources[0].objective,
            "held_out": self._told_held_out(),
            "length": self.spec.length,
            "long": self.spec.data.long,
            "has_eval_split": self.sources[0].source.eval,
            "fates": self.fates or None,
        }

    def about_tokens(self, tokenizer: Any, template: Template | None) -> dict[str, Any]:
        shown, length = self.shown, self.spec.length
        told = example(shown, length, tokenizer) if shown else None
        if told and shown and shown.fitted.pieces and self.spec.packing and length and self.complete:
            way, held = self.choice.held_out(self.share)
            told["pack"] = pack_of(shown.one.row, self.window, way, held, length, self.spec.seed)
        return {
            "template": about_template(template, shown),
            "lengths": lengths.describe(self.whole) if self.whole else None,
            "tokens": self.fates["tokens"],
            "learned_tokens": self.fates["learned"],
            "longer_than_length": sum(
                rows for one, rows in self.whole.items() if length is not None and one > length
            ),
            "example": told,
            "lacking": {name: lacks for name in NAMES if (lacks := lacking(name, tokenizer))},
        }


def _longest(made: Made) -> int:
    return max(len(made.shown.ids), len(made.shown.other.ids) if made.shown.other else 0)


def about_source(source: str, sources: list[Opened]) -> dict[str, Any]:
    first = sources[0]
    columns = list(dict.fromkeys(column for row in first.head for column in row))
    role_of = {column: role for role, column in first.found.roles.items()}
    return {
        "source": source,
        "format": first.found.format,
        "confidence": first.found.confidence,
        "columns": {column: role_of.get(column) for column in columns},
        "sample": [
            {column: _short(value) for column, value in row.items()} for row in first.head[:SAMPLE_ROWS]
        ],
        "head": [_bounded(row) for row in first.head[:HEAD_ROWS]],
        "template": None,
        "lengths": None,
        "tokens": None,
        "learned_tokens": None,
        "longer_than_length": None,
        "example": None,
    }


def _bounded(value: Any) -> Any:
    """A row as it is, but for texts and lists too long to be looked at."""
    if isinstance(value, dict):
        return {str(key): _bounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_bounded(one) for one in value[:HEAD_LONG]]
    if isinstance(value, str):
        return value[:HEAD_CHARACTERS]
    return value if isinstance(value, bool | int | float | None) else str(value)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return text if len(text) <= SAMPLE_CHARACTERS else text[: SAMPLE_CHARACTERS - 1] + "…"


def about_template(template: Template | None, shown: Made | None) -> dict[str, Any] | None:
    if template is None:
        return None
    return {
        "name": template.name,
        "origin": template.origin,
        "end": template.end_token,
        "end_learned": bool(shown and shown.shown.ends),
        "why": template.why,
    }


if __name__ == "__main__":
    # tokenizers do without torch, and importing it takes longer than reading most datasets
    sys.modules["torch"] = None  # type: ignore[assignment]
    from core.job import serve

    serve(answer)
