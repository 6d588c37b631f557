"""The light half of the token view: starts the process that shows rows, and asks it for any row."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from types import TracebackType
from typing import Any

from core.errors import UserError
from core.job import see_off, spawn

SERVER = "core.data.view"
SECONDS_TO_LEAVE = 2.0


class Viewer:
    """One source, or several of a spec, held open in a process that leaves when this one does."""

    def __init__(self) -> None:
        self._child: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._next = 1
        self._log = ""

    async def open(self, request: dict[str, Any], held_out: dict[str, Any] | None = None) -> list[int | None]:
        """Opens what a request of `core.data.inspect` names; again for another. Rows of each source, or None.

        `held_out`: of the report on the whole data, where packs are to be shown. UserError: as that job.
        """
        if self._child is None or self._child.returncode is not None:
            await self._spawn()
        told = await self._ask({"open": request, "held_out": held_out})
        return list(told["rows"])

    async def row(self, number: int, source: int = 0) -> dict[str, Any]:
        """What `core.data.view.View.row` tells of a row, counted from 1. It may be cancelled."""
        shown: dict[str, Any] = (await self._ask({"row": number, "source": source}))["shown"]
        return shown

    async def pack(self, number: int, source: int = 0) -> dict[str, Any] | None:
        """{"rows", "start"} of the pack that a row begins in, or None."""
        pack: dict[str, Any] | None = (await self._ask({"pack": number, "source": source}))["pack"]
        return pack

    async def close(self) -> None:
        """Lets the process go; it is gone when this returns."""
        child, self._child = self._child, None
        if child is None:
            return
        await see_off(child, SECONDS_TO_LEAVE)
        if self._reading:
            await self._reading
        Path(self._log).unlink(missing_ok=True)

    async def __aenter__(self) -> Viewer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _spawn(self) -> None:
        self._child, self._log = await spawn(SERVER, "finetui-view")
        self._reading = asyncio.create_task(self._read(self._child))

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._child is None or self._child.returncode is not None:
            raise UserError(
                "the rows cannot be shown", "their process has left", "open the data again", code=1
            )
        number, self._next = self._next, self._next + 1
        self._waiting[number] = asyncio.get_running_loop().create_future()
        assert self._child.stdin
        self._child.stdin.write(json.dumps({"id": number, **request}).encode() + b"\n")
        try:
            with contextlib.suppress(ConnectionError):  # the reader sees the end and says why
                await self._child.stdin.drain()
            told = await self._waiting[number]
        finally:
            self._waiting.pop(number, None)
        if "error" in told:
            error = told["error"]
            raise UserError(error["what"], error["why"], error["todo"], code=error["code"])
        return told

    async def _read(self, child: asyncio.subprocess.Process) -> None:
        assert child.stdout
        async for line in child.stdout:
            told = json.loads(line)
            waiting = self._waiting.get(told["id"])
            if waiting and not waiting.done():
                waiting.set_result(told)
        await child.wait()
        why = "its process has left"
        with contextlib.suppress(OSError, IndexError):
            why = Path(self._log).read_text(errors="replace").strip().splitlines()[-1]
        ended = {"what": "the view of rows broke off", "why": why, "todo": "open the data again", "code": 1}
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result({"error": ended})
