"""The terminal itself: whether the wizard can live in it, and leaving at once when it is gone."""

import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Callable, Mapping

from core.errors import UserError

LEAST_COLUMNS = 60
LEAST_ROWS = 18
GONE = 129  # the exit status of a process that a hang-up ended
LOOK_SECONDS = 2.0
WITHOUT = "the commands work without one (finetui --help), and so does finetui --plain"


def refusal(environ: Mapping[str, str] = os.environ) -> UserError | None:
    """Why the wizard cannot run here, and what works instead; None when it can."""
    # textual reads from standard input and draws on standard error
    for stream, name in ((sys.stdin, "input"), (sys.stdout, "output"), (sys.stderr, "error")):
        if stream is None or not stream.isatty():
            return UserError("the wizard needs a terminal", f"standard {name} is none", WITHOUT)
    if environ.get("TERM", "") in ("", "dumb", "unknown"):
        kind = environ.get("TERM") or "not set"
        todo = f"set TERM to what your terminal is, mostly xterm-256color; {WITHOUT}"
        return UserError("this terminal cannot draw a screen", f"TERM is {kind}", todo)
    columns, rows = os.get_terminal_size(sys.stdout.fileno())
    # 0 is what a terminal reports that was never told its size; the wizard then takes 80 x 24
    if 0 < columns < LEAST_COLUMNS or 0 < rows < LEAST_ROWS:
        why = f"it is {columns} x {rows} and the wizard needs {LEAST_COLUMNS} x {LEAST_ROWS}"
        return UserError("the window is too small", why, f"enlarge it; {WITHOUT}")
    return None


def guard(leave: Callable[[], object]) -> None:
    """Make sure that this process ends with its terminal. Call on the event loop's thread.

    A closed window sends SIGHUP. Under `docker exec` nothing is sent, and textual (8.2.8) would read a dead
    terminal for ever at full load: a thread waits for the hang-up itself. Choices are saved at every change,
    and nothing that trains lives here, so leaving on the spot loses nothing. SIGTERM leaves in good order.
    """
    import asyncio

    signal.signal(signal.SIGHUP, lambda *_: os._exit(GONE))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave)
    threading.Thread(target=_wait_for_hang_up, name="terminal-watch", daemon=True).start()


def _wait_for_hang_up() -> None:
    fd = sys.__stdin__.fileno() if sys.__stdin__ else 0
    poller = select.poll()
    poller.register(fd, 0)  # hang-up and errors are told unasked
    while True:
        told = poller.poll(LOOK_SECONDS * 1000)
        if any(what & (select.POLLHUP | select.POLLERR) for _, what in told) or not _answers(fd):
            os._exit(GONE)


def _answers(fd: int) -> bool:
    try:
        termios.tcgetattr(fd)
    except termios.error:
        return False
    return True
