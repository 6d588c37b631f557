"""From a spec's data to the rows that a run trains on, on disk, and those that are held out."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from core.data.check.leaks import find_leaks, say_leaks
from core.data.findings import Finding
from core.data.fit import Key
from core.data.held_out import Choice, bin_by, repeats
from core.data.making import Making, Progress, choose_template, screen_of
from core.data.reading import Opened, about, findings, open_all, open_held_out
from core.data.store import Places, Rows, Store, Writer
from core.data.templates import Template
from core.errors import UserError
from core.spec import RunSpec

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
    making = Making(spec, tokenizer, template, progress, screen_of(spec, sources, tokenizer))
    with Writer(folder / FILE) as writer:
        for opened in sources:
            for made in making.rows(opened):
                for piece in made.fitted.pieces:
                    writer.add(piece)
    making.screen.end()
    store = Store(folder / FILE, forget=True)
    train, held = divided(store, sources, spec)
    leaks = 0
    if apart:
        held, leaks = _held_apart(apart, store, making, folder)
    found = findings(sources, apart)
    stops = [finding for finding in found if finding.severity == "stop"]
    if stops:
        why = "; ".join(finding.message for finding in stops)
        raise UserError(f"{sources[0].name} cannot be trained on", why, stops[0].todo, code=1)
    counts = making.fates.to_dict() | {"sources": [about(one) for one in sources]}
    counts |= {"train_rows": len(train), "eval_rows": len(held), "leaks": leaks}
    return Built(train, held if len(held) else None, template, tuple(found), counts, sources[0].objective)


def _held_apart(apart: Opened, store: Store, making: Making, folder: Path) -> tuple[Rows, int]:
    """The rows of a file or split to hold out without those that are also learned, and how many those are."""
    spec, tokenizer = making.spec, making.tokenizer
    again = Making(
        spec, tokenizer, making.template, making.progress, screen_of(spec, [apart], tokenizer)
    )  # fmt: skip
    path = folder / f"held-out-{FILE}"
    keys: list[Key] = []
    numbers: list[int] = []
    of_row: list[int] = []
    with Writer(path) as writer:
        for made in again.rows(apart):
            for piece in made.fitted.pieces:
                writer.add(piece)
                of_row.append(len(keys))
            keys.append(made.key)
            numbers.append(made.one.row)
    again.screen.end()
    learned = zip(store.column("key").tolist(), store.column("asked").tolist(), strict=True)
    leaks = find_leaks(learned, keys)
    say_leaks(leaks, numbers, apart.tally)
    kept = ~np.isin(np.array(of_row, np.int64), leaks.out)
    return Rows(Store(path, forget=True), np.flatnonzero(kept)), len(leaks.out)


def divided(store: Store, sources: list[Opened], spec: RunSpec) -> tuple[Rows, Rows]:
    """The rows that are learned, as often as an epoch sees them, and those held out as a share."""
    share = spec.data.eval if isinstance(spec.data.eval, float) else 0.0
    weights = {one.number: one.spec.weight for one in sources}
    texts = {one.number for one in sources if one.is_text}
    names = ("key", "asked", "source", "row")
    facts = list(zip(*(store.column(name).tolist() for name in names), strict=True))
    choice = Choice()
    parts: list[int] = []
    for place, (key, asked, source, row) in enumerate(facts):
        again = place > 0 and facts[place - 1][2:] == (source, row)
        parts.append(parts[-1] + 1 if again else 0)
        last = place + 1 == len(facts) or facts[place + 1][2:] != (source, row)
        if last:
            choice.add((key, asked), [0] * (parts[-1] + 1), 1, spec.seed, is_text=source in texts)
    way, bins = choice.held_out(share)
    at = np.array(
        [bin_by(way, one[:2], part, spec.seed) for one, part in zip(facts, parts, strict=True)], np.int64
    )
    held = np.isin(at, list(bins))
    times = [repeats(source, row, weights[source], spec.seed) for _, _, source, row in facts]
    places: Places = np.arange(len(store))
    train = np.repeat(places, np.where(held, 0, np.array(times, np.int64)))
    # in the order of their bins, which is by chance: what looks only at the first sees all sources
    out = places[held]
    return Rows(store, train), Rows(store, out[np.argsort(at[held], kind="stable")])
