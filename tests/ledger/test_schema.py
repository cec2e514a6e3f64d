"""The tables are made, upgraded, pruned and copied; a schema that isn't ours is left alone."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import inspect, select

from dmtools.ledger import Ledger, LedgerUnavailable, schema, tables
from dmtools.ledger.backup import BackupRefused, backup
from tests.ledger.conftest import settings_for
from tests.support import ROOT, run, wait_until


def layout(ledger: Ledger) -> dict[str, object]:
    """Tables with their columns, indexes and constraints, as the database tells them."""
    eye = inspect(ledger.engine)
    found: dict[str, object] = {}
    for name in sorted(eye.get_table_names()):
        columns = [(c["name"], str(c["type"]), c["nullable"]) for c in eye.get_columns(name)]
        indexes = sorted((str(i["name"]), tuple(i["column_names"]), bool(i["unique"])) for i in eye.get_indexes(name))
        unique = sorted((str(u["name"]), tuple(u["column_names"])) for u in eye.get_unique_constraints(name))
        found[name] = (columns, indexes, unique, eye.get_pk_constraint(name)["constrained_columns"])
    return found


def test_an_upgrade_can_be_repeated_and_keeps_the_installation(opened: Callable[..., Ledger]) -> None:
    ledger = opened(check=False)
    assert schema.upgrade(ledger) is None
    with ledger.read() as connection:
        first = schema.installation_id(connection)
    assert schema.upgrade(ledger) == tables.SCHEMA
    with ledger.read() as connection:
        assert schema.installation_id(connection) == first
    opened()


def test_the_migrations_make_the_same_tables_as_a_new_database_has(opened: Callable[..., Ledger]) -> None:
    ledger = opened(check=False)
    with ledger.write() as connection:
        schema._migrate(connection)
        assert schema.schema_version(connection) == tables.SCHEMA
    migrated = layout(ledger)
    with ledger.write() as connection:
        for name in migrated:
            connection.exec_driver_sql(f"DROP TABLE {name}")
    schema.upgrade(ledger)
    assert layout(ledger) == migrated


@pytest.mark.parametrize("with_later_tables", [False, True], ids=["as it was", "whose 0001 made later tables, too"])
def test_a_database_of_the_first_release_gets_the_later_tables(opened: Callable[..., Ledger], with_later_tables: bool) -> None:
    ledger = opened(check=False)
    schema.upgrade(ledger)
    whole = layout(ledger)
    with ledger.write() as connection:
        first = schema.installation_id(connection)
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
        if not with_later_tables:
            for name in ("web_user", "web_session", "daq_disk", "daq_file", "daq_zip"):
                connection.exec_driver_sql(f"DROP TABLE {name}")
    with pytest.raises(LedgerUnavailable, match="older schema 0001"):
        opened()
    assert schema.upgrade(opened(check=False)) == "0001"
    ledger = opened()
    assert layout(ledger) == whole
    with ledger.read() as connection:
        assert schema.installation_id(connection) == first


def test_text_columns_are_compared_byte_by_byte_on_mariadb(mariadb: str, tmp_path: Path) -> None:
    from dmtools.ledger import open_ledger

    ledger = open_ledger(settings_for(mariadb, tmp_path), check=False)
    schema.upgrade(ledger)
    with ledger.read() as connection:
        where = "FROM information_schema.columns WHERE table_schema = DATABASE() AND collation_name IS NOT NULL"
        said = connection.exec_driver_sql(f"SELECT table_name, column_name, collation_name {where}").all()
        engines = connection.exec_driver_sql(
            "SELECT DISTINCT engine FROM information_schema.tables WHERE table_schema = DATABASE()"
        )
        assert [row[0] for row in engines] == ["InnoDB"]
    ledger.close()
    ours = [row for row in said if row[0] != "alembic_version"]
    assert len(ours) > 40
    assert {row[2] for row in ours} == {"ascii_nopad_bin", "utf8mb4_bin"}


def test_a_table_that_was_dropped_is_told_and_made_again(ledger: Ledger, opened: Callable[..., Ledger]) -> None:
    with ledger.write() as connection:
        connection.exec_driver_sql("DROP TABLE hold")
    with pytest.raises(LedgerUnavailable, match="lacks a table") as caught, ledger.read() as connection:
        connection.execute(select(tables.hold)).all()
    assert "dm-db upgrade" in caught.value.next_step
    schema.upgrade(ledger)
    with opened().read() as connection:
        assert connection.execute(select(tables.hold)).all() == []


@pytest.mark.parametrize(
    ("version", "said", "step"), [("9999", "newer than this program", "install the newer"), ("0000", "older", "dm-db upgrade")]
)
def test_another_schema_is_refused(ledger: Ledger, opened: Callable[..., Ledger], version: str, said: str, step: str) -> None:
    with ledger.write() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{version}'")
    with pytest.raises(LedgerUnavailable, match=said) as caught:
        opened()
    assert step in caught.value.next_step


def test_an_upgrade_leaves_a_newer_schema_alone(ledger: Ledger, opened: Callable[..., Ledger]) -> None:
    with ledger.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    before = layout(ledger)
    with pytest.raises(LedgerUnavailable, match="newer"):
        schema.upgrade(opened(check=False))
    assert layout(ledger) == before


def test_a_table_with_other_columns_is_told(ledger: Ledger) -> None:
    with ledger.write() as connection:
        connection.exec_driver_sql("DROP TABLE hold")
        connection.exec_driver_sql("CREATE TABLE hold (id INTEGER PRIMARY KEY)")
    with pytest.raises(LedgerUnavailable, match=r"table hold .* lacks .*reason"):
        schema.upgrade(ledger)


def test_status_tells_kind_version_and_rows(ledger: Ledger) -> None:
    found = schema.status(ledger)
    assert found["version"] == tables.SCHEMA
    assert found["rows"]["installation"] == 1
    assert found["bytes"] > 10000
    assert found["kind"] == ("sqlite" if ledger.sqlite else "MariaDB")


# ---- backup ---------------------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from tests.ledger.conftest import settings_for
from dmtools import clock
from dmtools.ledger import journal, open_ledger
ledger = open_ledger(settings_for(f"sqlite:///{sys.argv[1]}", Path("/")))
for n in range(100000):
    def both(c):
        journal.note(c, "test", "file", n, by="w", at=clock.now(), why="x" * 1000)
        journal.add_tally(c, "test", {"New": (1, 1)})
    ledger.transact(both)
"""


def test_a_backup_while_others_write_is_one_consistent_instant(home: Path, tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(home / "dmtools.db")], cwd=ROOT)

    def written() -> bool:
        with sqlite3.connect(home / "dmtools.db") as raw:
            return bool(raw.execute("SELECT COUNT(*) FROM journal").fetchone()[0] > 20)

    wait_until(written, 60)
    target = tmp_path / "copy.db"
    found = run("dm-db", "backup", target, "--json", home=home).ok().json
    writer.kill()
    writer.wait()
    assert found["bytes"] == target.stat().st_size
    assert target.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(target) as raw:
        notes, tally = raw.execute("SELECT (SELECT COUNT(*) FROM journal), (SELECT SUM(n) FROM tally)").fetchone()
    assert notes == tally >= 20
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".", "copy"))) == ["copy.db"]


def test_a_backup_never_overwrites(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    target.write_bytes(b"mine")
    assert "never overwrites" in run("dm-db", "backup", target, home=home).gave(2).err
    assert target.read_bytes() == b"mine"
    assert "no directory" in run("dm-db", "backup", tmp_path / "gone" / "copy.db", home=home).gave(2).err
    assert "name of a new file" in run("dm-db", "backup", home=home).gave(2).err


def test_a_damaged_database_is_not_backed_up(tmp_path: Path) -> None:
    source = tmp_path / "d.db"
    source.write_bytes(b"no database at all" * 1000)
    with pytest.raises(BackupRefused, match="could not copy"):
        backup(source, tmp_path / "copy.db")
    assert [path.name for path in tmp_path.iterdir()] == ["d.db"]


# ---- dm-db ----------------------------------------------------------------------------------------------------------


def test_dm_db_makes_the_tables_on_mariadb(mariadb: str, home: Path, tmp_path: Path) -> None:
    secret = home / "secrets" / "db"
    secret.write_text("wrong but unused by the socket\n")
    (home / "dmtools.toml").write_text(f'[database]\nurl = "{mariadb}"\n')
    assert "dm-db upgrade" in run("dm-db", "status", home=home).gave(75).err
    assert run("dm-db", "upgrade", "--json", home=home).ok().json["before"] is None
    assert run("dm-db", "status", "--json", home=home).ok().json["kind"] == "MariaDB"
    assert "mariadb-dump" in run("dm-db", "backup", tmp_path / "x", home=home).gave(2).err
    run("dm-config", "init", home).ok()
    assert run("dm-command", "halt", home=home).ok()


def test_dm_db_says_what_it_did(home: Path) -> None:
    assert "as it should be" in run("dm-db", "upgrade", home=home).ok().out
    status = run("dm-db", "status", home=home).ok().out
    assert re.search(r"rows of installation: 1\n", status)
    assert run("dm-db", "prune", "--older-than", "1d", "--json", home=home).ok().json["deleted"] == {
        "journal": 0,
        "flow": 0,
        "hold": 0,
    }
    assert "no length of time" in run("dm-db", "prune", "--older-than", "soon", home=home).gave(2).err
    assert "takes no file" in run("dm-db", "status", "x", home=home).gave(2).err
    assert run("dm-db", "stats", "--json", home=home).gave(2).json["state"] == "failed"
