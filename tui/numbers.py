"""How plain numbers are said on a screen: as the commands say them."""

from core.numbers import GIB, UNKNOWN, count, duration, gib, money, number, percent, rate

__all__ = ["GIB", "UNKNOWN", "count", "duration", "gib", "money", "number", "percent", "rate"]
