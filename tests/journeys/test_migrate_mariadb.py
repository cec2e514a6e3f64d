"""The whole of migrate on a real private MariaDB: ten at once, names that a collation would merge, deadlocks, a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dmtools.names import encode
from tests.migrate.steps import Site
from tests.real_components import MariaDb
from tests.support import Result, Server, command, environment, wait_until

pytestmark = pytest.mark.needs("mariadb")
# MariaDB's usual collation takes each of these for the one beside it.
TWINS = ["/run/A", "/run/a", "/RUN/A", "/run/b", "/run/b ", "/run/é", "/run/e", "/run/e\u0301", "/run/ß", "/run/ss"]
MANY = [f"/many/{n}" for n in range(50)]
COPIES = 10


@dataclass
class OnMariaDb(Site):
    """A Site whose tables are in MariaDB."""

    server: MariaDb = field(kw_only=True)

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(self.server.connect()) as db, db.cursor() as cursor:
            cursor.execute("USE test")
            cursor.execute(query.replace("?", "%s"), values)
            return list(cursor.fetchall())

    def due(self) -> None:
        self.sql("UPDATE filelist SET next_try = NULL")

    def status(self, name: str) -> int:
        """One of the server's own counters."""
        return int(self.sql("SELECT variable_value FROM information_schema.global_status WHERE variable_name = ?", name)[0][0])

    def at_once(self, name: str, *args: object) -> None:
        """Ten of a command started at once, to their ends."""
        argv = command(name, *args)
        started = [subprocess.Popen(argv, env=environment(self.home), stderr=subprocess.PIPE) for _ in range(COPIES)]
        said = [(process.communicate(timeout=120)[1].decode(), process.returncode) for process in started]
        assert [one for one in said if one[1] not in (0, 1) or "internal error" in one[0] or "Traceback" in one[0]] == []

    def all_there(self, lfns: list[str]) -> None:
        """These are Okay, equal, copied once; and MariaDB says so."""
        assert sorted(map(self.lfn, self.copies())) == sorted(encode(os.fsencode(lfn)) for lfn in lfns)
        for lfn in lfns:
            assert self.target(lfn).read_bytes() == self.source(lfn).read_bytes(), lfn
        assert self.states() == {"Okay": len(lfns)}
        assert self.tally() == {"Okay": len(lfns)}
        assert (self.names("TODO"), self.names("DOING")) == ([], [])
        assert self.sql("SELECT COUNT(*) FROM lease") == [(0,)]


@pytest.fixture
def site(home: Path, serve: Callable[..., Server], mariadb_server: MariaDb) -> OnMariaDb:
    """No sqlite file is left: what is kept is in MariaDB."""
    made = OnMariaDb(home, serve, server=mariadb_server)
    mariadb_server.say("ALTER DATABASE test COLLATE utf8mb4_general_ci")
    made.only()
    made.settings(f'[database]\nurl = "{mariadb_server.url}"\n')
    for path in home.glob("dmtools.db*"):
        path.unlink()
    made.run("dm-db", "upgrade").ok()
    made.start()
    return made


def begin(site: OnMariaDb, lfns: list[str], name: str = "all.txt") -> None:
    """These files exist and are listed."""
    path = site.home / "migrate/TODO/ListOfLFNs" / name
    path.write_bytes(b"".join(os.fsencode(lfn) + b"\n" for lfn in site.files(*lfns)))


def test_the_whole_journey_by_ten_at_once(site: OnMariaDb) -> None:
    begin(site, TWINS, "twins.txt")
    begin(site, MANY, "many.txt")
    inserted = site.status("Com_insert")
    site.at_once("migrate-producer", "--lists", 0, "--lfns", 4)
    assert site.tally() == {"TODO": len(TWINS) + len(MANY)}
    assert sorted(site.lines("TODO")) == sorted(encode(os.fsencode(lfn)) for lfn in TWINS + MANY)
    site.at_once("migrate-consumer", "--lists", 0)
    site.over()
    site.at_once("migrate-monitor")
    site.settle()
    site.all_there(TWINS + MANY)
    assert len(site.ask("/sim/submissions")) == len(site.sql("SELECT id FROM filelist"))
    rows, names, merged = site.sql("SELECT COUNT(*), COUNT(DISTINCT name), COUNT(DISTINCT LOWER(name)) FROM transfer")[0]
    assert merged < names == rows == len(TWINS + MANY), "each twin is one of its own"
    assert site.status("Com_insert") - inserted > COPIES
    engines = site.sql("SELECT DISTINCT engine FROM information_schema.tables WHERE table_schema = 'test'")
    assert engines == [("InnoDB",)]
    assert list(site.home.glob("*.db*")) == []
    found = site.run("dm-monitoring", "--json").ok().json
    assert found["pipelines"]["migrate"]["counts"]["Okay"] == len(TWINS + MANY)
    site.agrees()


def test_the_server_is_killed_in_the_middle(site: OnMariaDb) -> None:
    lfns = MANY[:12]
    begin(site, lfns)
    site.produce()
    site.run("migrate-consumer", "--lists", 2).ok()
    site.server.stop(signal.SIGKILL)
    for name in ("migrate-producer", "migrate-consumer", "migrate-monitor"):
        found = site.run(name, "--json").gave(75).json
        assert found["state"] == "unavailable"
        (told,) = found["errors"]
        assert (told["what"], "doesn't answer" in told["why"]) == ("no database", True)
        assert encode(os.fsencode(site.server.socket)).replace("/", "%2F") in told["why"]
    site.server.start()
    site.settle()
    site.all_there(lfns)


def test_a_deadlock_and_a_lock_that_waits_too_long_are_repeated(site: OnMariaDb) -> None:
    """What the consumer's transaction loses it does again from its start: nobody sees it."""
    begin(site, MANY[:8])
    site.produce()
    site.server.say("SET GLOBAL innodb_lock_wait_timeout = 2")
    site.server.say("CREATE TABLE test.ballast (n INT)")
    deadlocks, waits = site.status("Innodb_deadlocks"), site.status("Innodb_row_lock_waits")
    done: list[Result] = []
    with closing(site.server.connect()) as db, db.cursor() as cursor:
        cursor.execute("USE test")
        cursor.execute("SET innodb_lock_wait_timeout = 60")
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO ballast SELECT seq FROM seq_1_to_5000")  # the lighter transaction is the one that loses
        cursor.execute("SELECT * FROM tally FOR UPDATE")
        consumer = threading.Thread(target=lambda: done.append(site.run("migrate-consumer", "--lists", 0)))
        consumer.start()
        wait_until(lambda: site.status("Innodb_row_lock_waits") > waits, 60, "the consumer waits for the counts")
        wait_until(lambda: site.status("Innodb_row_lock_waits") > waits + 1, 60, "it tries again after 1205")
        assert site.status("Innodb_deadlocks") == deadlocks
        cursor.execute("UPDATE filelist SET waits_for = NULL WHERE waits_for IS NULL OR waits_for = ''")
        assert site.status("Innodb_deadlocks") == deadlocks + 1
        cursor.execute("ROLLBACK")
        consumer.join(60)
    assert done[0].ok().err == ""
    site.over()
    site.monitor()
    site.all_there(MANY[:8])
