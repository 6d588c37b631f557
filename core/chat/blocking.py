"""The chat for code without an event loop, such as the commands: the same client, one call at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import TracebackType

from core.chat.client import ChatProcess, Reply
from core.chat.talk import Done, Loading, Message, Ready, Settings, Side


class BlockingChat:
    """`ChatProcess` driven step by step; use it in a `with`."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._chat = ChatProcess()
        self._reply: Reply | None = None

    def start(
        self,
        *,
        run: Path | None = None,
        model: str | None = None,
        checkpoint: int | None = None,
        on_stage: Callable[[Loading], None] | None = None,
    ) -> Ready:
        """As `ChatProcess.start`."""
        return self._runner.run(
            self._chat.start(run=run, model=model, checkpoint=checkpoint, on_stage=on_stage)
        )

    def generate(
        self, messages: list[Message], *, side: Side = "tuned", settings: Settings | None = None
    ) -> Iterator[str]:
        """The pieces of an answer as they come; when it is whole, `done` and `notes` tell of it.

        KeyboardInterrupt stops the answer and lets the interrupt through; the model stays loaded.
        """

        async def begin() -> tuple[Reply, AsyncIterator[str]]:
            reply = self._chat.generate(messages, side=side, settings=settings)
            return reply, aiter(reply)

        async def after(pieces: AsyncIterator[str]) -> str | None:
            return await anext(pieces, None)

        self._reply, pieces = self._runner.run(begin())
        while (piece := self._runner.run(after(pieces))) is not None:
            yield piece

    @property
    def done(self) -> Done | None:
        """The last answer, once it is whole."""
        return self._reply.done if self._reply else None

    @property
    def notes(self) -> list[str]:
        return self._reply.notes if self._reply else []

    def save_transcript(self, path: str | Path) -> Path:
        return self._chat.save_transcript(path)

    def __enter__(self) -> BlockingChat:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._chat.close())
        self._runner.close()
