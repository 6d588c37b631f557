"""A program in a pseudo-terminal of 120 x 40 whose output is read and timed, as a terminal would read it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
SIZE = (40, 120)
ESCAPES = re.compile(rb"\x1b\[[0-9;?<>=]*[ -/]*[@-~]|\x1b[@-_]")


class Terminal:
    """A program in a pseudo-terminal whose output is read and kept, as a terminal would."""

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        self.seen = b""
        self.bytes = 0
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            argv, stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=REPO, start_new_session=True
        )
        os.close(theirs)
        self._fd = ours
        self._found: dict[bytes, float] = {}
        self._wanted = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                return
            if not data:
                return
            self.bytes += len(data)
            self.seen = (self.seen + data)[-200_000:]

    def until(self, text: str, seconds: float = 60) -> float:
        """Seconds from the start until `text` was on the wire."""
        wanted = text.encode()
        deadline = time.perf_counter() + seconds
        while wanted not in ESCAPES.sub(b"", self.seen):
            if time.perf_counter() > deadline or self.process.poll() is not None:
                raise SystemExit(f"{text!r} was not shown in {seconds} s:\n{self.seen[-2000:]!r}")
            time.sleep(0.002)
        return time.perf_counter() - self.began

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._fd)


@contextmanager
def terminal(argv: list[str], home: Path) -> Iterator[Terminal]:
    env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "FINETUI_HOME": str(home)}
    env.pop("SSH_CONNECTION", None)
    one = Terminal(argv, env)
    try:
        yield one
    finally:
        one.end()
