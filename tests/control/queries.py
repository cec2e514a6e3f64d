"""Every query that a command issues, as its database is asked, and the plans that the databases make of them."""

from __future__ import annotations

import pickle
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from tests.support import ROOT, environment

# The command itself, with an ear on SQLAlchemy; it ends by os._exit, so each query is written down at once.
LISTEN = """
import pickle, runpy, sys
from sqlalchemy import Engine, event
place, sys.argv = open(sys.argv[1], "ab", buffering=0), sys.argv[2:]
event.listen(Engine, "before_cursor_execute", lambda c, k, text, values, x, m: place.write(pickle.dumps((text, values))))
runpy.run_path(sys.argv[0], run_name="__main__")
"""
Query = tuple[str, Any]


def queries_of(name: str, home: Path, *words: str) -> list[Query]:
    """(SQL, its values) of each SELECT of a command of bin/."""
    found: list[Query] = []
    with tempfile.NamedTemporaryFile() as file:
        argv = [sys.executable, "-c", LISTEN, file.name, str(ROOT / "bin" / name), *words]
        subprocess.run(argv, env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        while file.peek(1):
            found.append(pickle.load(file))
    return [query for query in found if query[0].lstrip("(").startswith(("SELECT", "WITH"))]


def plans_on_sqlite(raw: sqlite3.Connection, queries: Iterable[Query]) -> Iterator[tuple[str, list[str]]]:
    """(query, steps of its plan)."""
    for text, values in queries:
        yield text, [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {text}", values)]


def plans_on_mariadb(connection: Connection, queries: Iterable[Query]) -> Iterator[tuple[str, str, str, str]]:
    """(query, table, how it is read, by which index) of each table of each query."""
    for text, values in queries:
        for row in connection.exec_driver_sql(f"EXPLAIN {text}", values).mappings():
            yield text, str(row["table"] or ""), str(row["type"] or ""), str(row["key"] or "")
