"""One row a component: when its last pass began and ended, and how."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, update

from dmtools.command.report import Report
from dmtools.ledger import tables
from dmtools.ledger.leases import HOST


def begin(connection: Connection, report: Report, at: datetime) -> None:
    """The pass runs."""
    values = {"pass_id": report.pass_id, "host": HOST, "pid": os.getpid(), "last_start": at, "state": "running"}
    _put(connection, report, values)


def end(connection: Connection, report: Report, at: datetime) -> None:
    """The pass ended; `last_success` moves only when it was able to do its work."""
    values: dict[str, Any] = {"last_end": at, "state": report.state}
    if report.state in ("unavailable", "failed"):
        values |= {"last_error": at, "error_text": report.errors[0].sentence() if report.errors else report.state}
        values["errors_in_row"] = tables.component.c.errors_in_row + 1
    else:
        values["errors_in_row"] = 0
        if report.state != "halted":
            values["last_success"] = at
        if report.errors:
            values |= {"last_error": at, "error_text": report.errors[0].sentence()}
    _put(connection, report, values)


def _put(connection: Connection, report: Report, values: dict[str, Any]) -> None:
    table = tables.component
    keys = {"pipeline": report.pipeline, "name": report.component}
    statement = update(table).where(table.c.pipeline == report.pipeline, table.c.name == report.component)
    if not connection.execute(statement.values(values)).rowcount:
        first = {**keys, **values, "errors_in_row": int("error_text" in values and "last_success" not in values)}
        connection.execute(insert(table).values(first))
