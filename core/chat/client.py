"""The light half of the chat: starts the process that holds the model, asks it, and streams its answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from core.chat.talk import (
    Done,
    Exchange,
    Loading,
    Message,
    Ready,
    Settings,
    Side,
    result_of,
    save_transcript,
)
from core.errors import UserError
from core.job import see_off, spawn
from core.runs.folder import RunFolder

SERVER = "core.chat.server"
SECONDS_TO_LEAVE = 5.0


class Reply:
    """One answer as it comes: `async for piece in reply`; afterwards `reply.done` holds the whole."""

    def __init__(
        self, chat: ChatProcess, number: int, side: Side, messages: list[Message], settings: Settings
    ):
        self.side, self.messages, self.settings = side, messages, settings
        self.done: Done | None = None
        self.notes: list[str] = []
        """What a person should know of this answer, such as turns that no longer fitted."""
        self._chat, self._number = chat, number
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def stop(self) -> None:
        """Ask for the end of this answer; what was said until then stays (`stopped` is "asked")."""
        await self._chat._send({"op": "stop", "id": self._number})

    async def piece(self) -> str | None:
        """The next piece of text, None when the answer is whole. Being cancelled here loses nothing."""
        while self.done is None:
            message = await self._queue.get()
            if "token" in message:
                return str(message["token"])
            if "note" in message:
                self.notes.append(message["note"])
            elif "done" in message:
                self.done = Done(**message["done"])
                kept = Exchange(self.side, self.messages, self.settings, self.done, self.notes)
                self._chat.exchanges.append(kept)
                self._chat._replies.pop(self._number, None)
            else:
                self._chat._replies.pop(self._number, None)
                raise self._chat._refusal(message["error"])
        return None

    async def __aiter__(self) -> AsyncIterator[str]:
        try:
            while (piece := await self.piece()) is not None:
                yield piece
        finally:
            if self._chat._replies.pop(self._number, None):  # left in the middle: nobody listens any more
                with contextlib.suppress(UserError):
                    await self.stop()


class ChatProcess:
    """A model in a process of its own. One at a time is loaded; several answers may stream at once.

    The process leaves when this one does, whatever the way: its stdin closes.
    """

    def __init__(self) -> None:
        self.ready: Ready | None = None
        self.exchanges: list[Exchange] = []
        """Every whole answer so far, oldest first."""
        self.about = ""
        self._child: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._loaded: asyncio.Future[Ready] | None = None
        self._on_stage: Callable[[Loading], None] | None = None
        self._replies: dict[int, Reply] = {}
        self._next = 1
        self._log = ""
        self._keep_log = False

    async def start(
        self,
        *,
        run: Path | None = None,
        model: str | None = None,
        checkpoint: int | None = None,
        on_stage: Callable[[Loading], None] | None = None,
    ) -> Ready:
        """Load a run (its result, or the checkpoint of a step) or a plain model: a folder or Hub id.

        Called again, it loads another one in the same process; a run's other checkpoint takes only as
        long as its adapter. UserError when it cannot be loaded; the process is then still usable.
        """
        if run is not None:  # what is plainly missing need not wait for the libraries
            RunFolder(run).spec()
            result_of(RunFolder(run), checkpoint)
        if self._child is None or self._child.returncode is not None:
            await self._spawn()
        self.about = f"{run.name if run else model}" + (f" at step {checkpoint}" if checkpoint else "")
        self._on_stage = on_stage
        self._loaded = asyncio.get_running_loop().create_future()
        where = str(run) if run else None
        await self._send({"op": "load", "run": where, "model": model, "checkpoint": checkpoint})
        self.ready = await self._loaded
        return self.ready

    def generate(
        self, messages: list[Message], *, side: Side = "tuned", settings: Settings | None = None
    ) -> Reply:
        """Ask for an answer to a conversation whose last turn is the user's."""
        settings = settings or Settings()
        reply = Reply(self, self._next, side, [dict(turn) for turn in messages], settings)
        self._next += 1
        self._replies[reply._number] = reply
        request = {
            "op": "generate",
            "id": reply._number,
            "side": side,
            "messages": reply.messages,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "max_tokens": settings.max_tokens,
            "stop": list(settings.stop),
            "seed": settings.seed,
        }
        if self._child is None or self._child.returncode is not None:
            reply._queue.put_nowait({"error": self._broke()})
        else:
            self._write(request)
        return reply

    async def stop(self) -> None:
        """Ask for the end of every answer that is streaming."""
        for reply in list(self._replies.values()):
            await reply.stop()

    async def close(self) -> None:
        """Let the process go; it is gone when this returns."""
        child, self._child = self._child, None
        if child is None:
            return
        await see_off(child, SECONDS_TO_LEAVE)
        if self._reading:
            await self._reading
        if not self._keep_log:
            Path(self._log).unlink(missing_ok=True)

    def save_transcript(self, path: str | Path) -> Path:
        """Write what was said so far (Markdown, .json or .jsonl by the path's ending)."""
        return save_transcript(path, self.about, self.exchanges)

    async def __aenter__(self) -> ChatProcess:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # ---- the wire ----

    async def _spawn(self) -> None:
        self._child, self._log = await spawn(SERVER, "finetui-chat")
        self._reading = asyncio.create_task(self._read(self._child))

    def _write(self, message: dict[str, Any]) -> None:
        assert self._child and self._child.stdin
        self._child.stdin.write(json.dumps(message).encode() + b"\n")

    async def _send(self, message: dict[str, Any]) -> None:
        if self._child is None or self._child.returncode is not None:
            raise self._refusal(self._broke())
        self._write(message)
        assert self._child.stdin
        with contextlib.suppress(ConnectionError):  # the reader sees the end and says why
            await self._child.stdin.drain()

    async def _read(self, child: asyncio.subprocess.Process) -> None:
        assert child.stdout
        async for line in child.stdout:
            self._take(json.loads(line))
        await child.wait()
        ended = self._broke()
        if self._loaded and not self._loaded.done():
            self._loaded.set_exception(self._refusal(ended))
        for reply in list(self._replies.values()):
            reply._queue.put_nowait({"error": ended})

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            reply = self._replies.get(message["id"])
            if reply:
                reply._queue.put_nowait(message)
        elif "stage" in message:
            if self._on_stage:
                self._on_stage(Loading(message["stage"], message.get("done", 0), message.get("total")))
        elif self._loaded and not self._loaded.done():
            if "ready" in message:
                ready = message["ready"]
                for name in ("sides", "checkpoints", "notes"):
                    ready[name] = tuple(ready.get(name, ()))
                self._loaded.set_result(Ready(**ready))
            else:
                self._loaded.set_exception(self._refusal(message["error"]))

    def _refusal(self, error: dict[str, Any]) -> UserError:
        log = None
        if error.get("unexpected"):  # the child could not say what is wrong in words; its log can
            log, self._keep_log = self._log, True
        return UserError(error["what"], error["why"], error["todo"], code=error.get("code", 1), log=log)

    def _broke(self) -> dict[str, Any]:
        with contextlib.suppress(OSError):
            lines = Path(self._log).read_text(errors="replace").strip().splitlines()
            if self._child and self._child.returncode == -9:
                lines = ["it was killed, most likely for using too much memory"]
            if self._child and lines:
                return {
                    "what": "the chat broke off",
                    "why": lines[-1],
                    "todo": "open the chat again",
                    "unexpected": True,
                }
        return {"what": "the chat is over", "why": "its process has left", "todo": "open the chat again"}
