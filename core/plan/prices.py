"""What the user pays for an hour of each card: a file of theirs beside the runs, `prices.yaml`.

currency: EUR          # if you like
RTX 4090: 0.42         # a card as --card knows it, and the price of an hour
A100 80GB: 1.35
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from core.errors import UserError
from core.machine import Finding
from core.plan.card_names import named
from core.plan.cards import Card
from core.runs.folder import home

FILE = "prices.yaml"
CURRENCY = "currency"


@dataclass(frozen=True)
class Prices:
    file: Path
    there: bool
    """Whether the file is."""
    currency: str = ""
    of: dict[str, float] = field(default_factory=dict)
    """Of an hour, by the names of the list of known cards."""

    def on(self, card: Card) -> Card:
        """The card with its price, where that is known."""
        price = self.of.get(card.listed or "")
        return card if price is None else replace(card, price=price)

    def to_dict(self) -> dict[str, Any]:
        return {"file": str(self.file), "there": self.there, "currency": self.currency, "cards": self.of}


def priced(card: Card) -> tuple[Card, tuple[Finding, ...]]:
    """The card with the user's price of it. A file that is wrong gives no price and a finding: what a run
    costs to know is no reason to refuse it."""
    try:
        return read_prices().on(card), ()
    except UserError as error:
        what = f"{error.what}: {error.why}. No cost is told from it"
        return card, (Finding("warn", "prices", what, error.todo),)


def read_prices(file: Path | None = None) -> Prices:
    """The user's prices; none where there is no file. UserError names at once all that is wrong with it."""
    file = file or home() / FILE
    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Prices(file, False)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read", str(error), "mend it, or move it away") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else "it is not YAML"
        raise UserError(f"{file} is not understood", where, _EXAMPLE) from None
    if said is None:
        return Prices(file, True)
    if not isinstance(said, dict):
        raise UserError(f"{file} is not understood", "it is no list of names and prices", _EXAMPLE)
    currency, wrong, prices = "", [], dict[str, float]()
    for key, value in said.items():
        if key == CURRENCY:
            currency = str(value)
            continue
        try:
            name = named(str(key)).name
        except UserError as error:
            wrong.append(f"{error.what} ({error.todo.partition('? Or')[0].partition(', or --vram')[0]})")
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            wrong.append(f"{key}: {value} is no price of an hour")
        elif name in prices:
            wrong.append(f"{key} is {name}, which has a price already")
        else:
            prices[name] = float(value)
    if wrong:
        raise UserError(f"{file} is not understood", "; ".join(wrong), _EXAMPLE)
    return Prices(file, True, currency, prices)


_EXAMPLE = "write a line a card, such as RTX 4090: 0.42"
