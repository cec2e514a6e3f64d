"""Servers that can't be trusted, tokens that are not good any more, servers that say nothing: told at once, and what to do."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from dmtools.lta import wire
from dmtools.lta.remote.settings import Remote
from dmtools.settings.lta import Lta
from tests.lta.dump_steps import Train
from tests.lta.link import Link, link
from tests.lta.rest import let_in
from tests.lta.site_steps import TwoSites
from tests.lta.test_remote_link import certificate
from tests.support import Result, Server

Serve = Callable[..., Server]


def taken(way: Link, act: Callable[[], Result]) -> int:
    """How many connections it takes."""
    before = way.taken
    act()
    return way.taken - before


def test_a_server_whose_certificate_proves_nothing_is_refused_at_once_and_gets_no_token(
    home: Path, short_tmp: Path, serve: Serve
) -> None:
    (short_tmp / "other").mkdir()
    cert, key = certificate(short_tmp, "DNS:localhost")
    other, _ = certificate(short_tmp / "other", "DNS:localhost")
    server = serve("lta-rest-server", "--port", 0, "--cert", cert, "--key", key, home=home)
    here = Train(home)
    with link(server.url, 1) as way:
        here.set(url=f"https://localhost:{way.port}")
        sites = TwoSites.of(home, short_tmp, f"https://localhost:{way.port}", ca_file=str(other))
        said: list[str] = []

        def dirinfo(code: int) -> Result:
            found = here.run("lta-dirinfo", "a").gave(code)
            said.append(found.err)
            return found

        def client(code: int) -> Result:
            found = sites.client(codes=(code,))
            said.append(found.err)
            return found

        assert taken(way, lambda: dirinfo(2)) == 1
        assert "self-signed certificate" in said[-1]
        assert "the authorities that this system trusts" in said[-1]
        assert taken(way, lambda: client(2)) == 1
        assert str(other) in said[-1]
        assert "tape jobs go on" in said[-1]
        here.set(ca_file=str(cert), url=f"https://127.0.0.1:{way.port}")
        assert taken(way, lambda: dirinfo(2)) == 1
        assert "127.0.0.1" in said[-1]
        assert all("the token was not sent" in one and "[lta] ca_file" in one for one in said)
        here.set(url=f"https://localhost:{way.port}")
        dirinfo(1)
        assert "no name holds it" in said[-1]
        sites.settings(ca_file=str(cert))
        client(0)


def test_a_token_that_has_expired_is_told_with_where_a_new_one_comes_from(home: Path, short_tmp: Path, serve: Serve) -> None:
    server = serve("lta-rest-server", "--port", 0, home=home)
    here, sites = Train(home), TwoSites.of(home, short_tmp, server.url)
    here.set(url=server.url)
    file = here.home / "secrets/lta-worker.token"
    file.write_text(let_in(home, "till-noon", "worker", "local", days=1))
    with here.database() as db:
        db.execute("UPDATE lta_token SET expires = created WHERE name IN ('till-noon', 'lta-nersc')")
    for said, owner in ((here.run("lta-glue").gave(2), file), (sites.client(codes=(2,)), home / "secrets/lta-nersc.token")):
        assert f"does not take the token of {owner}: it has expired" in said.err
        assert "lta-rest-server token add" in said.err
        assert "what was booked before stays booked" in said.err or "tape jobs go on" in said.err
        assert owner.read_text().strip() not in said.err + said.out + server.said
    with here.database() as db:
        db.execute("UPDATE lta_token SET expires = NULL")
    assert here.run("lta-glue").gave(0).err == ""


def test_a_server_that_says_nothing_is_told_after_server_seconds_by_one_question(home: Path, short_tmp: Path) -> None:
    assert Lta().server_seconds == Remote().server_seconds == 15
    with socket.create_server(("127.0.0.1", 0)) as silent:
        here = Train(home)
        here.set(url=f"http://127.0.0.1:{silent.getsockname()[1]}", server_seconds=1)
        sites = TwoSites.of(home, short_tmp, here.keys["url"], server_seconds=1)
        for said in (here.run("lta-glue").gave(75), sites.client(codes=(75,))):
            assert "not a word in 1 s" in said.err
            assert "the next pass asks again" in said.err
        silent.settimeout(0)
        for _ in range(2):
            silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_who_hands_back_ten_things_to_a_server_that_is_away_asks_again_and_again_only_once() -> None:
    with link("http://127.0.0.1:9", 1) as way:  # takes each call and ends it
        books = wire.Wire(f"http://127.0.0.1:{way.port}", "t", patience=3)
        with pytest.raises(wire.Away):
            books.post("/bundles/release", {})
        patient = way.taken
        for _ in range(10):
            with pytest.raises(wire.Away):
                books.post("/bundles/release", {})
        assert way.taken == patient + 10
