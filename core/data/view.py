"""The token view's process: keeps a source open and the tokenizer loaded, and shows any row by its number.

Reads one request a line on stdin and answers each on stdout, both JSON; it leaves when stdin closes or its
parent is gone. `core.data.viewer` speaks the other half.
"""

import json
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import IO, Any

from core.data.chat_template.endings import end_tokens
from core.data.chat_template.mask import Refused, render, render_all
from core.data.check.leaks import key
from core.data.check.screen import Screen
from core.data.example import example
from core.data.findings import Tally
from core.data.fit import fit
from core.data.held_out import Way, bin_by, repeats
from core.data.inspect import about_template, spec_of
from core.data.making import Made, choose_template
from core.data.pack import WINDOW, Beside, pack_of, window_of
from core.data.reading import open_all, understood
from core.data.sources import Row
from core.errors import UserError
from core.job import requests, take_stdout


class View:
    """One request of `core.data.inspect` with everything loaded that its rows need."""

    def __init__(self, request: dict[str, Any], held_out: dict[str, Any] | None = None):
        """`held_out`: what the report of the whole data says of it; without it packs are not known.

        UserError as the inspect job, for what cannot be read or used.
        """
        from core.data.tokenizer import load_tokenizer

        if not request.get("model"):
            raise UserError("tokens cannot be shown", "no model is chosen", "choose one first")
        self.spec = spec_of(request)
        self.sources = open_all(self.spec.data)
        self.tokenizer = load_tokenizer(request["model"], request.get("revision"))
        self.template = choose_template(self.sources, self.spec.template, self.tokenizer)
        self.way: Way = (held_out or {}).get("way", "asked")
        self.held = frozenset(held_out["bins"]) if held_out else None
        self.windows: dict[tuple[int, int], list[Beside]] = {}

    def row(self, number: int, source: int = 0) -> dict[str, Any]:
        """{"example"} of a row, counted from 1, and {"refused"}: why it is not trained on, or "".

        An example is there whenever the row can be rendered at all. Both are None where there is no such row.
        `columns` is the row as it stands in the source; `held_out` is None where that is not known.
        """
        opened = self.sources[source]
        row = opened.source.row(number)
        if row is None:
            return {"row": number, "source": source, "columns": None, "example": None, "refused": None}
        opened.tally = tally = Tally()
        made, why = self._made(row, number, source)
        shown = example(made, self.spec.length, self.tokenizer) if made else None
        told = [one.to_dict() for one in tally.findings(number)]
        return {
            "row": number,
            "source": source,
            "columns": {column: _short(value) for column, value in row.items()},
            "example": shown,
            "refused": why or _left_out(made),
            "held_out": self._is_held_out(made),
            "findings": told,
            "template": about_template(self.template, made),
        }

    def _is_held_out(self, made: Made | None) -> bool | None:
        """Of its first part, where texts are held out by parts; None: not known."""
        if made is None or self.held is None:
            return None
        return bin_by(self.way, made.key, 0, self.spec.seed) in self.held

    def pack(self, number: int, source: int = 0) -> dict[str, Any] | None:
        """As `core.data.pack.pack_of`; a second or so for the first row of a window, then at once.

        Rows that are left out because of an earlier one, such as repeats, are counted as there.
        """
        length, seed = self.spec.length, self.spec.seed
        if not self.spec.packing or self.held is None or not length:
            return None
        window = (source, window_of(number))
        if window not in self.windows:
            self.windows = {window: list(self._beside(*window))}
        return pack_of(number, self.windows[window], self.way, self.held, length, seed)

    def _beside(self, source: int, window: int) -> Iterator[Beside]:
        opened = replace(self.sources[source], tally=Tally())
        first = window * WINDOW + 1
        rows = islice(opened.source.start(first), WINDOW)
        read = ((number, understood(row, number, opened)) for number, row in enumerate(rows, first))
        known = [one for _, one in read if one is not None]
        if self.spec.objective == "sft":
            known = [replace(one, rejected=()) for one in known]
        shown = render_all(known, self.tokenizer, self.template, self.spec.learn)
        for one, result in zip(known, shown, strict=True):
            if not isinstance(result, Refused):
                name = key(one)
                fitted = fit(one, result, name, self.spec.length, self.spec.data.long)
                times = repeats(source, one.row, opened.spec.weight, self.spec.seed)
                for part, tokens in enumerate(Made(one, name, result, fitted).tokens()):
                    yield Beside(one.row, name, part, tokens, times)

    def _made(self, row: Row, number: int, source: int) -> tuple[Made | None, str]:
        """What becomes of the row; else, or beside it, why it is left out."""
        opened = self.sources[source]
        one = understood(row, number, opened)
        if one is None:
            return None, _last(opened.tally)
        if self.spec.objective == "sft" and one.rejected:
            one = replace(one, rejected=())
        screen = Screen(
            self.spec.data, [each.tally for each in self.sources], end_tokens(self.tokenizer)
        )  # a fresh one: what repeats an earlier row is known to the whole pass alone
        kept = screen.look(one)
        result = render(kept or one, self.tokenizer, self.template, self.spec.learn)
        if isinstance(result, Refused):
            return None, result.why
        name = key(one)
        fitted = fit(kept or one, result, name, self.spec.length, self.spec.data.long)
        return Made(kept or one, name, result, fitted), "" if kept else _last(opened.tally)


def _last(tally: Tally) -> str:
    """Why a row is left out: as the spec asks, or what was noted last."""
    if tally.left_out.count:
        return f"left out as asked: {next(iter(tally.left_out_codes))}"
    code, noted = list(tally.noted.items())[-1]
    return noted.detail or code.replace("_", " ")


def _left_out(made: Made | None) -> str:
    fate = made.fitted.fate if made else "whole"
    if fate == "dropped":
        return "it is longer than the length, and such rows are dropped"
    return "nothing in it is learned" if fate == "nothing" else ""


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, default=str)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


SHOWN_CHARACTERS = 2_000


def serve(out: IO[str], lines: Iterable[dict[str, Any]]) -> None:
    """Requests are {"id", "open": request of the inspect job, "held_out": of its report}, {"id", "row":
    number, "source": 0} and {"id", "pack": number, "source": 0}."""
    view: View | None = None
    for request in lines:
        told: dict[str, Any] = {"id": request.get("id")}
        try:
            if "open" in request:
                view = None
                view = View(request["open"], request.get("held_out"))
                told["rows"] = [one.source.count for one in view.sources]
            elif view is None:
                raise UserError("no data are open", "", "open them first", code=1)
            elif "pack" in request:
                told["pack"] = view.pack(int(request["pack"]), int(request.get("source") or 0))
            else:
                told["shown"] = view.row(int(request["row"]), int(request.get("source") or 0))
        except UserError as error:
            told["error"] = {**error.to_dict(), "code": error.code}
        except Exception as error:
            traceback.print_exc()
            why = str(error) or type(error).__name__
            told["error"] = {"what": "this row cannot be shown", "why": why, "todo": "", "code": 1}
        out.write(json.dumps(told) + "\n")


def main() -> None:
    serve(take_stdout(), requests())
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.modules["torch"] = None  # type: ignore[assignment]
    main()
