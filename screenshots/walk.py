"""Walks the wizard through a whole run, with keys alone in a real terminal, and keeps what the run told.

    python screenshots/walk.py OUT MODEL DATA [--method qlora] [--steps 60] [--ask "question"]

OUT gets the folder of the run without its weights (`run.yaml`, `events.jsonl`, `worker.log`,
`report.json`), and every screen that was passed as text.
"""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

import pexpect
import pyte

ROOT = Path(__file__).resolve().parent.parent
METHODS = ("full", "lora", "qlora")
NEXT, ENTER, DOWN, UP, TAB = "\x0e", "\r", "\x1b[B", "\x1b[A", "\t"


class Terminal:
    """finetui in a pseudo-terminal of 120x40, read as a person would see it."""

    def __init__(self, out: Path, columns: int = 120, rows: int = 40):
        self.out = out
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        env = {
            **os.environ,
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "PYTHONPATH": ":".join(paths),
        }
        self.process = pexpect.spawn(
            sys.executable, ["-P", "-m", "tui"], dimensions=(rows, columns), env=env, cwd=str(out)
        )

    def text(self) -> str:
        return "\n".join(self.screen.display)

    def read(self, seconds: float) -> None:
        """Takes in what the program draws for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                self.stream.feed(self.process.read_nonblocking(65536, timeout=0.1))
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                raise SystemExit(f"the wizard ended:\n{self.text()}") from None

    def until(self, *words: str, seconds: float = 120) -> None:
        """Waits until one of the words is on the screen."""
        end = time.monotonic() + seconds
        while not any(word in self.text() for word in words):
            self.read(0.3)
            if time.monotonic() > end:
                raise SystemExit(f"{' / '.join(words)} did not come up in {seconds:.0f} s:\n{self.text()}")
        self.read(0.5)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.process.send(key)
            self.read(0.4)

    def keep(self, name: str) -> None:
        (self.out / f"{name}.txt").write_text(self.text() + "\n")
        print(f"== {name}\n{self.text()}", flush=True)


def walk(given: argparse.Namespace, out: Path) -> None:
    """From the first screen to the end of a run, and a word with what it made."""
    terminal = Terminal(out)
    press, until, keep = terminal.press, terminal.until, terminal.keep
    until("Fine-tune a language model", "new run")
    press("n")
    until("What is it for?")
    keep("aim")
    press(NEXT)
    until("What this machine has")
    until("Driver")
    keep("machine")
    press(NEXT)
    until("Which model shall learn?")
    terminal.read(2)
    press(given.model)
    terminal.read(1)
    press(ENTER)
    until("What shall it learn from?")
    press(given.data)
    terminal.read(1)
    press(ENTER)
    until("held out ·", "to learn from", seconds=180)
    keep("data")
    press(NEXT)
    until("tokens,")
    keep("template")
    press(NEXT)
    until("tokens/s ≈")
    if given.method:  # LoRA is recommended where it fits, and so it is the one that is marked
        press(*{"full": [UP], "lora": [], "qlora": [DOWN]}[given.method])
    if given.steps:
        press("d", *[TAB] * 7)
        terminal.read(1)
        press(*str(given.steps))
    terminal.read(1)
    keep("method")
    press(NEXT)
    until("Is this the run?")
    until("run.yaml")
    keep("review")
    press(ENTER)
    until("step 1", "starting", seconds=60)
    until("step ", seconds=240)
    terminal.read(20)
    keep("train-early")
    until("finished", "stopped", "failed", "died", seconds=given.seconds)
    terminal.read(2)
    keep("train")
    if given.ask:
        press("c")
        until("ready", seconds=120)
        press(*given.ask)
        press(ENTER)
        terminal.read(25)
        keep("chat")
    terminal.process.sendintr()
    terminal.process.close(force=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--method", choices=METHODS)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--ask")
    parser.add_argument("--seconds", type=float, default=480, help="most that the run may take")
    given = parser.parse_args()
    out: Path = given.out.absolute()
    if (out / "home").exists():
        raise SystemExit(f"{out} holds an earlier walk, whose draft would be in the way: name a new folder")
    out.mkdir(parents=True, exist_ok=True)
    os.environ["FINETUI_HOME"] = str(out / "home")
    for name in ("model", "data"):  # the wizard is opened in OUT
        path = Path(getattr(given, name))
        setattr(given, name, str(path.absolute()) if path.exists() else str(path))
    walk(given, out)
    for run in (out / "home" / "runs").iterdir():
        for name in ("run.yaml", "events.jsonl", "worker.log", "report.json"):
            if (run / name).exists():
                shutil.copy(run / name, out / name)


if __name__ == "__main__":
    main()
