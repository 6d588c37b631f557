"""Chat and compare by the commands, with a real model and a real terminal."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from core.job import environment
from core.runs.folder import RunFolder
from tests.chat.conftest import adapter_run, small_model
from tests.cli.conftest import Called

__all__ = ["adapter_run", "small_model"]
Call = Callable[..., Called]


@pytest.fixture
def there(adapter_run: RunFolder) -> Path:
    return adapter_run.path.parent


def test_one_question_to_each_side_and_to_both(call: Call, there: Path) -> None:
    words = ["stories", "--runs", there, "--prompt", "Once", "--temperature", "0", "--max-tokens", "12"]
    called = call("chat", *words, "--json")
    assert called.code == 0
    answer = json.loads(called.out)
    assert set(answer) == {"answer", "stopped", "tokens", "seconds"}
    assert answer["stopped"] == "length"
    assert answer["tokens"] == 12

    both = json.loads(call("compare", *words, "--json").out)
    assert both["prompt"] == "Once"
    assert both["tuned"]["answer"] == answer["answer"]
    assert both["base"]["answer"] != answer["answer"]

    plain = call("chat", *words, "--base")
    assert plain.out == both["base"]["answer"] + "\n"


def test_a_plain_model_cannot_be_compared(call: Call, small_model: Path) -> None:
    called = call("compare", small_model, "--prompt", "x")
    assert called.code == 2
    assert "it is a plain model" in called.line


def test_a_checkpoint_that_is_not_there(call: Call, there: Path) -> None:
    called = call("chat", "stories", "--runs", there, "--checkpoint", "9", "--prompt", "x")
    assert called.code == 2
    assert "stories has no checkpoint 9: it has: 5" in called.line


def test_a_line_chat_in_a_terminal(there: Path, tmp_path: Path) -> None:
    script = "import sys; from core.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["chat", "stories", "--runs", str(there), "--max-tokens", "400", "--seed", "1"]
    child = pexpect.spawn(
        sys.executable, ["-c", script, *words], env=environment(), encoding="utf-8", timeout=60, echo=False
    )
    child.expect("tuned › ")
    child.sendline("/base")
    child.expect("base › ")
    child.sendline("Once upon a time there was a girl.")
    child.expect(r"\w+ \w+ \w+")  # it has begun to answer
    child.sendintr()
    child.expect("base › ")  # the answer is over, the chat is not
    child.sendline("/nonsense")
    child.expect("/base and /tuned change sides")
    child.sendline(f"/save {tmp_path}/said.jsonl")
    child.expect("saved in")
    child.sendline("/quit")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    (row,) = (tmp_path / "said.jsonl").read_text().splitlines()
    assert json.loads(row)["messages"][0]["content"] == "Once upon a time there was a girl."
    assert json.loads(row)["messages"][1]["content"]
