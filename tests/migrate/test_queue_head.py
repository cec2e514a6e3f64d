"""Who stands first in the queue and can't go must not hold up the others; what is appended late must not get lost."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.migrate.steps import Site
from tests.support import Server, command, environment, wait_until


@pytest.fixture
def site(home: Path, serve: Callable[..., Server]) -> Site:
    return Site(home, serve)


def test_a_rule_whose_hours_are_over_does_not_hold_up_the_others(site: Site) -> None:
    begin = datetime.now().astimezone() + timedelta(hours=3)
    closed = f"{begin:%H:00}-{begin:%H:30}"
    rules = "".join(
        f'[[migrate.rules]]\nmatch = "/{name}"\nsource = "file://{site.home}/demo/castor/{name}"\n'
        f'destination = "file://{site.home}/demo/echo/{name}"\n' + (f'hours = "{closed}"\n' if name == "night" else "")
        for name in ("night", "day")
    )
    site.only()
    site.settings(rules)
    site.start()
    site.master(site.files(*(f"/night/{n}" for n in range(7))), "1.txt")
    site.produce(lfns=1)
    site.master(site.files("/day/1"), "2.txt")
    site.produce(lfns=1)
    site.run("migrate-consumer", "--lists", 5).ok()
    assert site.lines("DOING") == ["/day/1"]
    assert len(site.names("TODO")) == 7


def test_when_only_a_server_without_weight_answers_nothing_is_sent_and_nothing_breaks(site: Site) -> None:
    site.settings('[fts]\nservers = [{ name = "fts1", url = "sim:fts1" }, { name = "fts2", url = "sim:fts2", weight = 0 }]\n')
    site.start(names=("fts2",))
    site.master(site.files("/a/1"))
    site.produce()
    said = site.run("migrate-consumer").gave(75)
    assert "weight 0" in said.err
    assert "internal error" not in said.err
    assert site.lines("TODO") == ["/a/1"]


@pytest.mark.needs("strace")
def test_lines_that_are_appended_while_a_master_list_moves_to_done_are_cut_too(site: Site) -> None:
    path = site.master(site.files("/a/1", "/a/2"))
    late = ("-P", str(path), "-e", "trace=rename", "-e", "inject=rename:delay_enter=6000000:when=1")  # its move to Done
    slow = ("strace", "-f", "-qq", "-o", "/dev/null", *late)
    with subprocess.Popen([*slow, *command("migrate-producer", "--lists", 0)], env=environment(site.home)) as producer:
        wait_until(lambda: site.names("TODO"), 60, "the list is in TODO")
        with path.open("a") as master:
            master.write("/a/3\n")
        assert producer.wait(60) == 0
    site.produce()
    assert site.lines("TODO") == ["/a/1", "/a/2", "/a/3"]
    assert (site.home / "migrate/TODO/ListOfLFNs/Done/all.txt").read_text().splitlines() == ["/a/1", "/a/2", "/a/3"]
    assert not path.exists()
