"""The same on MariaDB: triage, cancel, dm-check, and tables that are dropped while jobs run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from tests.migrate.steps import Site
from tests.support import Server, wait_until

SLOW = '[[fault]]\nmatch = "*/slow*"\nop = "stall"\nseconds = 600\n'
LOST = '[[fault]]\nmatch = "*/bad*"\nop = "fail"\nreason = "SOURCE [2] No such file or directory"\n'


class OnMariaDb(Site):
    """A Site whose tables are in MariaDB."""

    engine: Engine

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self.engine.begin() as connection:
            done = connection.execute(text(query))
            return [tuple(row) for row in done] if done.returns_rows else []

    def due(self) -> None:
        self.sql("UPDATE filelist SET next_try = NULL")


@pytest.fixture
def site(home: Path, serve: Callable[..., Server], mariadb: str) -> Iterator[OnMariaDb]:
    made = OnMariaDb(home, serve)
    made.engine = create_engine(mariadb)
    made.only()
    made.settings(f'[database]\nurl = "{mariadb}"\n')
    made.run("dm-db", "upgrade").ok()
    made.start()
    made.faults(SLOW + LOST)
    made.master([*made.files("/a/1", "/a/bad", "/a/slow"), "/a/../b"])
    made.produce(lfns=2)
    made.consume()
    wait_until(lambda: made.target("/a/1").exists() and len(made.copies()) == 1, 60, "the first copy")
    yield made
    made.engine.dispose()


def agrees(site: Site) -> None:
    found = site.run("dm-check", "--storage", "sample", "--json").ok().json
    assert [one for one in found["findings"] if not one["note"]] == []


def test_triage_and_cancel(site: OnMariaDb) -> None:
    agrees(site)
    site.run("migrate-cancel", "/a/slow").ok()
    site.over()
    site.monitor()
    classes = {one["class"]: one["files"] for one in site.run("migrate-triage", "--json").ok().json["classes"]}
    assert classes == {"invalid": 1, "missing": 1, "withdrawn": 1}
    agrees(site)
    site.faults("")
    assert site.run("migrate-triage", "--all", "--requeue", "--json").ok().json["requeued"] == 2
    agrees(site)
    site.due()
    site.settle()
    assert site.tally() == {"Okay": 3, "Bad": 1}
    agrees(site)


def test_tables_that_are_dropped_are_rebuilt(site: OnMariaDb) -> None:
    before = site.sql("SELECT server, sid, job FROM ftsjob ORDER BY job")
    for (name,) in site.sql("SHOW TABLES"):
        site.sql(f"DROP TABLE {name}")
    assert "dm-check --repair" in site.run("dm-check").gave(75).err
    site.run("migrate-monitor").gave(75)
    site.run("dm-check", "--repair").ok()
    assert site.sql("SELECT server, sid, job FROM ftsjob ORDER BY job") == before
    agrees(site)
    site.faults("")
    site.servers["fts1"].stop()
    site.start()
    site.settle()
    assert site.tally() == {"Okay": 2, "Bad": 2}
    assert sorted(map(site.lfn, site.copies())) == ["/a/1", "/a/slow"]
    agrees(site)


@pytest.mark.parametrize(
    ("damage", "rules"),
    [
        ("UPDATE tally SET n = n + 3", {"counts"}),
        ("UPDATE filelist SET state = 'done' WHERE state = 'DOING'", {"attempt-without-list", "done-with-open-files"}),
        ("UPDATE ftsjob SET state = 'closed'", {"doing-without-attempt"}),
        ("DELETE FROM filelist WHERE state = 'DOING' LIMIT 1", {"attempt-without-list", "files-without-list"}),
    ],
)
def test_damage_is_mended(site: OnMariaDb, damage: str, rules: set[str]) -> None:
    site.sql(damage)
    found = site.run("dm-check", "--json").gave(1).json
    assert {one["rule"] for one in found["findings"] if not one["note"]} == rules
    site.run("dm-check", "--repair").ok()
    agrees(site)
