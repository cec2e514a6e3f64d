"""A database as it is after years: many files, jobs and journal entries, made by the database itself in bulk."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, text

from dmtools import names
from dmtools.ledger import Ledger, journal, tables
from dmtools.ledger.leases import HOST

HISTORY = 365 * 86400  # seconds
A_LIST = 20  # files
# How many of each thousand files are in which state; their lists and jobs are in the state that goes with it.
SHARES = {"Okay": 980, "DOING": 4, "TODO": 4, "Bad": 10, "Missing": 2}
LIST_STATES = {"DOING": "DOING", "TODO": "TODO"}


@dataclass(frozen=True)
class Numbers:
    """So many rows of each kind."""

    items: int = 1_000_000
    entries: int = 5_000_000

    @property
    def lists(self) -> int:
        return self.items // A_LIST


def fill(ledger: Ledger, home: str, numbers: Numbers, at: datetime) -> None:
    """Files, their lists, jobs and journal over the year before `at`; tallies, rates and heartbeats as the passes book them."""
    with ledger.write() as connection:
        if ledger.sqlite:
            connection.connection.driver_connection.create_function("key_of", 1, names.key, deterministic=True)  # type: ignore[union-attr]
        _lists(connection, home, numbers, at)
        _files(connection, numbers, at)
        _jobs(connection, numbers, at)
        _journal(connection, numbers, at)
        _counts(connection, numbers, at)
        _heartbeats(connection, at)


class Sql:
    """The few words that the two dialects spell differently; `n` is the number of the row, from 1."""

    def __init__(self, connection: Connection) -> None:
        self.sqlite = connection.dialect.name == "sqlite"

    def rows(self, number: int) -> str:
        """FROM ...: the numbers from 1 on."""
        if not self.sqlite:
            return f"(SELECT seq AS n FROM seq_1_to_{number}) AS numbers"
        return f"(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {number}) SELECT n FROM c) AS numbers"

    def key(self, name: str) -> str:
        """The 32 bytes on which a name is unique."""
        return f"key_of({name})" if self.sqlite else f"UNHEX(SHA2({name}, 256))"

    def join(self, *parts: str) -> str:
        """Texts put together."""
        return " || ".join(parts) if self.sqlite else f"CONCAT({', '.join(parts)})"

    def padded(self, number: str, digits: int) -> str:
        """A number with leading noughts."""
        return f"printf('%0{digits}d', {number})" if self.sqlite else f"LPAD({number}, {digits}, '0')"

    def instant(self, seconds: str, at: datetime) -> str:
        """So long after the beginning of the history that ends at `at`."""
        start = f"{at - timedelta(seconds=HISTORY):%Y-%m-%d %H:%M:%S}"
        if self.sqlite:
            return f"strftime('%Y-%m-%d %H:%M:%S.000000', '{start}', '+' || CAST({seconds} AS INTEGER) || ' seconds')"
        return f"TIMESTAMPADD(SECOND, FLOOR({seconds}), '{start}')"

    def states(self, n: str, other: dict[str, str] | None = None) -> str:
        """The state of the file (or of what goes with it) by the number of its list, so that a list is of one state."""
        cases, most = [], 0
        for state, share in SHARES.items():
            most += share
            said = state if other is None else other.get(state, "done")
            cases.append(f"WHEN (({n} - 1) * 7919) % 1000 < {most} THEN '{said}'")
        return f"CASE {' '.join(cases)} END"


def _insert(connection: Connection, table: str, columns: dict[str, str], rows: str) -> None:
    quote = connection.dialect.identifier_preparer.quote
    named = ", ".join(quote(name) for name in columns)
    statement = f"INSERT INTO {table} ({named}) SELECT {', '.join(columns.values())} FROM {rows}"
    connection.exec_driver_sql(statement if connection.dialect.name == "sqlite" else statement.replace("%", "%%"))


def _lists(connection: Connection, home: str, numbers: Numbers, at: datetime) -> None:
    sql = Sql(connection)
    name = sql.join("'FTSList-20260101T000000.000000Z-bench-'", "n", "'.txt'")
    columns = {"id": "n", "pipeline": "'migrate'", "home": f"'{home}'", "name": name, "name_key": sql.key(name)}
    columns |= {"state": sql.states("n", LIST_STATES), "since": sql.instant(f"n * {HISTORY / numbers.lists}", at)}
    _insert(connection, "filelist", {**columns, "files": str(A_LIST), "planned": "1", "attempt": "1"}, sql.rows(numbers.lists))


def _files(connection: Connection, numbers: Numbers, at: datetime) -> None:
    sql = Sql(connection)
    whole = "DIV" if not sql.sqlite else "/"
    of_list = f"(((n - 1) {whole} {A_LIST}) + 1)"
    name = sql.join("'/lhcb/prod/MC/2016/ALLSTREAMS.DST/'", sql.padded("n", 8), "'.AllStreams.dst'")
    source, destination = sql.join("'root://castor.example.org/'", name), sql.join("'root://echo.example.org/'", name)
    columns = {"id": "n", "pipeline": "'migrate'", "name": name, "name_key": sql.key(name), "source": source}
    columns |= {"destination": destination, "place_key": sql.key(destination), "size": "1000000 + n"}
    columns |= {"state": sql.states(of_list), "checksum": "'adler32:0badcafe'"}
    columns |= {"since": sql.instant(f"n * {HISTORY / numbers.items}", at), "list_id": of_list, "job_id": of_list}
    columns |= {"failures": "0", "tries": "1", "overwrite": "0", "verified_by": "'size and adler32'"}
    _insert(connection, "transfer", columns, sql.rows(numbers.items))


def _jobs(connection: Connection, numbers: Numbers, at: datetime) -> None:
    sql = Sql(connection)
    since = sql.instant(f"n * {HISTORY / numbers.lists}", at)
    state = sql.states("n", {"DOING": "submitted"}).replace("'done'", "'closed'")
    columns = {"id": "n", "pipeline": "'migrate'", "list_id": "n", "attempt": "1", "server": "'fts1'"}
    columns |= {
        "sid": sql.join("'s'", "n"),
        "job": sql.join("'job-'", "n"),
        "vo": "'lhcb'",
        "state": state,
        "files": str(A_LIST),
        "bytes": "20000000",
    }
    columns |= {"fts_state": "'FINISHED'", "since": since, "submitted": since, "polled": since}
    _insert(connection, "ftsjob", columns, sql.rows(numbers.lists))


def _journal(connection: Connection, numbers: Numbers, at: datetime) -> None:
    """The same number of entries for each file, the last of them into its present state."""
    sql = Sql(connection)
    each = max(1, numbers.entries // numbers.items)
    whole = "DIV" if not sql.sqlite else "/"
    item = f"(((n - 1) {whole} {each}) + 1)"
    of_list = f"((({item} - 1) {whole} {A_LIST}) + 1)"
    last = f"(n % {each} = 0)" if each > 1 else "1 = 1"
    columns = {"id": "n", "at": sql.instant(f"n * {HISTORY / numbers.entries}", at), "pipeline": "'migrate'", "kind": "'file'"}
    columns |= {"item": item, "from_state": "'TODO'", "to_state": f"CASE WHEN {last} THEN {sql.states(of_list)} ELSE 'DOING' END"}
    columns |= {"by": "'migrate-monitor'", "why": "'size and adler32 agree'"}
    _insert(connection, "journal", columns, sql.rows(each * numbers.items))


def _counts(connection: Connection, numbers: Numbers, at: datetime) -> None:
    found = connection.execute(text("SELECT state, COUNT(*), SUM(size) FROM transfer GROUP BY state")).all()
    counted = {row[0]: (int(row[1]), int(row[2])) for row in found}
    for shard in range(16):
        rows = [{"pipeline": "migrate", "state": state, "shard": shard, "n": 0, "bytes": 0} for state in counted]
        connection.execute(insert(tables.tally), rows)
    journal.add_tally(connection, "migrate", counted)
    first = journal.bucket_of(at - timedelta(seconds=HISTORY))
    buckets = [first + timedelta(seconds=journal.BUCKET_SECONDS * n) for n in range(min(numbers.items // 10, 105_000))]
    buckets += [journal.bucket_of(at - timedelta(minutes=minutes)) for minutes in (5, 15, 25)]
    values: list[dict[str, Any]] = [
        {"pipeline": "migrate", "state": state, "bucket": bucket, "n": 10, "bytes": 10_000_000}
        for state in ("TODO", "DOING", "Okay")
        for bucket in dict.fromkeys(buckets)
    ]
    connection.execute(insert(tables.flow), values)


def _heartbeats(connection: Connection, at: datetime) -> None:
    rows = [
        {"pipeline": "migrate", "name": name, "host": HOST, "pid": 1, "last_start": at, "last_end": at, "last_success": at}
        for name in ("producer", "consumer", "monitor")
    ]
    connection.execute(insert(tables.component), [{**row, "state": "done", "errors_in_row": 0} for row in rows])
    held = [
        {"scope": "migrate", "state": "halt", "kind": "person", "by": "anna", "reason": "tape is being repaired"}
        | {"since": at - timedelta(days=n + 1), "cleared_at": at - timedelta(days=n), "cleared_by": "anna"}
        for n in range(1, 1001)
    ]
    connection.execute(insert(tables.hold), held)
