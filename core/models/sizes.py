"""Reads the numbers of a config.json, and says in words what is wrong with one that cannot be."""

from __future__ import annotations

from typing import Any

MOST = 100_000_000
"""No published model has a size near it: what is larger is a slip."""


class Odd(ValueError):
    """Something in a config that a shape cannot follow from; its text says what, in words for a user."""


def present(config: dict[str, Any], *names: str) -> Any:
    """The first of these that is there and not null, or None."""
    return next((config[name] for name in names if config.get(name) is not None), None)


def size(
    config: dict[str, Any], *names: str, otherwise: int | None = None, least: int = 1, most: int = MOST
) -> int:
    """A whole number from `least` to `most`. A list of one and the same number for every layer counts as it.

    Odd: it is missing (and there is no `otherwise`), or it is something else.
    """
    name = next((one for one in names if config.get(one) is not None), names[0])
    value = config.get(name)
    if value is None:
        if otherwise is None:
            raise Odd(f"its config.json lacks {names[0]}")
        return otherwise
    if isinstance(value, list) and value and all(one == value[0] for one in value):
        value = value[0]
    if isinstance(value, list):
        raise Odd(f"{name} differs from layer to layer")
    if isinstance(value, bool) or not isinstance(value, int):
        raise Odd(f"{name} is {shown(value)}, not a whole number")
    if not least <= value <= most:
        raise Odd(f"{name} is {shown(value)}")
    return value


def number(config: dict[str, Any], *names: str) -> int | None:
    """A size that may be missing or 0."""
    return size(config, *names, least=0) if present(config, *names) is not None else None


def numbers(config: dict[str, Any], name: str) -> list[int] | None:
    """A list of whole numbers, or None where there is none."""
    value = config.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(type(one) is int for one in value):
        raise Odd(f"{name} is {shown(value)}, not a list of whole numbers")
    return value


def switch(config: dict[str, Any], otherwise: bool, *names: str) -> bool:
    """True or false. Odd: it is something else."""
    value = present(config, *names)
    if value is None:
        return otherwise
    if not isinstance(value, bool):
        name = next(one for one in names if config.get(one) is not None)
        raise Odd(f"{name} is {shown(value)}, not true or false")
    return value


def shown(value: object) -> str:
    """A value in a message: short, and on one line."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits
        return "out of all bounds"
    return text if len(text) <= 40 else f"{text[:37]}…"
