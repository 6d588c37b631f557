"""Runs one heavy function in another process, so that the screen and the commands stay light.

The child speaks JSON lines on its true stdout; whatever libraries print goes to a log file instead.
"""

import asyncio
import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from core.errors import UserError

Progress = Callable[[str, int, int | None], None]
"""Called with what is happening, how much is done, and of how much (None: nobody knows)."""

SECONDS_BETWEEN_LOOKS = 2.0  # of a child that stays, at whether the parent is still there
LARGEST_LINE = 64 * 2**20  # a report holds at most some hundred rows; this bounds a broken child


def command(module: str) -> list[str]:
    """How a module of ours is started. `-P`: a user's own folder named core must not shadow it."""
    return [sys.executable, "-P", "-m", module]


def environment() -> dict[str, str]:
    """The environment of a child: this one, with our packages findable and libraries calm."""
    home = str(Path(__file__).resolve().parent.parent)
    paths = [home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "true",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": os.environ.get("TRANSFORMERS_VERBOSITY", "error"),
        # torch's threads wait for each other by spinning: where anything else wants a core, a CPU step
        # then took four times as long and seven times the CPU (3 M parameters, two shared cores)
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
    }


# ---- the child ----


def take_stdout() -> IO[str]:
    """The true stdout for our own lines; from here on file descriptor 1 is where 2 goes."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return ours


def serve(answer: Callable[[dict[str, Any], Progress], dict[str, Any]]) -> None:
    """Answers the one request on stdin and leaves; exit status 0 when it was answered."""
    out = take_stdout()

    def say(**message: Any) -> None:
        out.write(json.dumps(message) + "\n")

    def progress(stage: str, done: int, total: int | None = None) -> None:
        say(progress={"stage": stage, "done": done, "total": total})

    try:
        say(result=answer(json.load(sys.stdin), progress))
    except UserError as error:
        say(error={**error.to_dict(), "code": error.code})
    except BrokenPipeError:
        os._exit(1)
    except BaseException:
        traceback.print_exc()
        sys.exit(1)


def requests() -> Iterator[dict[str, Any]]:
    """For a child that stays: the lines of stdin until it closes or the parent is gone."""
    parent, tail = os.getppid(), b""
    while os.getppid() == parent:
        if not select.select([0], [], [], SECONDS_BETWEEN_LOOKS)[0]:
            continue
        read = os.read(0, 1 << 16)
        if not read:
            return
        *lines, tail = (tail + read).split(b"\n")
        yield from (json.loads(line) for line in lines)


# ---- the parent ----


def run_job(
    module: str,
    request: dict[str, Any],
    on_progress: Progress | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    """The child's answer. UserError: as the child said it, or naming its log when it broke."""

    async def bounded() -> dict[str, Any]:
        async with asyncio.timeout(timeout):
            return await run_job_async(module, request, on_progress)

    try:
        return asyncio.run(bounded())
    except TimeoutError:
        raise UserError(f"{module} took too long", f"more than {timeout:g} s", code=1) from None


async def spawn(module: str, name: str = "finetui") -> tuple[asyncio.subprocess.Process, str]:
    """A child that speaks JSON lines on stdin and stdout, and the path of its log; the caller removes it."""
    fd, log = tempfile.mkstemp(prefix=f"{name}-", suffix=".log")
    try:
        child = await asyncio.create_subprocess_exec(
            *command(module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=fd,
            env=environment(),
            limit=LARGEST_LINE,
            start_new_session=True,  # Ctrl-C in the terminal is for the parent to answer
        )
    finally:
        os.close(fd)
    return child, log


async def see_off(child: asyncio.subprocess.Process, seconds: float) -> None:
    """Ends a child: it is to leave when its stdin closes, and is killed where it does not in so long."""
    if child.stdin:
        child.stdin.close()
    try:
        await asyncio.wait_for(child.wait(), seconds)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def run_job_async(
    module: str, request: dict[str, Any], on_progress: Progress | None = None
) -> dict[str, Any]:
    """As `run_job`, on an event loop; cancelling it ends the child."""
    child, log = await spawn(module)
    assert child.stdin and child.stdout
    answer: dict[str, Any] = {}
    try:
        child.stdin.write(json.dumps(request).encode())
        with contextlib.suppress(ConnectionError):
            await child.stdin.drain()
        child.stdin.close()
        async for line in child.stdout:
            message = json.loads(line)
            if "progress" not in message:
                answer = message
            elif on_progress:
                step = message["progress"]
                on_progress(step["stage"], step["done"], step["total"])
        await child.wait()
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    if "result" in answer:
        Path(log).unlink(missing_ok=True)
        result: dict[str, Any] = answer["result"]
        return result
    if "error" in answer:
        Path(log).unlink(missing_ok=True)
        error = answer["error"]
        raise UserError(error["what"], error["why"], error["todo"], code=error["code"])
    raise _broke(module, child.returncode, log)


def _broke(module: str, status: int | None, log: str) -> UserError:
    name = module.rsplit(".", 1)[-1]
    lines = Path(log).read_text(errors="replace").strip().splitlines()
    why = lines[-1] if lines else f"exit status {status}"
    if status == -9:
        why = "it was killed, most likely for using too much memory"
    return UserError(f"{name} broke off", why, "try again, and report this if it stays", code=1, log=log)
