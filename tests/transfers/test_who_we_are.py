"""Job ids follow from the VO under which a server knows us: what happens when it can't say, or says another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.migrate.steps import Site
from tests.support import Server

DUMB = '[[fault]]\nmatch = "GET /whoami"\nop = "http500"\n'


@pytest.fixture
def site(home: Path, serve: Callable[..., Server]) -> Site:
    return Site(home, serve)


def test_a_server_that_cant_say_who_we_are_is_away_and_the_other_works(site: Site) -> None:
    site.start(names=("fts1", "fts2"))
    site.master(site.files("/a/1", "/a/2", "/a/3"))
    site.produce(lfns=1)
    site.faults(DUMB, "fts1")
    said = site.run("migrate-consumer").ok()
    assert "FTS server away: fts1" in said.err
    assert {server for (server,) in site.sql("SELECT server FROM ftsjob")} == {"fts2"}
    assert site.lines("DOING") == ["/a/1", "/a/2", "/a/3"]


def test_when_no_server_can_say_who_we_are_the_pass_comes_back_later(site: Site) -> None:
    site.start()
    site.only()
    site.master(site.files("/a/1"))
    site.produce()
    site.faults(DUMB)
    said = site.run("migrate-consumer").gave(75)
    assert "internal error" not in said.err
    assert site.lines("TODO") == ["/a/1"]


def test_a_job_that_was_booked_under_one_vo_is_not_sent_again_under_another(site: Site) -> None:
    site.start("--vo", "here")
    site.only()
    site.master(site.files("/a/1"))
    site.produce()
    site.faults('[[fault]]\nmatch = "POST /jobs"\nop = "http500"\n')
    site.consume()
    site.faults("")
    site.servers["fts1"].stop()
    site.start("--vo", "there")
    said = site.monitor()
    assert "under the VO there now" in said.err
    assert site.ask("/sim/submissions") == []
    site.servers["fts1"].stop()
    site.start("--vo", "here")
    site.settle()
    assert site.states() == {"Okay": 1}
    assert len(site.ask("/sim/submissions")) == 1
