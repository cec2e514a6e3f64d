"""The scanner of a HOME whose tables are elsewhere: [lta] url, a token, nothing else in common."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dmtools.lta.api import READER, WORKER
from tests.lta.rest import let_in
from tests.lta.scanner_steps import Outbound
from tests.support import Server, run

DATA = b"the bytes of a bundle" * 20


@pytest.fixture
def centre(home: Path, serve: Callable[..., Server]) -> Outbound:
    """The HOME with the tables, and its server."""
    made = Outbound(home, serve)
    made.servers["rest"] = serve("lta-rest-server", "--port", 0, home=home)
    return made


@pytest.fixture
def source(centre: Outbound, short_tmp: Path, serve: Callable[..., Server]) -> Outbound:
    """Another HOME, which has outbound, an FTS server and a token."""
    place = short_tmp / "source"
    run("dm-config", "init", place, "--port-base", 19990).ok()
    made = Outbound(place, serve, quota=None)
    token(centre, made, WORKER, "local")
    made.set(url=centre.servers["rest"].url)
    made.start()
    return made


def token(centre: Outbound, source: Outbound, role: str, site: str | None = None) -> None:
    """The source's token from now on."""
    file = source.home / "secrets/lta-worker.token"
    file.parent.mkdir(exist_ok=True)
    file.write_text(let_in(centre.home, f"{role}-1", role, site))
    file.chmod(0o600)


def test_bundles_are_found_shipped_and_freed_by_the_books_of_another_home(centre: Outbound, source: Outbound) -> None:
    zips = [source.zip(name, DATA) for name in ("it's %.zip", "é/ü.zip")]
    for _ in range(2):
        source.scan()
        source.over()
    source.scan()
    assert set(centre.states().values()) == {"PushDone"}
    assert source.sql("SELECT * FROM lta_bundle") == []
    assert source.sql("SELECT last_success FROM component WHERE pipeline = 'lta'"), "its own books have its passes"
    assert centre.site("local").state == "Run"
    centre.to_tape()
    source.run("lta-manual-bundle", "--yes").ok()
    assert set(centre.states().values()) == {"LocalDeleted"}
    assert not any(path.exists() for path in zips)


def test_a_halt_or_drain_that_is_said_where_the_tables_are_binds_the_scanner(centre: Outbound, source: Outbound) -> None:
    source.zip("a.zip")
    for word, state in (("halt", "halted"), ("drain", "draining")):
        centre.run("dm-command", word, "lta").ok()
        assert source.scan().json["state"] == state
        assert centre.states() == {}
    centre.run("dm-command", "run", "lta").ok()
    source.scan()
    assert centre.states() == {"/a.zip": "JsonMade"}


def test_a_token_that_is_missing_or_may_not_is_told_and_nothing_is_written(centre: Outbound, source: Outbound) -> None:
    source.zip("a.zip")
    token(centre, source, READER)
    refused = source.run("lta-bundle-scanner").gave(2).err
    assert "is a reader; this needs a worker" in refused
    shutil.rmtree(source.home / "secrets")
    assert "token" in source.run("lta-bundle-scanner").gave(2).err
    assert centre.sql("SELECT COUNT(*) FROM lta_bundle") == [(0,)]
