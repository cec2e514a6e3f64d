"""A database that is locked, gone, damaged or away: one sentence and what to do; a deadlock is repeated unseen."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select, text, update

from dmtools import clock, settings
from dmtools.ledger import Ledger, LedgerUnavailable, engine, open_ledger, schema, tables
from tests.ledger.conftest import settings_for

TALLY = tables.tally.c


def fill(ledger: Ledger) -> None:
    rows = [{"pipeline": "t", "state": state, "shard": 0, "n": 0, "bytes": 0} for state in ("a", "b")]
    ledger.transact(lambda c: c.execute(insert(tables.tally), rows))


def add_to(connection: Connection, state: str) -> None:
    connection.execute(update(tables.tally).where(TALLY.state == state).values(n=TALLY.n + 1))


def mariadb_ledger(url: str, place: Path) -> Ledger:
    ledger = open_ledger(settings_for(url, place), check=False)
    schema.upgrade(ledger)
    return ledger


def total(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return int(connection.execute(select(func.sum(TALLY.n))).scalar_one())


# ---- MariaDB: 1213, 1205, gone -----------------------------------------------------------------------------------------


def test_a_deadlock_repeats_the_whole_transaction(mariadb: str, tmp_path: Path) -> None:
    ledger = mariadb_ledger(mariadb, tmp_path)
    fill(ledger)
    meet = threading.Barrier(2)
    tries: list[str] = []

    def work(connection: Connection, first: str, second: str) -> None:
        tries.append(first)
        add_to(connection, first)
        if len(tries) <= 2:
            meet.wait(60)  # both hold one row and want the other's
        add_to(connection, second)

    other = threading.Thread(target=ledger.transact, args=(lambda c: work(c, "a", "b"),))
    other.start()
    ledger.transact(lambda c: work(c, "b", "a"))
    other.join()
    assert len(tries) == 3, "one of the two was the victim and ran again"
    assert total(ledger) == 4
    ledger.close()


def test_a_lock_that_is_waited_for_too_long_is_tried_again(mariadb: str, tmp_path: Path) -> None:
    ledger = mariadb_ledger(mariadb, tmp_path)
    fill(ledger)
    holder = ledger.engine.connect()
    holder.begin()
    add_to(holder, "a")
    tries: list[int] = []

    def work(connection: Connection) -> None:
        tries.append(1)
        connection.execute(text("SET innodb_lock_wait_timeout = 1"))
        if len(tries) == 2:
            holder.commit()
        add_to(connection, "a")

    ledger.transact(work)
    holder.close()
    assert len(tries) == 2
    assert total(ledger) == 2
    ledger.close()


def test_a_lock_that_is_never_given_back_ends_with_a_sentence(mariadb: str, tmp_path: Path) -> None:
    ledger = mariadb_ledger(mariadb, tmp_path)
    fill(ledger)
    holder = ledger.engine.connect()
    holder.begin()
    add_to(holder, "a")
    tries: list[int] = []

    def work(connection: Connection) -> None:
        tries.append(1)
        connection.execute(text("SET innodb_lock_wait_timeout = 0"))
        add_to(connection, "a")

    with pytest.raises(LedgerUnavailable, match="locked by another command"):
        ledger.transact(work, tries=3)
    assert len(tries) == 3
    holder.close()
    ledger.close()


def test_a_server_that_was_restarted_is_used_again(mariadb_server: Any, tmp_path: Path) -> None:
    import signal

    ledger = mariadb_ledger(mariadb_server.url, tmp_path)
    fill(ledger)
    mariadb_server.stop(signal.SIGKILL)
    with pytest.raises(LedgerUnavailable, match="doesn't answer") as caught:
        total(ledger)
    assert "root:" not in str(caught.value)
    mariadb_server.start()
    assert total(ledger) == 0
    ledger.close()


def test_a_wrong_password_is_told_without_showing_it(mariadb_server: Any, tmp_path: Path) -> None:
    mariadb_server.say("CREATE USER dm@localhost IDENTIFIED BY 'right'")
    mariadb_server.say("GRANT ALL ON test.* TO dm@localhost")
    url = mariadb_server.url.replace("root@", "dm@")
    secret = tmp_path / "password"
    wanted = settings.parse(f'[database]\nurl = "{url}"\npassword_file = "{secret}"\n', home=tmp_path, file=None)
    secret.write_text("right\n")
    secret.chmod(0o644)
    with pytest.raises(settings.SettingsError, match="chmod 600"):
        open_ledger(wanted, check=False)
    secret.chmod(0o600)
    ledger = open_ledger(wanted, check=False)
    schema.upgrade(ledger)
    assert "right" not in ledger.shown
    ledger.close()
    secret.write_text("wr0ng\n")
    with pytest.raises(LedgerUnavailable, match="refuses our name or password") as caught:
        open_ledger(wanted)
    assert "wr0ng" not in str(caught.value)


def test_without_its_driver_the_settings_are_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(settings.SettingsError, match=r"pymysql.*pip install"):
        open_ledger(settings_for("mysql+pymysql://a@h/d", tmp_path))


# ---- sqlite ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def lite(tmp_path: Path) -> Path:
    path = tmp_path / "d.db"
    ledger = open_ledger(settings_for(f"sqlite:///{path}", tmp_path), check=False)
    schema.upgrade(ledger)
    ledger.close()
    return path


def reopen(path: Path) -> Ledger:
    return open_ledger(settings_for(f"sqlite:///{path}", path.parent, busy_seconds=1))


def test_a_locked_database_can_be_read_and_its_writers_wait_then_say_so(lite: Path) -> None:
    holder = sqlite3.connect(lite, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    ledger = reopen(lite)
    with ledger.read() as connection:
        assert connection.execute(select(tables.hold)).all() == []
    with pytest.raises(LedgerUnavailable, match="locked by another command"):
        fill(ledger)
    holder.execute("COMMIT")
    holder.close()
    fill(ledger)
    ledger.close()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "is not there"),
        (lambda path: path.write_bytes(b""), "lacks a table"),
        (lambda path: path.write_bytes(b"not a database" * 1000), "is damaged"),
        (lambda path: (path.unlink(), path.mkdir()), "is no file"),
    ],
)
def test_a_database_that_is_gone_empty_or_damaged(lite: Path, damage: Callable[[Path], object], said: str) -> None:
    damage(lite)
    with pytest.raises(LedgerUnavailable, match=said) as caught:
        reopen(lite)
    assert "dm-check --repair" in caught.value.next_step


def test_damage_inside_is_told_when_it_is_met(lite: Path) -> None:
    data = bytearray(lite.read_bytes())
    for page in range(1, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    lite.write_bytes(data)
    with pytest.raises(LedgerUnavailable, match="damaged") as caught:
        total(reopen(lite))
    assert "dm-check --repair" in caught.value.next_step


def test_a_full_disk_is_told(lite: Path) -> None:
    ledger = reopen(lite)

    def work(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        row = {"pipeline": "t", "kind": "file", "item": 1, "by": "me", "at": clock.now(), "why": "x" * 5000}
        connection.execute(insert(tables.journal), [row] * 200)

    with pytest.raises(LedgerUnavailable, match="no room"):
        ledger.transact(work)
    ledger.close()


def test_a_failed_transaction_leaves_nothing(lite: Path) -> None:
    ledger = reopen(lite)

    def work(connection: Connection) -> None:
        connection.execute(insert(tables.tally).values(pipeline="t", state="a", shard=0, n=1, bytes=1))
        raise RuntimeError("after the write")

    with pytest.raises(RuntimeError):
        ledger.transact(work)
    with ledger.read() as connection:
        assert connection.execute(select(tables.tally)).all() == []
    ledger.close()


def test_the_file_system_of_a_place_is_known(tmp_path: Path) -> None:
    kind = engine.file_system(tmp_path)
    assert kind
    assert kind not in engine.NETWORK_FILE_SYSTEMS
    assert engine.file_system(Path("/proc/self")) == "proc"


def test_a_network_file_system_is_refused(lite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "file_system", lambda _: "nfs4")
    with pytest.raises(LedgerUnavailable, match="network file system"):
        reopen(lite)
