"""No query of dm-train-ok and dm-monitoring grows with history: each searches an index on the tables that grow."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from dmtools import clock
from dmtools.ledger import open_ledger, schema
from dmtools.settings import load
from tests.control.million import Numbers, fill
from tests.control.queries import plans_on_mariadb, plans_on_sqlite, queries_of

GROWING = r"\b(transfer|filelist|ftsjob|journal|flow|hold)\b"
COMMANDS = ["dm-train-ok", "dm-monitoring"]


@pytest.mark.parametrize("name", COMMANDS)
def test_on_sqlite(home: Path, name: str) -> None:
    ledger = open_ledger(load(home=home))
    fill(ledger, "h", Numbers(20_000, 20_000), clock.now())
    ledger.close()
    queries = queries_of(name, home)
    assert len(queries) >= 15, queries
    with sqlite3.connect(home / "dmtools.db") as raw:
        plans = list(plans_on_sqlite(raw, queries))
    assert any(re.search(r"SEARCH transfer USING .*INDEX", step) for _, steps in plans for step in steps)
    scans = [(query, step) for query, steps in plans for step in steps if "SCAN" in step and re.search(GROWING, step)]
    assert scans == []
    assert [query for query, _ in plans if "journal" in query] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_on_mariadb(home: Path, mariadb: str, name: str) -> None:
    with (home / "dmtools.toml").open("a") as file:
        file.write(f'[database]\nurl = "{mariadb}"\n')
    ledger = open_ledger(load(home=home), check=False)
    schema.upgrade(ledger)
    fill(ledger, "h", Numbers(20_000, 20_000), clock.now())
    with ledger.engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE TABLE transfer, filelist, ftsjob, journal, flow, hold").all()
        plans = list(plans_on_mariadb(connection, queries_of(name, home)))
    ledger.close()
    assert len(plans) >= 15
    whole = [(query, table, kind) for query, table, kind, _ in plans if kind in ("ALL", "index") and re.search(GROWING, table)]
    assert whole == []


def test_a_scan_would_be_seen(home: Path) -> None:
    with sqlite3.connect(home / "dmtools.db") as raw:
        ((_, (step,)),) = plans_on_sqlite(raw, [("SELECT COUNT(*) FROM transfer WHERE size > ?", (1,))])
    assert "SCAN" in step
    assert re.search(GROWING, step)
