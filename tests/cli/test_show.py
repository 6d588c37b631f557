"""How the commands look: aligned, coloured only on a terminal, plain with NO_COLOR or into a pipe."""

import sys

import pexpect
import pytest

from core.cli import show
from core.job import environment

SCRIPT = "import sys; from core.cli import main; sys.exit(main(sys.argv[1:]))"


def on_a_terminal(*words: str, **env: str) -> str:
    told, _ = pexpect.run(
        f"{sys.executable} -c '{SCRIPT}' {' '.join(words)}",
        env={**environment(), "TERM": "xterm-256color", **env},
        withexitstatus=True,
        timeout=30,
    )
    return str(told.decode())


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in on_a_terminal("doctor")
    assert "\x1b[" not in on_a_terminal("doctor", NO_COLOR="1")
    assert "\x1b[" not in on_a_terminal("doctor", TERM="dumb")
    assert "\x1b[" not in show.findings([{"severity": "stop", "message": "into a pipe"}])


def test_a_table_lines_up() -> None:
    told = show.table([["a", "1"], ["longer", "1,000"]], ["name", "count"], right=(1,))
    assert told.splitlines() == ["name    count", "a           1", "longer  1,000"]


def test_no_progress_where_nobody_could_see_it(capsys: pytest.CaptureFixture[str]) -> None:
    tell, wipe = show.progress()
    tell("reading", 1, 2)
    wipe()
    assert capsys.readouterr() == ("", "")
