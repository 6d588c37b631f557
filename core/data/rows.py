"""From a spec's data to the rows that a run trains on, on disk, and those that are held out."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from core.data.chat_template.templates import Template
from core.data.check.leaks import find_leaks, say_leaks
from core.data.dividing import divided
from core.data.findings import Finding
from core.data.fit import Key
from core.data.making import Making, choose_template, screen_of
from core.data.reading import Opened, about, findings, open_all, open_held_out
from core.data.store import Rows, Store, Writer
from core.errors import UserError
from core.job import Progress
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
