"""Writes whose result nobody waits for: on MariaDB they go with the COMMIT, in one packet. And what is asked very often.

Each question to the server costs a transaction as much as the work it asks for, and a row that all writers share is kept
from them for one question less. Whatever else the transaction asks comes after them all the same: they are sent before it.
An error of one ends the packet, and so the transaction: the COMMIT stands at its end.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Select, event, exc
from sqlalchemy.sql.dml import UpdateBase

FEW = 8  # more rows go by themselves, at once
_LIST = re.compile(r"\(__\[POSTCOMPILE_(\w+)\]\)")  # the driver writes (1, 2) for a tuple by itself
_KEY = "late"  # in what the pool keeps with a connection: (text, values) of each
Put = Callable[[Any], Any]


def execute(connection: Connection, statement: UpdateBase, rows: Sequence[dict[str, Any]]) -> None:
    """Executes the statement for each row, now or later in this transaction; how many it met is not told.

    `statement` is one that is made once and kept; each row has the same keys. Lists are numbers, and not empty.
    """
    if connection.dialect.name == "sqlite" or len(rows) > FEW:
        connection.execute(statement, list(rows))
        return
    text, puts, fixed = _compiled(statement, connection.engine, tuple(rows[0]))
    waiting = connection.connection.info.setdefault(_KEY, [])
    waiting += [(text, {**fixed, **{name: put(row[name]) for name, put in puts}}) for row in rows]


def rows(connection: Connection, statement: Select[Any], values: dict[str, Any]) -> list[Any]:
    """The rows of a question that is made once and kept, its columns as the driver has them. Lists are numbers, and not empty.

    MariaDB's driver is asked itself: SQLAlchemy's way to it costs as much again as the question.
    """
    if connection.dialect.name == "sqlite":
        return list(connection.execute(statement, values))
    _send(connection)
    text, puts, fixed = _compiled(statement, connection.engine, tuple(values))
    raw: Any = connection.connection
    driver: Any = connection.dialect.loaded_dbapi
    try:
        with raw.cursor() as cursor:
            cursor.execute(text, {**fixed, **{name: put(values[name]) for name, put in puts}})
            return list(cursor.fetchall())
    except driver.Error as problem:
        if connection.dialect.is_disconnect(problem, raw, None):
            connection.invalidate(problem)
        told = exc.DBAPIError.instance(text, None, problem, driver.Error, dialect=connection.dialect)
        assert isinstance(told, BaseException)
        raise told from problem


@functools.lru_cache(maxsize=500)
def _compiled(
    statement: UpdateBase | Select[Any], engine: Engine, names: tuple[str, ...]
) -> tuple[str, tuple[tuple[str, Put], ...], dict[str, Any]]:
    """Its text, how the value of each parameter is put, and the values that stand in itself."""
    found, dialect = statement.compile(engine, column_keys=list(names)), engine.dialect
    puts: dict[str, Put] = {}
    for name, bound in found.binds.items():
        puts[name] = tuple if bound.expanding else bound.type.dialect_impl(dialect).bind_processor(dialect) or _same
    fixed = {name: put(found.binds[name].value) for name, put in puts.items() if name not in names}
    return _LIST.sub(r"%(\1)s", str(found)), tuple((name, put) for name, put in puts.items() if name in names), fixed


def _same(value: Any) -> Any:
    return value


def listen(engine: Engine) -> None:
    """Has an engine of MariaDB send what is late; its connections must take several statements in a packet."""
    dialect: Any = engine.dialect
    commit = dialect.do_commit

    def commit_all(raw: Any) -> None:
        waiting = raw.info.pop(_KEY, None)
        if not waiting:
            commit(raw)
            return
        with raw.cursor() as cursor:
            cursor.execute(";".join([*(cursor.mogrify(text, values) for text, values in waiting), "COMMIT"]))
            while cursor.nextset():  # each result is read, and an error raised
                pass

    dialect.do_commit = commit_all

    @event.listens_for(engine, "rollback")
    def drop_all(connection: Connection) -> None:
        if not connection.invalidated:  # what is lost with its connection is lost; to ask would open a new one
            connection.connection.info.pop(_KEY, None)

    @event.listens_for(engine, "before_cursor_execute")
    def send_first(connection: Connection, *_: Any) -> None:
        _send(connection)


def _send(connection: Connection) -> None:
    for text, values in connection.connection.info.pop(_KEY, ()):
        connection.exec_driver_sql(text, values)
