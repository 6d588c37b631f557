"""How plain numbers are said to a person: GiB, h:mm, k, %, money. Unknown is a value and reads "?"."""

from __future__ import annotations

GIB = 2**30
UNKNOWN = "?"


def gib(value: float | None) -> str:
    """Bytes as GiB with three digits that matter, or MiB where GiB would read 0.0."""
    if value is None:
        return UNKNOWN
    size = value / GIB
    if size >= 100:
        return f"{size:.0f} GiB"
    if size >= 0.095 or value == 0:
        return f"{size:.1f} GiB"
    return f"{value / 2**20:.0f} MiB" if value >= 2**20 else f"{value / 1024:.0f} KiB"


def duration(seconds: float | None) -> str:
    """Seconds as "40 s", "12 min", "3:05 h" or "2 days 3 h"."""
    if seconds is None:
        return UNKNOWN
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60}:{minutes % 60:02d} h"
    hours = round(seconds / 3600)
    return f"{hours // 24} days {hours % 24} h"


def count(value: float | None) -> str:
    """A number of things: "1,350", and from a hundred thousand on "135 k", "16.2 M", "8.03 B"."""
    if value is None:
        return UNKNOWN
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e5, "k")):
        if value >= size:
            scaled = value / (1e3 if unit == "k" else size)
            digits = 0 if scaled >= 100 else 1 if scaled >= 10 else 2
            return f"{scaled:.{digits}f} {unit}"
    return f"{value:,.0f}"


def percent(share: float | None) -> str:
    """A share of 1: "98 %", and "0.4 %" where a whole number would hide it."""
    if share is None:
        return UNKNOWN
    return f"{share * 100:.1f} %" if 0 < share < 0.0095 else f"{share * 100:.0f} %"


def money(value: float | None) -> str:
    """An amount in the currency of the price per hour, which the tool does not know."""
    if value is None:
        return UNKNOWN
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """A learning rate as people write it: "2e-4", "1.5e-5"."""
    if value is None:
        return UNKNOWN
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def number(value: float | None) -> str:
    """A dial's value with nothing that does not matter: "3", "0.05", "1.5"."""
    return UNKNOWN if value is None else f"{value:g}"
