"""One row a component: when its last pass began and ended, and how."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from dmtools.command.report import Report
from dmtools.ledger import tables, upsert
from dmtools.ledger.leases import HOST


def begin(connection: Connection, report: Report, at: datetime) -> None:
    """The pass runs."""
    values = {"pass_id": report.pass_id, "host": HOST, "pid": os.getpid(), "last_start": at, "state": "running"}
    _put(connection, report, values, {"errors_in_row": 0})


def end(connection: Connection, report: Report, at: datetime) -> None:
    """The pass ended; `last_success` moves only when it was able to do its work, to the end."""
    values: dict[str, Any] = {"last_end": at, "state": report.state}
    first: dict[str, Any] = {}
    if report.errors:
        values |= {"last_error": at, "error_text": report.errors[0].sentence(f"{report.pipeline}-{report.component}")}
    if failed(report):
        values |= {"last_error": at, "errors_in_row": tables.component.c.errors_in_row + 1}
        first = {"errors_in_row": 1}
    elif worked(report):
        values |= {"last_success": at, "errors_in_row": 0}
    _put(connection, report, values, {"errors_in_row": 0, **first})


def failed(report: Report) -> bool:
    """Was the pass unable to do its work? Items that failed are no failure of the pass."""
    return report.state in ("unavailable", "failed")


def worked(report: Report) -> bool:
    """Could it do its work, to the end? Neither, for a pass that was halted or stopped."""
    return not failed(report) and report.state != "halted" and not report.stopped


def _put(connection: Connection, report: Report, values: dict[str, Any], first: dict[str, Any]) -> None:
    upsert.put(connection, tables.component, {"pipeline": report.pipeline, "name": report.component}, values, first)
