"""Web addresses as sources, from a server in this process."""

import gzip
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from core.data.sources import Source, open_source, web
from core.errors import UserError
from core.spec import SourceSpec

pytest.importorskip("trafilatura", reason="needs trafilatura, which finetui[documents] brings")

ROWS = [{"prompt": f"q{n}", "completion": f"a{n}"} for n in range(3)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
WORDS = "A model learns from what it is shown, and from nothing else that anyone may have meant. " * 6


def article(title: str) -> bytes:
    return (
        f"<!doctype html><html><head><title>{title} &amp; more</title><script>var x = 1</script></head><body>"
        f"<nav><a href='/'>Home</a> <a href='/b'>Menu</a></nav><article><h1>{title}</h1><p>{WORDS}</p>"
        "<p>The last words.</p></article><footer>Cookies</footer></body></html>"
    ).encode()


PAGES: dict[str, tuple[str, bytes]] = {
    "/a": ("text/html; charset=utf-8", article("Alpha")),
    "/b.html": ("text/html", article("Beta")),
    "/empty": ("text/html", b"<html><body><script>draw()</script></body></html>"),
    "/rows.jsonl": ("application/octet-stream", LINES),
    "/rows.jsonl.gz": ("application/gzip", gzip.compress(LINES)),
    "/api?format=json": ("application/json", json.dumps(ROWS).encode()),
    "/blob/rows.jsonl": ("text/html", article("A viewer of files")),
    "/note.txt": ("text/plain", b"words alone"),
    "/picture.png": ("image/png", b"\x89PNG"),
}


@pytest.fixture
def server() -> Iterator[Any]:
    asked: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["User-Agent"]))
            kind, body = PAGES.get(self.path, ("text/html", b""))
            self.send_response(200 if self.path in PAGES else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body) + 100 * (self.path == "/torn.csv")))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *given: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
        found.asked = asked  # type: ignore[attr-defined]
        found.at = f"http://127.0.0.1:{found.server_address[1]}"  # type: ignore[attr-defined]
        yield found
        found.shutdown()


def opened(source: str | Path, **options: Any) -> Source:
    return open_source(SourceSpec(source=str(source), **options))


def refused(source: str | Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        list(opened(source, **options).rows())
    line = caught.value.line()
    assert "\n" not in line and caught.value.todo
    return line


def test_a_page_is_a_row_of_clean_text(server: Any) -> None:
    (row,) = opened(f"{server.at}/a").rows()
    assert row["url"] == f"{server.at}/a" and row["title"].startswith("Alpha")
    assert WORDS.strip() in row["text"] and "The last words." in row["text"]
    assert "Cookies" not in row["text"] and "Menu" not in row["text"] and "var x" not in row["text"]
    assert len(server.asked) == 1 and server.asked[0][1].startswith("finetui")


def test_what_was_fetched_serves_a_day_and_longer_without_a_network(server: Any, finetui_home: Path) -> None:
    address = f"{server.at}/a"
    first = list(opened(address).rows())
    assert list(opened(address).rows()) == first and len(server.asked) == 1
    kept = next((finetui_home / "cache").rglob("content.html"))
    old = time.time() - 2 * web.KEPT
    os.utime(kept, (old, old))
    assert list(opened(address).rows()) == first and len(server.asked) == 2
    os.utime(kept, (old, old))
    server.shutdown()
    server.server_close()
    assert list(opened(address).rows()) == first


@pytest.mark.parametrize("path", ["/rows.jsonl", "/rows.jsonl.gz", "/api?format=json"])
def test_a_data_file_is_fetched_and_read(path: str, server: Any) -> None:
    found = opened(server.at + path)
    assert list(found.rows()) == ROWS and found.row(2) == ROWS[1]
    assert found.name in ("rows.jsonl", "rows.jsonl.gz", "api")
    assert list(opened(server.at + path, split="train[1:]").rows()) == ROWS[1:]
    assert len(server.asked) == 1


def test_a_list_of_pages(server: Any, tmp_path: Path) -> None:
    for name in ("pages.urls", "pages.txt"):
        listed = tmp_path / name
        listed.write_text(
            f"# mine\n{server.at}/a\n\n{server.at}/b.html\r\n{server.at}/note.txt\n{server.at}/a\n"
        )
        found = opened(listed)
        assert [row["url"][len(server.at) :] for row in found.rows()] == ["/a", "/b.html", "/note.txt"]
        assert found.findings() == ()
    assert list(opened(tmp_path / "pages.txt").rows())[2]["text"] == "words alone"


def test_pages_that_fail_are_told_with_their_addresses(server: Any, tmp_path: Path) -> None:
    listed = tmp_path / "pages.urls"
    bad = [f"{server.at}{path}" for path in ("/gone", "/empty", "/picture.png", "/rows.jsonl")]
    listed.write_text("\n".join([*bad[:2], f"{server.at}/a", *bad[2:]]))
    found = opened(listed)
    assert len(list(found.rows())) == 1
    (finding,) = found.findings()
    assert finding.severity == "warn" and "4 of 5 pages could not be read" in finding.message
    assert all(address in finding.message for address in bad)
    assert "404" in finding.message and "holds no text" in finding.message
    listed.write_text("\n".join(bad))
    assert "pages.urls gives no text" in refused(listed) and bad[0] in refused(listed)


def test_what_cannot_be_fetched_is_one_line(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "/gone cannot be fetched: the server answers 404" in refused(f"{server.at}/gone")
    assert "/gone.jsonl cannot be fetched: the server answers 404" in refused(f"{server.at}/gone.jsonl")
    assert "rows.jsonl is a web page there, not a file" in refused(f"{server.at}/blob/rows.jsonl")
    assert "it is image/png" in refused(f"{server.at}/picture.png")
    assert "holds no text: it may be made by scripts" in refused(f"{server.at}/empty")
    monkeypatch.setitem(PAGES, "/torn.csv", ("text/csv", b"a,b\n1,2\n"))
    assert "the connection broke off" in refused(f"{server.at}/torn.csv")
    monkeypatch.setattr(web, "PAGE", 100)
    assert "is too large: it is larger than" in refused(f"{server.at}/b.html")
    assert "no connection" in refused("http://127.0.0.1:9/a")
    assert "no configuration" in refused(f"{server.at}/a", config="en")


def test_the_missing_package_is_named(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trafilatura", None)
    assert "Pip install trafilatura lxml_html_clean" in refused(f"{server.at}/a")


def test_a_text_with_addresses_in_it_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("https://example.org\nis worth a look\n")
    assert list(opened(tmp_path / "note.txt").rows()) == [{"text": "https://example.org\nis worth a look\n"}]
