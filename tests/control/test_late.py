"""A component is late by its own cadence: what dm-trace and the stuck lists call late is what dm-train-ok alarms at."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from dmtools import clock, pipelines
from dmtools.control import hindrances
from dmtools.control.cadence import patience
from dmtools.control.entry import Question
from dmtools.ledger import Ledger, open_ledger, tables
from dmtools.settings import load

NIGHTLY, OFTEN = "25 3 * * *", "*/5 * * * *"


@pytest.fixture
def ledger(home: Path) -> Iterator[Ledger]:
    found = open_ledger(load(home=home))
    yield found
    found.close()


def said(ledger: Ledger, home: Path, component: str, cron: str, hours: float) -> list[str]:
    row: dict[str, Any] = {"pipeline": "migrate", "name": component, "host": "far", "pid": 1, "errors_in_row": 0}
    when = clock.now() - timedelta(hours=hours)
    row |= {"last_start": when, "last_success": when, "state": "done"}
    with ledger.write() as connection:
        connection.execute(tables.component.delete())
        connection.execute(insert(tables.component).values(row))
    with ledger.read() as connection:
        found = hindrances.of_component(connection, load(home=home), clock.now(), "migrate", component, cron)
        return [one.said for one in found]


def test_a_nightly_component_is_not_late_in_the_afternoon(home: Path, ledger: Ledger) -> None:
    assert said(ledger, home, "audit", NIGHTLY, 20) == []
    assert said(ledger, home, "audit", NIGHTLY, 49) == ["the last success of migrate-audit was 2 d 1 h ago"]
    assert said(ledger, home, "audit", OFTEN, 5) == ["the last success of migrate-audit was 5 h ago"]
    assert said(ledger, home, "audit", "", 3) == []


def test_what_is_asked_of_a_pipeline_knows_its_times(home: Path, ledger: Ledger) -> None:
    with ledger.read() as connection:
        question = Question("x", load(home=home), connection, clock.now())
        assert question.cron_of("monitor") == ""
        entry = pipelines.load("migrate", question.settings)
        assert list(entry.ask("near", question)) == []
    assert (entry.cron_of("monitor"), entry.cron_of("triage"), entry.cron_of("nobody")) == ("30 */2 * * *", "", "")
    assert (patience(OFTEN), patience("0 */2 * * *"), patience(NIGHTLY), patience("x")) == (1, 1, 12, 1)
