"""A model fetched from a Hub: a real client against a small server of our own, progress and refusals."""

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from core.job import environment
from core.train.download import wanted

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": bytes(3_000_000),
    "consolidated.safetensors": b"a second copy of the weights",
    "onnx/model.onnx": b"another format",
    "tokenizer.json": b"{}",
}


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as a download asks for: model info, the tree, and files."""

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/api/models/someone/gated") or path.startswith("/someone/gated"):
            self._send(
                403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."}, body
            )
        elif path.startswith("/api/models/someone/small/tree"):
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in FILES.items()
            ]
            self._send(200, json.dumps(tree).encode(), {}, body)
        elif path.startswith("/api/models/someone/small"):
            siblings = [{"rfilename": name, "size": len(data)} for name, data in FILES.items()]
            info = {"id": "someone/small", "sha": COMMIT, "siblings": siblings}
            self._send(200, json.dumps(info).encode(), {}, body)
        elif path.startswith(f"/someone/small/resolve/{COMMIT}/"):
            data = FILES[path.removeprefix(f"/someone/small/resolve/{COMMIT}/")]
            etag = hashlib.sha1(data).hexdigest()
            self._send(200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, body)
        else:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Not found."}, body)

    def _send(self, status: int, data: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


FETCH = """
import json, sys
from pathlib import Path
from core.errors import UserError
from core.runs.events import EventLog, Follow
from core.runs.folder import RunFolder
from core.train.asked import Asked
from core.train.download import fetch
from core.train.stages import Stages
run = RunFolder(Path(sys.argv[2]))
stage = Stages(EventLog(run.events_file), Asked(run))
try:
    print(json.dumps({"folder": str(fetch(sys.argv[1], None, stage))}))
except UserError as error:
    print(json.dumps({"error": error.line()}))
"""


def fetch(model: str, endpoint: str, tmp_path: Path, **more: str) -> tuple[dict, list[dict]]:
    """In a process of its own: the client reads its settings as it is imported."""
    env = environment() | {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), **more}
    env = {name: value for name, value in env.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", FETCH, model, str(tmp_path)],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    return json.loads(done.stdout.splitlines()[-1]), events


def test_a_model_is_fetched_with_bytes_and_speed_told(hub: str, tmp_path: Path) -> None:
    answer, events = fetch("someone/small", hub, tmp_path)
    folder = Path(answer["folder"])
    assert folder.name == COMMIT
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    total = sum(len(FILES[name]) for name in ("config.json", "model.safetensors", "tokenizer.json"))
    told = [event for event in events if event["unit"] == "bytes"]
    assert {event["name"] for event in told} == {"download"}
    assert told[-1]["done"] == told[-1]["total"] == total
    assert all(event["done"] <= total for event in told)
    assert any("MiB/s" in event["note"] for event in told)

    # and without the Hub what was fetched before will do
    again, _ = fetch("someone/small", "http://127.0.0.1:9", tmp_path)
    assert again == answer


def test_gated_misspelt_and_unreachable_are_told_apart(hub: str, tmp_path: Path) -> None:
    gated, _ = fetch("someone/gated", hub, tmp_path)
    assert "gated" in gated["error"]
    misspelt, _ = fetch("Qwen/Qwen3-0.6", hub, tmp_path)
    assert "not there" in misspelt["error"]
    offline, _ = fetch("someone/else", "http://127.0.0.1:9", tmp_path)
    assert "no network" in offline["error"]


def test_only_what_a_run_reads_is_fetched() -> None:
    old = ["config.json", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json", "tf_model.h5"]
    assert wanted(old) == [
        "config.json",
        "pytorch_model.bin.index.json",
        "pytorch_model-00001-of-00002.bin",
    ]
    assert wanted(["consolidated.safetensors", "params.json"]) == ["consolidated.safetensors", "params.json"]
