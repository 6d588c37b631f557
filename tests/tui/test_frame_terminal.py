"""The real program in a real pseudo-terminal: where it refuses to start, and its end with its terminal."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.tui.conftest import MakeRun
from tui.__main__ import split

REPO = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-P", "-m", "tui"]
PATIENCE = 30.0  # seconds; starting takes about one, and this machine may be busy


@dataclass
class Terminal:
    """One program in a pseudo-terminal of its own; `controlling` False is how `docker exec -t` starts one."""

    columns: int = 80
    rows: int = 24
    controlling: bool = True
    env: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = tuple(COMMAND)
    arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.master, slave = pty.openpty()
        self.resize(self.columns, self.rows)
        environ = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(REPO)}
        for fixed in ("COLUMNS", "LINES"):  # a test runner's; a window has its own size
            environ.pop(fixed, None)
        environ |= self.env

        def adopt() -> None:
            os.setsid()
            if self.controlling:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [*self.command, *self.arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environ,
            preexec_fn=adopt,
        )
        os.close(slave)
        self.seen = b""
        self.open = True

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def drag(self, columns: int, rows: int, done: Callable[[bytes], bool]) -> None:
        """Resizes as a hand at the edge of a window does: many sizes, until `done` says so."""
        drawn, deadline = b"", time.monotonic() + PATIENCE
        while not done(drawn):
            assert time.monotonic() < deadline, f"not seen in {PATIENCE:g} s"
            for wider in (1, 0):
                self.resize(columns + wider, rows)
                if select.select([self.master], [], [], 1)[0]:
                    drawn += os.read(self.master, 65536)
        self.seen += drawn

    def read_until(self, done: Callable[[bytes], bool]) -> bytes:
        """What was drawn since the last call, up to the moment that `done` says so of it."""
        deadline = time.monotonic() + PATIENCE
        drawn = b""
        while not done(drawn):
            left = deadline - time.monotonic()
            assert left > 0, f"not seen in {PATIENCE:g} s; drawn was {drawn[-2000:]!r}"
            ready, _, _ = select.select([self.master], [], [], min(left, 0.5))
            try:
                drawn += os.read(self.master, 65536) if ready else b""
            except OSError:  # the program has left its terminal
                assert done(drawn), f"it left; drawn was {drawn[-2000:]!r}"
        return drawn

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def hang_up(self) -> None:
        os.close(self.master)
        self.open = False

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        if self.open:
            os.close(self.master)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    started: list[Terminal] = []

    def start(**given: object) -> Terminal:
        started.append(Terminal(**given))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for one in started:
        one.end()


def shows(text: str) -> Callable[[bytes], bool]:
    return lambda drawn: text.encode() in drawn


def test_it_opens_and_quits(terminal: Callable[..., Terminal]) -> None:
    one = terminal()
    one.read_until(shows("Start a run"))
    one.press("\x11")  # ctrl+q
    one.read_until(shows("\x1b[?1049l"))  # back on the normal screen
    assert one.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("controlling", [True, False], ids=["window closed", "docker exec cut off"])
def test_it_ends_with_its_terminal(terminal: Callable[..., Terminal], controlling: bool) -> None:
    one = terminal(controlling=controlling)
    one.read_until(shows("Start a run"))
    one.hang_up()
    assert one.process.wait(10) in (129, -signal.SIGHUP)


def test_a_signal_to_end_leaves_the_terminal_in_order(terminal: Callable[..., Terminal]) -> None:
    one = terminal()
    one.read_until(shows("Start a run"))
    one.process.send_signal(signal.SIGTERM)
    one.read_until(shows("\x1b[?1049l"))
    assert one.process.wait(PATIENCE) == 0


def test_a_window_made_too_small_is_covered_and_comes_back(terminal: Callable[..., Terminal]) -> None:
    one = terminal(env={"COLUMNS": "80", "LINES": "24"})  # as a shell may tell it once and for all
    one.read_until(shows("Start a run"))
    one.drag(40, 10, shows("Nothing is lost"))
    one.drag(80, 24, shows("Start a run"))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"columns": 50, "rows": 24}, "it is 50 x 24 and the wizard needs 60 x 18"),
        ({"columns": 80, "rows": 10}, "it is 80 x 10 and the wizard needs 60 x 18"),
        ({"env": {"TERM": "dumb"}}, "TERM is dumb"),
    ],
)
def test_a_terminal_that_cannot_show_it_is_refused(
    terminal: Callable[..., Terminal], given: dict[str, object], why: str
) -> None:
    one = terminal(**given)
    said = one.read_until(shows("--plain")).decode()
    assert one.process.wait(PATIENCE) == 2
    assert why in said and "finetui --help" in said
    assert len(said.strip().splitlines()) == 1
    assert "\x1b" not in said, "nothing of a screen may have been drawn"


@pytest.mark.parametrize(("stream", "name"), [("stdin", "input"), ("stdout", "output"), ("stderr", "error")])
def test_what_is_no_terminal_is_refused(stream: str, name: str, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    streams = {"stdin": slave, "stdout": slave, "stderr": slave}
    with (tmp_path / "file").open("w+b") as file:
        streams[stream] = file.fileno()
        environ = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(REPO)}
        process = subprocess.Popen(COMMAND, **streams, env=environ)  # type: ignore[call-overload]
        os.close(slave)
        assert process.wait(PATIENCE) == 2
        file.seek(0)
        said = file.read() if stream == "stderr" else os.read(master, 65536)
    os.close(master)
    assert f"the wizard needs a terminal: standard {name} is none" in said.decode()


def test_attach_opens_the_run(terminal: Callable[..., Terminal], make_run: MakeRun) -> None:
    make_run("tone", steps=20, total=20)
    one = terminal(arguments=("attach", "tone"))
    one.read_until(shows("held out"))
    one.press("q")
    said = one.read_until(shows("finetui attach tone"))
    assert b"tone is finished" in said
    assert one.process.wait(PATIENCE) == 0


def test_a_run_that_is_not_there_is_one_line(terminal: Callable[..., Terminal], make_run: MakeRun) -> None:
    make_run("tone")
    one = terminal(arguments=("attach", "toen"))
    said = one.read_until(shows("tone?")).decode()
    assert one.process.wait(PATIENCE) == 2
    assert "no run is called toen" in said and "\x1b" not in said


def test_an_error_of_ours_is_one_line_and_a_log(
    terminal: Callable[..., Terminal], finetui_home: Path
) -> None:
    broken = (
        "from tui.screens.aim import AimScreen; from tui.__main__ import main\n"
        "def fail(self): raise ZeroDivisionError('of the test')\n"
        "AimScreen.compose_step = fail\n"
        "raise SystemExit(main([]))"
    )
    one = terminal(command=(sys.executable, "-c", broken))
    one.read_until(shows("Start a run"))
    one.press("n")
    said = one.read_until(shows("finetui.log")).decode()
    assert one.process.wait(PATIENCE) == 1
    assert "ZeroDivisionError: of the test" in said and "Traceback" not in said
    assert "in fail" in (finetui_home / "finetui.log").read_text()


def test_plain_asks_and_refuses_in_lines(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    one = terminal(arguments=("--plain",))
    one.read_until(shows("Base model"))
    one.press(f"{tmp_path}/nothing\n")
    one.read_until(shows("Data, a file"))
    one.press("rows.jsonl\n")
    one.read_until(shows("Method"))
    one.press("\n")
    one.read_until(shows("is not there: no such folder"))
    assert one.process.wait(PATIENCE) == 2


def test_plain_ends_with_an_empty_answer(terminal: Callable[..., Terminal]) -> None:
    one = terminal(arguments=("--plain",))
    one.read_until(shows("Base model"))
    one.press("\n")
    assert one.process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("words", "means"),
    [
        ([], ([], None, False)),
        (["--plain", "--runs", "/r"], ([], Path("/r"), True)),
        (["attach", "one", "--runs=/r"], (["attach", "one"], Path("/r"), False)),
        (["attach", "one", "--json"], (None, None, False)),
        (["--runs"], (None, None, False)),
        (["--help"], (None, None, False)),
    ],
)
def test_what_a_call_means(words: list[str], means: object) -> None:
    assert split(words) == means


def test_plain_gives_text_where_nobody_can_answer() -> None:
    environ = {**os.environ, "TERM": "dumb", "PYTHONPATH": str(REPO)}
    done = subprocess.run(
        [*COMMAND, "--plain"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environ,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "No runs" in done.stdout and "finetui --help" in done.stdout
    assert "\x1b" not in done.stdout
