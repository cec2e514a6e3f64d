"""lta-dump-control and lta-glue of a HOME whose tables are elsewhere: [lta] url, a token, nothing else in common."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dmtools.lta.api import OPERATOR
from tests.lta.dump_steps import DAY, Train, members, told, tree
from tests.lta.link import link
from tests.lta.rest import let_in
from tests.support import Server, run

Serve = Callable[..., Server]


@pytest.fixture
def centre(home: Path, serve: Serve) -> Train:
    """The HOME with the tables, and its server."""
    made = Train(home)
    made.servers["rest"] = serve("lta-rest-server", "--port", 0, home=home)
    return made


@pytest.fixture
def train(centre: Train, short_tmp: Path) -> Train:
    """Another HOME, with slots and a warehouse, whose tables are the centre's."""
    place = short_tmp / "train"
    run("dm-config", "init", place, "--port-base", 19980).ok()
    made = Train(place)
    token(made, (centre.home / "secrets/lta-worker.token").read_text())
    made.set(url=centre.servers["rest"].url, server_seconds=2)
    return made


def token(train: Train, text: str) -> None:
    """Its token from now on."""
    file = train.home / "secrets/lta-worker.token"
    file.write_text(text)
    file.chmod(0o600)


def states(centre: Train, table: str) -> list[str]:
    return sorted(state for (state,) in centre.sql(f"SELECT state FROM {table}"))


def test_disks_become_bundles_by_the_tables_of_another_home_though_each_answer_is_lost_once_and_the_server_goes_away(
    centre: Train, train: Train, serve: Serve
) -> None:
    train.set(wanted=["data"], ideal_bytes=1000)
    names = ("it's %", "é/ü", "a", "b", "c", "large")
    for name in names:
        train.file(1, f"{DAY}/{name}", os.urandom(1_000_000) if name == "large" else None)
    (train.slot(2) / "no disk").mkdir()
    lose = [b"/dump/inventory", b"/dump/disks/claim", b"Dumping", b"/directories/expected", b"/directories/full"]
    lose += [b"/directories/claim", b"LTArequest", b"/files", b"POST /api/v1/bundles "]
    with link(centre.servers["rest"].url, 1, lose=lose) as way:
        train.set(url=f"http://127.0.0.1:{way.port}")
        train.expect(day=len(names))
        assert train.dump().json["counts"] == {">Inventoried": 1, "Inventoried>Dumping": 1, "Dumping>Done": 1}
        assert tree(train.warehouse / "data") == tree(train.disk(1) / "data")
        assert states(centre, "lta_disk") == ["Done"]
        port, way.to = way.to, 9
        centre.servers["rest"].kill()
        away = train.glue("-v", codes=(75,))
        assert "server away" in told(away)
        assert train.zips() == []
        way.to = int(serve("lta-rest-server", "--port", port, home=centre.home).url.rpartition(":")[2])
        counts = train.glue().json["counts"]
        assert lose == []
    assert counts["processing>LTArequest"] == 1
    assert counts[">Untouched"] == len(train.zips()) > 1
    assert states(centre, "lta_bundle") == ["Untouched"] * len(train.zips())
    held = {name: data for path in train.zips() for name, data in members(path).items()}
    assert held == {b"data/" + name: data for name, data in tree(train.warehouse / "data").items()}
    assert centre.sql("SELECT COUNT(*) FROM lta_file") == [(len(names),)]
    for table in ("lta_disk", "lta_slot", "lta_directory", "lta_expected", "lta_bundle", "lta_file"):
        assert train.sql(f"SELECT COUNT(*) FROM {table}") == [(0,)], table


def test_words_of_persons_bind_both_and_need_an_operators_token(centre: Train, train: Train) -> None:
    train.set(wanted=["data"])
    train.file(1, f"{DAY}/a")
    for word, state in (("halt", "halted"), ("drain", "draining")):
        centre.run("dm-command", word, "lta").ok()
        assert train.dump().json["state"] == state
        assert train.glue().json["state"] == state
    assert states(centre, "lta_disk") == ["Inventoried"], "an inventory is no new work"
    centre.run("dm-command", "run", "lta").ok()
    train.full("b", "c", day="data/b")
    worker = train.dump("--remove", train.uuid(1), codes=(1,)), train.glue("--give-up", "/data/b", codes=(1,))
    for one in worker:
        assert "this needs an operator" in told(one)
        assert "token" in told(one)
    assert (states(centre, "lta_disk"), states(centre, "lta_directory")) == (["Inventoried"], ["unclaimed"])
    token(train, let_in(centre.home, "anna", OPERATOR))
    train.dump("--remove", train.uuid(1))
    train.glue("--give-up", "/data/b")
    assert (states(centre, "lta_disk"), states(centre, "lta_directory")) == (["Removed"], ["deprecated"])
