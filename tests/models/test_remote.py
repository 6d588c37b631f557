"""Headers by range requests from a Hub that is here: shards, redirects, passing failures, refusals."""

import json
import re
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest
from huggingface_hub import constants

from core.models import remote
from core.models.weights import Broken


def file(tensors: dict[str, list[int]], weights: int = 300_000, spare: int = 0) -> bytes:
    header = {
        name: {"dtype": "BF16", "shape": shape, "data_offsets": [0, 2]} for name, shape in tensors.items()
    }
    text = json.dumps({"__metadata__": {"x": "y" * spare}, **header}).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * weights


class Hub(ThreadingHTTPServer):
    """Serves `files`. Names in `fails` are first answered with those statuses; those in `moved` redirect."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files: dict[str, bytes] = {}
        self.fails: dict[str, list[int]] = {}
        self.moved: set[str] = set()
        self.sent = 0
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 1)[-1]
        if self.path.startswith("/api/"):  # the library asks for things of its own
            self.send_error(404)
            return
        self.server.asked.append(name)
        self.server.tokens.add(self.headers.get("authorization"))
        if self.server.fails.get(name):
            self.send_response(self.server.fails[name].pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif name in self.server.moved and "/moved/" not in self.path:
            self.send_response(302)
            self.send_header("Location", f"/moved/{name}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["range"])
            part = self.server.files[name][int(found[1]) : int(found[2]) + 1]
            self.server.sent += len(part)
            self.send_response(206)
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch, tmp_path):
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        constants.ENDPOINT + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(remote, "WAIT", 0.0)
    monkeypatch.setenv("HF_TOKEN", "a-token")

    def download(model, name, **_):
        (tmp_path / name).write_bytes(server.files[name])
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    yield server
    server.shutdown()
    server.server_close()


def sizes(hub: Hub) -> dict[str, int]:
    return {name: len(content) for name, content in hub.files.items()}


def shards(hub: Hub, many: int) -> None:
    names = [f"model-{one}.safetensors" for one in range(many)]
    for one, name in enumerate(names):
        hub.files[name] = file({f"layers.{one}.weight": [8, one + 1]})
    index = {"weight_map": {f"layers.{one}.weight": name for one, name in enumerate(names)}}
    hub.files["model.safetensors.index.json"] = json.dumps(index).encode()


def test_one_file_is_read_by_its_head_alone(hub):
    hub.files["model.safetensors"] = file({"model.embed_tokens.weight": [100, 64], "visual.x": [10]})
    hub.moved.add("model.safetensors")
    stored = remote.read_remote_headers("acme/some", "abc", sizes(hub))
    assert (stored.parameters, stored.beside, stored.rows, stored.dtype_bytes) == (6410, 10, 100, 2)
    assert stored.bytes == len(hub.files["model.safetensors"]) > 300_000 > hub.sent
    assert hub.tokens == {"Bearer a-token"}


def test_a_long_header_takes_a_second_request(hub):
    hub.files["model.safetensors"] = file({"norm.weight": [64]}, spare=150_000)
    assert remote.read_remote_headers("acme/some", None, sizes(hub)).parameters == 64
    assert len(hub.asked) == 2


def test_every_shard_is_asked_once_and_again_where_it_fails_for_the_moment(hub):
    shards(hub, 5)
    hub.fails = {"model-1.safetensors": [503, 429]}
    stored = remote.read_remote_headers("acme/some", None, sizes(hub))
    assert stored.parameters == 8 * (1 + 2 + 3 + 4 + 5)
    assert sorted(hub.asked) == sorted([f"model-{one}.safetensors" for one in (0, 1, 1, 1, 2, 3, 4)])


@pytest.mark.parametrize(("statuses", "asked"), [([403], 1), ([404], 1), ([500] * 9, remote.TRIES)])
def test_what_is_refused_is_not_asked_for_again(hub, statuses, asked):
    hub.files["model.safetensors"] = file({"norm.weight": [64]})
    hub.fails = {"model.safetensors": statuses}
    with pytest.raises(Broken, match="does not give their headers"):
        remote.read_remote_headers("acme/some", None, sizes(hub))
    assert len(hub.asked) == asked


def test_files_that_say_nothing_are_broken(hub):
    hub.files["model.safetensors"] = b"version https://git-lfs.github.com/spec/v1" * 9
    with pytest.raises(Broken):
        remote.read_remote_headers("acme/some", None, sizes(hub))
    shards(hub, 3)
    there = sizes(hub)
    del there["model.safetensors"], there["model-1.safetensors"]
    with pytest.raises(Broken, match=r"model-1\.safetensors is missing"):
        remote.read_remote_headers("acme/some", None, there)
    assert remote.read_remote_headers("acme/some", None, {"model.gguf": 5}) is None


def test_a_hub_that_is_not_there_is_told_soon(hub, monkeypatch):
    hub.files["model.safetensors"] = b""
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Broken, match="does not give their headers"):
        remote.read_remote_headers("acme/some", None, sizes(hub))


def test_patience_ends(hub, monkeypatch):
    shards(hub, 3)
    monkeypatch.setattr(remote, "PATIENCE", -1.0)
    with pytest.raises(Broken, match="within"):
        remote.read_remote_headers("acme/some", None, sizes(hub))
    assert not hub.asked
