"""lta-rest-server with clients that lose answers, kill it, send too much or nonsense."""

from __future__ import annotations

import json
import select
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select as sql_select

from dmtools.ledger import tables
from dmtools.lta import wire
from dmtools.lta.api import Conflict, NotAllowed, Unknown, Wrong, answer
from dmtools.lta.api.bundles import Advance, Bundle, BundleMove, Bundles, GetBundle, Quarantine, Reset
from dmtools.lta.api.sites import Figures, Status
from dmtools.lta.wire import ROOT
from tests.lta.bookkeeping import SITE, add, again, direct, move, new, post, take
from tests.lta.rest import Asker, books_at, let_in
from tests.lta.test_books import NAMES, at_once
from tests.support import Result, Server, free_port, wait_until


@pytest.fixture
def url(home: Path, serve: Callable[..., Server]) -> str:
    """A running server of the HOME."""
    return serve("lta-rest-server", "--port", 0, home=home).url


# ---- the same books ---------------------------------------------------------------------------------------------------------


def test_through_the_server_the_books_are_the_same_and_a_worker_brings_a_bundle_to_tape(home: Path, url: str) -> None:
    here, there = (books_at(url, let_in(home, f"w-{site}", "worker", site)) for site in ("local", SITE))
    anna = books_at(url, let_in(home, "anna", "operator"))
    post(there, 10_000)
    added = add(here, *(new(name) for name in NAMES))
    assert [one.ideal for one in added] == list(NAMES)
    one = take(here, "Untouched", reserve=True)[0]
    with pytest.raises(NotAllowed):
        move(there, one, "JsonMade")
    with pytest.raises(Conflict, match="no legal change"):
        move(here, one, "PushDone")
    with pytest.raises(Wrong, match="there is no state"):
        move(here, one, "Pushdone")
    one = move(here, move(here, one, "JsonMade", keep=True), "PushDone")
    for to in ("NERSCRunning", "NERSCDone", "NERSCClean"):
        one = move(there, take(there, one.state)[0], to)
    with pytest.raises(NotAllowed):
        there.do(Quarantine(id=one.id, why="x"))
    anna.do(Quarantine(id=one.id, why="doubt"))
    assert answer(anna, Reset(id=one.id, why="no doubt"), Bundle).state == "NERSCClean"
    with pytest.raises(Unknown):
        anna.do(GetBundle(id=999))
    assert again(anna, one) == again(direct(home), one)
    assert answer(anna, Status(), Figures).counts["NERSCClean"] == 1


def test_the_same_bundle_added_by_many_at_once_is_there_once(home: Path, url: str) -> None:
    token = let_in(home, "local", "worker", "local")
    found = at_once(8, lambda _: add(books_at(url, token), new("/a"), new("/b")))
    assert len({bundle.id for some in found for bundle in some}) == 2


# ---- answers that are lost --------------------------------------------------------------------------------------------------


class Cutter:
    """A proxy that hands each request on, and cuts the connection instead of handing back every second answer to a POST."""

    def __init__(self, url: str) -> None:
        self._target = ("127.0.0.1", int(url.rpartition(":")[2]))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.cut, self._posts, self._threads = 0, 0, []  # type: ignore[var-annotated]
        self._main = threading.Thread(target=self._accept)
        self._main.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target, 30) as server:
            posting = False
            while True:
                for one in select.select([client, server], [], [])[0]:
                    data = one.recv(1 << 20)
                    if not data:
                        return
                    if one is client:
                        posting = posting or data.startswith(b"POST")
                        server.sendall(data)
                        continue
                    self._posts += posting
                    if posting and self._posts % 2:
                        self.cut += 1  # the server has answered: it has committed
                        return
                    posting = False
                    client.sendall(data)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._main.join()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def cutter(url: str) -> Iterator[Cutter]:
    found = Cutter(url)
    yield found
    found.close()


def test_a_server_that_drops_the_reply_is_asked_again_and_nothing_is_doubled(home: Path, cutter: Cutter) -> None:
    server = wire.Wire(cutter.url, let_in(home, "local", "worker", "local"))
    body = {"destination": SITE, "home": "h", "size": 5, "sha512": "0" * 128, "adler32": "0" * 8}
    bundles = [{**body, "ideal": f"/{n}", "name": f"file:///{n}"} for n in range(3)]
    assert server.post("/bundles", {"bundles": bundles})["new"] == 3
    claim = {"states": ["Untouched"], "destination": SITE, "holder": "h"}
    held = [server.post("/bundles/claim", claim)["bundles"][0] for _ in range(3)]
    assert len({one["id"] for one in held}) == 3
    for one in held:
        moving = {"id": one["id"], "fence": one["fence"], "before": "Untouched", "to": "JsonMade"}
        assert server.post("/bundles/advance", {"moves": [moving]})["bundles"][0]["state"] == "JsonMade"
    server.close()
    assert cutter.cut == 7
    entry = tables.journal.c
    books = direct(home)
    with books.ledger.read() as connection:
        steps = connection.execute(sql_select(entry.item, entry.to_state).where(entry.kind == "lta-bundle")).all()
    assert Counter(steps) == {(one["id"], state): 1 for one in held for state in ("Untouched", "JsonMade")}
    assert answer(books, Status(), Figures).counts["JsonMade"] == 3


def test_the_same_order_again_has_the_same_answer_and_another_order_with_its_key_is_a_conflict(home: Path, url: str) -> None:
    add(direct(home), new("/a"), new("/b"))
    ask, token = Asker(url), let_in(home, "local", "worker", "local")
    body = {"states": ["Untouched"], "destination": SITE, "holder": "h"}

    def claim(key: str, **more: Any) -> Any:
        said = json.dumps({**body, **more}).encode()
        return ask("POST", f"{ROOT}/bundles/claim", said, token=token, Idempotency_Key=key)

    first = claim("one")
    assert claim("one").body == first.body
    assert claim("two").json["bundles"][0]["id"] != first.json["bundles"][0]["id"]
    assert (claim("one", most=2).status, claim("one").body) == (409, first.body)
    other = let_in(home, "other", "worker", "local")
    raw = json.dumps(body).encode()
    said = ask("POST", f"{ROOT}/bundles/claim", raw, token=other, Idempotency_Key="one")
    assert said.json["bundles"] == []  # a key is its owner's
    found = at_once(6, lambda _: Asker(url)("POST", f"{ROOT}/bundles/claim", raw, token=token, Idempotency_Key="k"))
    assert len({one.body for one in found}) == 1
    ask.close()


@pytest.mark.slow
def test_the_server_is_killed_again_and_again_under_eight_clients_that_go_on(home: Path, serve: Callable[..., Server]) -> None:
    port = free_port()
    token = let_in(home, "local", "worker", "local")
    server = serve("lta-rest-server", "--port", port, home=home)
    add(direct(home), *(new(f"/{n}") for n in range(160)))
    done: list[int] = []

    def work(number: int) -> None:
        books = books_at(f"http://127.0.0.1:{port}", token, patience=120)
        while held := take(books, "Untouched", most=2, holder=f"client {number}"):
            moves = tuple(BundleMove(id=one.id, fence=one.fence, before="Untouched", to="JsonMade") for one in held)
            done.extend(one.id for one in answer(books, Advance(moves=moves), Bundles).bundles)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for kill_at in (30, 80):
        wait_until(lambda at=kill_at: len(done) >= at or not any(t.is_alive() for t in threads), 120, "the clients go on")
        server.kill()
        server = serve("lta-rest-server", "--port", port, home=home)
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(1, 161))
    assert answer(direct(home), Status(), Figures).counts["JsonMade"] == 160


# ---- bad input --------------------------------------------------------------------------------------------------------------


def test_what_makes_no_sense_is_refused_with_a_reason_and_changes_nothing(home: Path, url: str) -> None:
    add(direct(home))
    ask, token = Asker(url), let_in(home, "anna", "operator")
    claim = {"states": ["Untouched"], "destination": SITE, "holder": "h"}
    bodies: list[Any] = [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"states": NaN}']
    bodies += [
        {**claim, "states": "Untouched"},
        {**claim, "most": "1"},
        {**claim, "most": 0},
        {**claim, "most": 10**30},
        {**claim, "x": 1},
    ]
    bodies += [
        {**claim, "destination": "NERSC"},
        {**claim, "destination": "nersc\n"},
        {**claim, "states": ["untouched"]},
        {**claim, "states": []},
    ]
    bodies += [{**claim, "holder": "a\nb"}, {**claim, "seconds": 1.5}, {**claim, "holder": None}, {**claim, "holder": "x" * 200}]
    for body in bodies:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        found = ask("POST", f"{ROOT}/bundles/claim", raw, token=token)
        assert (found.status, bool(found.json["why"])) == (400, True), (raw[:80], found)
    nonsense = "limit=x limit=0 limit=1&limit=2 nonsense=1 after=-1 states=Nowhere name=%00 name=%FF && a"
    for query in nonsense.split():
        assert ask("GET", f"{ROOT}/bundles?{query}", token=token).status == 400, query
    for path in ("/bundles/x", "/bundles/0", f"/bundles/{9**30}", "/bundles/%27%20OR%201", "/sites/%2e%2e/heartbeat"):
        assert ask("GET", ROOT + path, token=token).status in (400, 404, 405), path
    assert ask("DELETE", f"{ROOT}/bundles", token=token).headers["allow"] == "GET,POST"
    assert again(direct(home), add(direct(home))[0]).fence == 0
    ask.close()


def test_bodies_of_a_hundred_megabytes_are_refused_and_the_server_goes_on(home: Path, url: str) -> None:
    token = let_in(home, "anna", "operator")
    large = b'{"bundles": [' + b" " * 100_000_000 + b"]}"
    for given, status in ((token, 413), (None, 401)):
        ask = Asker(url)
        found = ask("POST", f"{ROOT}/bundles", large, token=given)
        assert found.status == status
        assert found.json["why"]
        ask.close()
    ask = Asker(url)
    assert ask("GET", f"{ROOT}/bundles", token=token).status == 200
    ask.close()


def test_who_asks_too_often_is_told_when_to_come_again_and_the_client_does(home: Path, serve: Callable[..., Server]) -> None:
    file = home / "dmtools.toml"
    file.write_text(f"{file.read_text()}\n[lta]\nrate = 5\n")
    url = serve("lta-rest-server", "--port", 0, home=home).url
    token, other = let_in(home, "anna", "operator"), let_in(home, "bert", "operator")
    ask = Asker(url)
    statuses = [ask("GET", f"{ROOT}/bundles", token=token) for _ in range(30)]
    refused = [one for one in statuses if one.status == 429]
    assert refused
    assert int(refused[0].headers["retry-after"]) >= 1
    assert ask("GET", f"{ROOT}/bundles", token=other).status == 200
    assert answer(books_at(url, token), Status(), Figures).duplicates == 0
    ask.close()


# ---- clients ----------------------------------------------------------------------------------------------------------------


def test_a_server_that_is_away_or_is_another_one_is_away_and_no_answer_is_taken_for_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s"
        said = [head % one for one in ((b"200 OK", 0, b""), (b"200 OK", 15, b"<html>hi</html>"), (b"200 OK", 9, b"{"))]
        said += [head % (b"302 Found\r\nLocation: http://127.0.0.1/", 2, b"{}"), b"nonsense\r\n\r\n"]

        def serve() -> None:
            for one in said:
                client, _ = listening.accept()
                with client:
                    client.recv(65536)
                    client.sendall(one)

        thread = threading.Thread(target=serve)
        thread.start()
        for _ in said:
            client = wire.Wire(url, "t", patience=0)
            with pytest.raises(wire.Away):
                client.post("/bundles", {})
            client.close()
        thread.join()
    with pytest.raises(wire.Away):
        wire.Wire(url, "t", patience=0, seconds=5).get("/bundles")
    with pytest.raises(wire.Refused, match="others could read the token"):
        wire.Wire("http://example.org", "t")


def test_over_https_and_clients_that_say_nothing_hold_up_nobody(
    home: Path, serve: Callable[..., Server], run: Callable[..., Result], tmp_path: Path
) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    making = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    making += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(making, check=True, capture_output=True)
    refused = run("lta-rest-server", "--host", "0.0.0.0", "--port", 0, home=home).gave(2)
    assert "over plain http" in refused.err
    assert "belong together" in run("lta-rest-server", "--cert", cert, home=home).gave(2).err
    assert "can't be used" in run("lta-rest-server", "--cert", cert, "--key", cert, home=home).gave(2).err
    server = serve("lta-rest-server", "--host", "0.0.0.0", "--port", 0, "--cert", cert, "--key", key, home=home)
    assert server.url.startswith("https://")
    url = server.url.replace("0.0.0.0", "localhost")
    token = let_in(home, "anna", "operator")
    silent = [socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) for _ in range(4)]
    books = books_at(url, token, ca_file=str(cert), seconds=12, patience=20)
    assert answer(books, Status(), Figures).duplicates == 0
    for one in silent:
        one.close()
    with pytest.raises(wire.Untrusted, match="certificate"):
        wire.Wire(url, token, patience=0).get("/status")


def test_every_answer_has_the_headers_and_health_says_ok(url: str) -> None:
    ask = Asker(url)
    for path, status in (("/healthz", 200), (f"{ROOT}/openapi.json", 200), (f"{ROOT}/bundles", 401)):
        found = ask("GET", path)
        assert found.status == status
        assert {"content-security-policy", "x-content-type-options", "referrer-policy"} <= found.headers.keys()
    assert ask("GET", "/healthz").body == b"ok\n"
    assert ask("HEAD", "/healthz").body == b""
    ask.close()


def test_the_metrics_tell_states_sites_and_requests(home: Path, url: str) -> None:
    token = let_in(home, "prometheus", "reader")
    add(direct(home))
    post(direct(home), 5000)
    ask = Asker(url)
    ask("GET", f"{ROOT}/bundles", token=token)
    found = ask("GET", f"{ROOT}/metrics", token=token)
    text = found.body.decode()
    assert found.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'lta_bundles{state="Untouched"} 1\n' in text
    assert 'lta_site_quota{site="nersc"} 5000\n' in text
    assert 'lta_http_requests_total{method="GET",route="/bundles",status="200"} 1\n' in text
    ask.close()
