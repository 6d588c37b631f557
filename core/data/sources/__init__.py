"""Rows from any source: files, folders, data sets of the Hub and web pages, streamed or memory-mapped."""

from core.data.sources.open import open_source
from core.data.sources.source import Row, Source

__all__ = ["Row", "Source", "open_source"]
