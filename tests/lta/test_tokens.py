"""Who is let in: every route without a token, with a wrong, an expired, a revoked and a lesser one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from dmtools.ledger import tables
from dmtools.lta import tokens
from dmtools.lta.api import ROLES, WORKER
from dmtools.lta.books.registry import FUNCTIONS
from dmtools.lta.server.application import METRICS
from dmtools.lta.wire import ROOT
from tests.lta.bookkeeping import direct
from tests.lta.rest import Asker, let_in, served
from tests.support import Result

OPEN = ("/healthz", f"{ROOT}/openapi.json")
ROUTES = [(kind.METHOD, ROOT + re.sub(r"\{\w+\}", "1", kind.PATH), kind.ROLE) for kind in FUNCTIONS] + [
    ("GET", METRICS, "reader")
]
STRANGE = [("GET", f"{ROOT}/nothing", ""), ("DELETE", f"{ROOT}/bundles", ""), ("GET", "/", ""), ("PUT", "/healthz", "")]


@pytest.fixture(scope="module")
def server(home_template: Path) -> Iterator[tuple[Path, str]]:
    """(HOME, URL): each test makes tokens of its own."""
    yield from served(home_template)


def test_every_route_without_a_token_or_with_a_bad_one_lets_nobody_in(server: tuple[Path, str]) -> None:
    home, url = server
    books = direct(home)
    expired, revoked = let_in(home, "old", "admin", days=1), let_in(home, "out", "admin")
    table = tables.lta_token
    with books.ledger.write() as connection:
        connection.execute(update(table).where(table.c.name == "old").values(expires=table.c.created))
        connection.execute(update(table).where(table.c.name == "out").values(revoked=table.c.created, live_key=None))
    hashed = tokens.hashed(expired)
    ask = Asker(url)
    bad: list[dict[str, Any]] = [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": f"Basic {expired}"},
        {"Authorization": "Bearer %"},
    ]
    bad += [{"token": one} for one in ("wrong", expired, revoked, hashed, "' OR 1=1 --", "ü")]
    for method, path, _ in ROUTES + STRANGE:
        for given in bad if path.endswith("claim") else bad[:1] + bad[4:7]:
            answer = ask(method, path, b"{not json" if method == "POST" else None, **given)
            assert (answer.status, answer.json["status"]) == (401, 401), (method, path, given, answer)
            assert answer.headers["www-authenticate"].startswith("Bearer")
    for path in OPEN:
        assert ask("GET", path).status == 200
    ask.close()


def test_every_route_refuses_a_lesser_role(server: tuple[Path, str]) -> None:
    home, url = server
    has = {role: let_in(home, f"t-{role}", role, "local" if role == WORKER else None) for role in ROLES}
    ask = Asker(url)
    tried = 0
    for method, path, role in ROUTES:
        for lesser in ROLES[: ROLES.index(role)]:
            answer = ask(method, path, b"{}" if method == "POST" else None, token=has[lesser])
            assert answer.status == 403, (method, path, lesser, answer)
            tried += 1
        answer = ask(method, path, b"{}" if method == "POST" else None, token=has[role])
        assert answer.status in (200, 400, 404), (method, path, role, answer)
    assert tried > 40
    ask.close()


def test_a_worker_of_one_site_writes_nothing_of_another(server: tuple[Path, str]) -> None:
    home, url = server
    site = let_in(home, "desy", "worker", "desy")
    ask = Asker(url)
    for path, body in (
        ("/bundles/claim", '{"states": ["PushDone"], "destination": "nersc", "holder": "h"}'),
        ("/errands/claim", '{"states": ["RetrieveRequest"], "destination": "nersc", "holder": "h"}'),
        ("/sites/nersc/heartbeat", '{"state": "Run", "host": "h"}'),
        ("/sites/local/heartbeat", '{"state": "Run", "host": "h"}'),
        ("/bundles/claim", '{"states": ["Untouched"], "destination": "desy", "holder": "h"}'),
        ("/directories/claim", '{"states": ["unclaimed"], "home": "h", "holder": "h"}'),
        ("/dump/disks/claim", '{"home": "h", "at_once": 1, "holder": "h"}'),
    ):
        answer = ask("POST", ROOT + path, body.encode(), token=site)
        assert answer.status == 403, (path, answer)
        assert "desy" in answer.json["why"]
    answer = ask("POST", f"{ROOT}/sites/desy/heartbeat", b'{"state": "Run", "host": "h", "quota": 5}', token=site)
    assert (answer.status, answer.json["quota"]) == (200, 5)
    ask.close()


def test_a_token_in_the_address_is_refused_and_no_token_is_ever_logged(server: tuple[Path, str]) -> None:
    home, url = server
    token = let_in(home, "anna", "operator")
    ask = Asker(url)
    assert ask("GET", f"{ROOT}/bundles?token={token}").status == 401
    assert ask("GET", f"{ROOT}/bundles?access_token={token}&limit=1").status == 401
    answer = ask("GET", f"{ROOT}/bundles?token={token}", token=token)
    assert answer.status == 400
    assert "revoked" in answer.json["why"]
    assert ask("GET", f"{ROOT}/bundles", token=token).status == 200
    logs = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file() and path.parent.name != "secrets")
    assert b"listening on" in logs
    assert token.encode() not in logs
    ask.close()


def test_a_token_is_made_shown_once_listed_and_revoked_at_the_terminal(
    server: tuple[Path, str], run: Callable[..., Result], wait_until: Callable[..., Any]
) -> None:
    home, url = server
    token = run("lta-rest-server", "token", "add", "carl", "--role", "operator", "--days", 5, home=home).ok().out.splitlines()[0]
    again = run("lta-rest-server", "token", "add", "carl", "--role", "reader", home=home).gave(2)
    assert "there is a token carl" in again.err
    assert "bound to a site" in run("lta-rest-server", "token", "add", "nersc", "--role", "worker", home=home).gave(2).err
    listed = run("lta-rest-server", "token", "list", home=home).ok().out
    assert "carl" in listed
    assert token not in listed
    ask = Asker(url)
    assert ask("GET", f"{ROOT}/bundles", token=token).status == 200
    run("lta-rest-server", "token", "revoke", "carl", home=home).ok()
    wait_until(lambda: ask("GET", f"{ROOT}/bundles", token=token).status == 401, 10, "the revoked token is out")
    assert "no token bert" in run("lta-rest-server", "token", "revoke", "bert", home=home).gave(2).err
    ask.close()
