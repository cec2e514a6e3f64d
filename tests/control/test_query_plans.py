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
BY_KEY = re.compile(r"SEARCH \w+ USING .*\(.+[=<>].*\)")
COMMANDS = ["dm-train-ok", "dm-monitoring"]


def is_scan(step: str) -> bool:
    """Does it go through a whole table that grows, or through a whole index of it?"""
    return re.search(GROWING, step) is not None and not BY_KEY.match(step)


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
    assert [(query, step) for query, steps in plans for step in steps if is_scan(step)] == []
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
    assert is_scan(step)
    assert is_scan("SEARCH transfer USING COVERING INDEX transfer_state"), "a whole index, for a min() that it holds"
    assert not is_scan("SEARCH transfer USING COVERING INDEX transfer_state (pipeline=? AND state=?)")
    assert not is_scan("SCAN component")
