"""The chat's process: both sides at once, stopping in the middle, and leaving when nobody is left."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from core.chat.client import ChatProcess, Reply
from core.chat.talk import Settings
from core.errors import UserError
from core.job import command, environment
from core.runs.folder import RunFolder

STORY = [{"role": "user", "content": "Once upon a time there was a girl. She"}]


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_both_sides_stream_at_once_and_can_be_stopped(adapter_run: RunFolder) -> None:
    async with ChatProcess() as chat:
        stages: list[str] = []
        ready = await chat.start(run=adapter_run.path, on_stage=lambda now: stages.append(now.stage))
        assert ready.sides == ("tuned", "base")
        assert stages == ["libraries", "base model", "adapter"]

        alone = {}
        for side in ready.sides:
            reply = chat.generate(STORY, side=side, settings=Settings(0, max_tokens=40))
            alone[side] = "".join([piece async for piece in reply])
        order: list[str] = []

        async def listen(reply: Reply) -> str:
            text = ""
            async for piece in reply:
                order.append(reply.side)
                text += piece
            return text

        both = [chat.generate(STORY, side=side, settings=Settings(0, max_tokens=40)) for side in ready.sides]
        together = await asyncio.gather(*map(listen, both))
        assert dict(zip(ready.sides, together, strict=True)) == alone  # neither hears the other's weights
        changes = sum(a != b for a, b in itertools.pairwise(order))
        assert changes > 10, "the sides took turns"

        long = chat.generate(STORY, side="tuned", settings=Settings(1.0, max_tokens=200, seed=1))
        said = ""
        async for piece in long:
            said += piece
            if len(said) > 10:
                await long.stop()
        assert long.done is not None
        assert long.done.stopped == "asked"
        assert long.done.answer == said
        assert long.done.tokens < 200

        async for _ in chat.generate(STORY, side="tuned", settings=Settings(1.0, max_tokens=450)):
            break  # nobody listens any more: the next answer must not wait for it
        reply = chat.generate(STORY, side="base", settings=Settings(0, max_tokens=40))
        assert "".join([piece async for piece in reply]) == alone["base"]
        assert [one.side for one in chat.exchanges].count("base") == 3
        assert len(chat.exchanges) == 6  # all but the one that nobody listened to


async def test_a_process_that_is_killed_is_said_in_one_line(small_model: Path) -> None:
    chat = ChatProcess()
    await chat.start(model=str(small_model))
    assert chat._child
    reply = chat.generate(STORY, side="base", settings=Settings(1.0, max_tokens=450, seed=1))
    with pytest.raises(UserError, match="the chat broke off: it was killed"):
        async for _ in reply:
            with contextlib.suppress(ProcessLookupError):
                chat._child.send_signal(signal.SIGKILL)
    await chat.close()


def test_it_leaves_when_its_stdin_closes_even_in_the_middle_of_an_answer(small_model: Path) -> None:
    server = subprocess.Popen(
        command("core.chat.server"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    assert server.stdin and server.stdout
    request = {"temperature": 1.0, "top_p": 1.0, "max_tokens": 480, "stop": [], "seed": 1}
    for one in (
        {"op": "load", "run": None, "model": str(small_model), "checkpoint": None},
        {"op": "generate", "id": 1, "side": "base", "messages": STORY, **request},
    ):
        server.stdin.write(json.dumps(one) + "\n")
    server.stdin.flush()
    while "token" not in json.loads(server.stdout.readline()):
        pass
    server.stdin.close()
    until(lambda: server.poll() is not None)
    assert server.returncode == 0
    server.stdout.close()


def test_it_leaves_when_its_parent_dies_though_someone_holds_its_stdin() -> None:
    read, write = os.pipe()
    script = (
        "import subprocess, sys, time\n"
        "from core.job import command\n"
        f"child = subprocess.Popen(command('core.chat.server'), stdin={read})\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, pass_fds=[read], env=environment(), text=True
    )
    assert parent.stdout
    child = psutil.Process(int(parent.stdout.readline()))
    os.write(write, b'{"op": "generate", "id": 1}\n')
    assert "nothing is loaded" in parent.stdout.readline()  # so it is awake and knows its parent
    parent.kill()
    parent.wait()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    parent.stdout.close()
    os.close(read)
    os.close(write)
