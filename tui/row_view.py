"""Any row as the model sees it, from a process that is kept open for as long as the wizard is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from core.data.viewer import Viewer
from tui import find_out

if TYPE_CHECKING:
    from tui.journey import Journey


class RowView:
    """Opens the data anew only when a choice has changed what its rows become."""

    def __init__(self) -> None:
        self._viewer: Viewer | None = None
        self._opened: tuple[dict[str, Any], Any] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def row(self, journey: Journey, number: int, source: int = 0) -> dict[str, Any]:
        """What `core.data.view.View.row` tells of a row, counted from 1, and its `pack`. UserError as it."""
        held_out = (journey.report or {}).get("held_out")
        wanted = (find_out.data_request(journey), held_out)
        if self._viewer is None:
            self._viewer = Viewer()
        if self._opened != wanted:
            self._opened = None
            await self._viewer.open(*wanted)
            self._opened = wanted
        shown = await self._viewer.row(number, source)
        if shown.get("example") and not shown.get("refused"):
            shown["example"]["pack"] = await self._viewer.pack(number, source)
        return shown

    def stop(self) -> None:
        """Lets the process go, without waiting for it."""
        viewer, self._viewer, self._opened = self._viewer, None, None
        if viewer is not None:
            self._closing = asyncio.create_task(viewer.close())

    async def close(self) -> None:
        """Lets the process go; it is gone when this returns."""
        self.stop()
        if self._closing is not None:
            await self._closing
