"""Where dm-web listens, how it ends, and the headers of all that it answers."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.support import Server, free_port, run
from tests.web.conftest import Person

HEADERS = ("Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy")


def test_every_answer_has_the_headers(web: Server, anna: Person) -> None:
    asked = [
        *(anna.get(path, allow_redirects=False) for path in ("/", "/fragment", "/search?q=zzz", "/search", "/api/status.json")),
        *(
            anna.get(path)
            for path in ("/trace/zzz", "/healthz", "/static/style.css", "/static/refresh.js", "/static/none", "/none")
        ),
        *(
            requests.get(web.url + path, allow_redirects=False, timeout=30)
            for path in ("/", "/sign-in", "/api/status.json", "/fragment")
        ),
        anna.post("/healthz", {}),
        anna.post("/control", {}),
        anna.post("/control", {"mark": anna.mark(), "word": "hlt", "scope": "all"}),
        anna.post("/control", {"mark": "x" * 100_000}),
        requests.head(web.url + "/sign-in", timeout=30),
        requests.request("BREW", web.url + "/", timeout=30),
    ]
    for answer in asked:
        assert all(name in answer.headers for name in HEADERS), (answer.url, answer.status_code, answer.headers)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Traceback" not in answer.text
    codes = {answer.status_code for answer in asked}
    assert {200, 303, 400, 401, 403, 404, 405, 413} <= codes
    assert 500 not in codes


@pytest.mark.parametrize(
    "sent", [b"no http at all\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /%s HTTP/1.1\r\n\r\n" % (b"a" * 40000)]
)
def test_what_is_no_http_gets_the_headers_too(web: Server, sent: bytes) -> None:
    place = urlsplit(web.url)
    with socket.create_connection((place.hostname, place.port), 30) as wire:
        wire.sendall(sent)
        answer = b""
        while part := wire.recv(65536):
            answer += part
    assert b"Content-Security-Policy: default-src 'none'" in answer
    assert b"nosniff" in answer


@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_it_ends_cleanly(web: Server, how: signal.Signals, code: int) -> None:
    held = requests.Session()
    assert held.get(f"{web.url}/healthz", timeout=30).text == "ok\n"
    assert web.stop(how) == code
    assert web.said.splitlines() == [f"listening on {web.url}"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "no-such-host.invalid"])
def test_passwords_do_not_go_over_plain_http_to_elsewhere(home: Path, host: str) -> None:
    refused = run("dm-web", "--host", host, "--port", 0, home=home).gave(2)
    assert host in refused.err
    assert refused.out == ""


def test_a_taken_port_is_told(home: Path, web: Server) -> None:
    port = web.url.rpartition(":")[2]
    elsewhere = run("dm-web", "--host", "192.0.2.1", "--behind-proxy", "--port", 0, home=home).gave(75).err
    assert "Cannot assign requested address; nothing was changed; give an address of this machine" in elsewhere
    gave = run("dm-web", "--port", port, "--json", home=home).gave(75)
    assert "another program listens there" in gave.json["errors"][0]["why"]


def test_the_port_of_the_settings_and_a_dry_run(home: Path, serve: Callable[..., Server]) -> None:
    assert "would serve" in run("dm-web", "--dry-run", home=home).ok().out
    base = free_port()
    (home / "dmtools.toml").write_text(f"port_base = {base}\n")
    assert serve("dm-web", "serve", home=home).url == f"http://127.0.0.1:{base}"
