"""The chat for code without an event loop, such as the commands: the same client, one call at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
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

        KeyboardInterrupt ends the answer (`done.stopped` is "asked") and goes on to the caller;
        the model stays loaded.
        """

        async def begin() -> Reply:
            return self._chat.generate(messages, side=side, settings=settings)

        async def end(reply: Reply) -> None:
            await reply.stop()
            while await reply.piece() is not None:
                pass

        self._reply = reply = self._runner.run(begin())
        try:
            while (piece := self._runner.run(reply.piece())) is not None:
                yield piece
        except (KeyboardInterrupt, GeneratorExit):
            self._runner.run(end(reply))
            raise

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
