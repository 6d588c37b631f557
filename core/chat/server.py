"""The chat's process: holds a model and answers requests, JSON lines on stdin and stdout.

It leaves when its stdin closes or its parent is gone, also in the middle of an answer.
Requests are {"op": "load" | "generate" | "stop", …}; `core.chat.client` speaks the other half.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import IO, Any

from core.errors import UserError
from core.job import requests, take_stdout
from core.machine.host import cpu_cores, memory
from core.numbers import gib

NO_ROOM = ("out of memory", "can't allocate memory")  # as torch and bitsandbytes say it, on a GPU and a CPU


class _Work(threading.Thread):
    """One request being answered, after those it must wait for; what goes wrong is said, not raised."""

    def __init__(self, work: Any, request: dict[str, Any], after: list[_Work], say: Any):
        super().__init__(daemon=True)
        self.asked = threading.Event()
        """Set when this is to end early."""
        self._work, self._request, self._after, self._say = work, request, after, say

    def run(self) -> None:
        about = {"id": self._request["id"]} if "id" in self._request else {}
        for other in self._after:
            other.join()
        try:
            self._work(self._request, self.asked)
        except UserError as error:
            self._say(error={**error.to_dict(), "code": error.code}, **about)
        except Exception as error:
            self._say(error=_in_words(error, self._request["op"]), **about)


class Server:
    """What is loaded and who is speaking. Requests are handled in threads, so that stop is always heard."""

    def __init__(self, out: IO[str]):
        self._out = out
        self._writing = threading.Lock()
        self._weights: Any = None
        self._loading: _Work | None = None
        self._speaking: dict[int, _Work] = {}

    def handle(self, request: dict[str, Any]) -> None:
        op = request.get("op")
        if op == "load":
            before = [*self._speaking.values(), *filter(None, [self._loading])]
            for one in before:
                one.asked.set()
            self._loading = _Work(self._load, request, before, self.say)
            self._loading.start()
        elif op == "generate":
            work = _Work(self._generate, request, list(filter(None, [self._loading])), self.say)
            self._speaking[request["id"]] = work
            work.start()
        elif op == "stop" and request["id"] in self._speaking:
            self._speaking[request["id"]].asked.set()

    def say(self, **message: Any) -> None:
        line = json.dumps(message) + "\n"
        with self._writing:
            self._out.write(line)

    def _load(self, request: dict[str, Any], asked: threading.Event) -> None:
        self._tell("libraries")
        import torch

        from core.chat import weights
        from core.runs.folder import RunFolder

        # A token at a time is bound by memory, not by cores; and where another process wants a core
        # that torch counts on, every step waits for it (measured on two shared cores: 70 times slower)
        torch.set_num_threads(max(1, cpu_cores() // 2))

        checkpoint = request.get("checkpoint")
        loaded = self._weights
        if request.get("run"):
            run = RunFolder(Path(request["run"]))
            if loaded and loaded.run and loaded.run.path == run.path and loaded.peft is not None:
                self._tell("adapter")
                loaded.switch(checkpoint)
            else:
                self._forget()
                self._weights = weights.load_run(run, checkpoint, self._tell)
        else:
            self._forget()
            self._weights = weights.load_plain(request["model"], self._tell)
        now = self._weights
        steps = [step for step, _ in now.run.checkpoint_list()] if now.run else []
        context = now.voice(now.sides[0]).context
        ready = {"sides": now.sides, "template": now.template, "checkpoints": steps, "notes": now.notes}
        self.say(ready={**ready, "checkpoint": now.checkpoint, "context": context})

    def _forget(self) -> None:
        """Free what was loaded before the next: both may not fit."""
        if self._weights is not None:
            self._weights = None
            _free()

    def _generate(self, request: dict[str, Any], asked: threading.Event) -> None:
        number = request["id"]
        try:
            if self._weights is None:
                raise UserError("nothing is loaded to talk to", "", "load a run or a model first", code=1)
            from core.chat.answer import answer
            from core.chat.talk import Settings

            settings = Settings(
                temperature=request["temperature"],
                top_p=request["top_p"],
                max_tokens=request["max_tokens"],
                stop=tuple(request["stop"]),
                seed=request["seed"],
            )
            done = answer(
                self._weights,
                request["side"],
                request["messages"],
                settings,
                lambda text: self.say(id=number, token=text),
                lambda text: self.say(id=number, note=text),
                asked,
            )
            self.say(id=number, done=done.to_dict())
        finally:
            self._speaking.pop(number, None)

    def _tell(
        self, stage: str, done: float = 0, total: float | None = None, unit: str = "", note: str = ""
    ) -> None:
        self.say(stage=stage, done=int(done), total=total if total is None else int(total))


def _in_words(error: Exception, op: str) -> dict[str, Any]:
    """What a person can do about an error that the libraries raised."""
    traceback.print_exc()
    if isinstance(error, ImportError):
        todo = "finetui doctor says what is missing; make setup installs it"
        return {"what": "the chat's libraries cannot be loaded", "why": str(error), "todo": todo, "code": 1}
    if any(words in str(error).lower() for words in NO_ROOM):
        _free()
        todo = "stop what else runs there (finetui doctor shows it), or ask for fewer tokens"
        return {"what": "there is no room for this chat", "why": _room(), "todo": todo, "code": 1}
    what = "this cannot be loaded" if op == "load" else "the answer broke off"
    why = (str(error) or type(error).__name__).strip().splitlines()[0]
    todo = "try again, and report this if it stays"
    return {"what": what, "why": why, "todo": todo, "code": 1, "unexpected": True}


def _room() -> str:
    import torch

    if not torch.cuda.is_available():
        free, total = memory()[::-1]
        return f"{gib(free)} of {gib(total)} of RAM are free"
    free, total = max(torch.cuda.mem_get_info(index) for index in range(torch.cuda.device_count()))
    return f"{gib(free)} of {gib(total)} of the GPU are free"


def _free() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main() -> None:
    server = Server(take_stdout())
    for request in requests():
        server.handle(request)
    sys.stderr.flush()
    os._exit(0)  # threads may be in the middle of an answer that nobody reads


if __name__ == "__main__":
    main()
