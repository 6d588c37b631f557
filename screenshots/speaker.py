"""Speaks a recorded chat: the same lines as the chat's process, from a file instead of a model.

Put in place of `core.chat.server` for pictures and for tests of the screen. The file is named by
FINETUI_RECORDED_CHAT and holds {"ready": …, "answers": {side: {question: {"pieces": […], "done": …}}}}
as `screenshots/record.py` writes it. A question that was not recorded is answered with an error.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

SECONDS_A_PIECE = 0.01


def main() -> None:
    recorded = json.loads(Path(os.environ["FINETUI_RECORDED_CHAT"]).read_text())
    stopped: dict[int, threading.Event] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if request["op"] == "load":
            say(stage="base model", done=0, total=None)
            say(ready={**recorded["ready"], "checkpoint": request.get("checkpoint")})
        elif request["op"] == "generate":
            stopped[request["id"]] = asked = threading.Event()
            threading.Thread(target=answer, args=(recorded, request, asked), daemon=True).start()
        elif request["op"] == "stop":
            stopped[request["id"]].set()


def answer(recorded: dict[str, Any], request: dict[str, Any], asked: threading.Event) -> None:
    number, question = request["id"], request["messages"][-1]["content"]
    known = recorded["answers"].get(request["side"], {}).get(question)
    if known is None:
        what = {"what": "this question was not recorded", "why": question, "todo": "ask another", "code": 1}
        say(id=number, error=what)
        return
    said = ""
    for piece in known["pieces"]:
        if asked.is_set():
            say(id=number, done={**known["done"], "answer": said, "stopped": "asked"})
            return
        said += piece
        say(id=number, token=piece)
        time.sleep(known.get("seconds", SECONDS_A_PIECE))
    say(id=number, done=known["done"])


def say(**message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")  # one write a line: threads share the pipe
    sys.stdout.flush()


if __name__ == "__main__":
    main()
