"""dm-monitoring: the figures are those of the tables, from indexes and tallies, never from the rows of history."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from dmtools import clock, names
from dmtools.control import display, figures, sightings
from dmtools.ledger import Ledger, journal, open_ledger, tables
from dmtools.ledger.journal import Move
from dmtools.migrate.states import STATES
from dmtools.settings import load
from tests.support import Result, command, environment, run


@pytest.fixture
def ledger(home: Path) -> Iterator[Ledger]:
    found = open_ledger(load(home=home))
    yield found
    found.close()


def put(ledger: Ledger, number: int, state: str, since: datetime, size: int = 1000) -> None:
    """A file in a state, booked as the passes book it."""
    row = {"pipeline": "migrate", "name": f"/{number}", "name_key": names.key(f"/{number}"), "state": state, "since": since}
    row |= {"source": "s", "destination": "d", "place_key": names.key(f"d{number}"), "size": size, "list_id": 1}

    def work(connection: Any) -> None:
        connection.execute(insert(tables.transfer).values(**row))
        moves = [Move(number, "", state, None, size)]
        journal.record(connection, STATES, moves, by="test", at=since)
        journal.count_moves(connection, "migrate", moves, since)

    ledger.transact(work)


def monitoring(home: Path) -> dict[str, Any]:
    found = run("dm-monitoring", "--json", home=home).ok().json
    assert found["schema"] == 1
    record: dict[str, Any] = found["pipelines"]["migrate"]
    return record


def test_a_new_home_is_all_zeroes(home: Path) -> None:
    record = monitoring(home)
    assert record["control"] == {"state": "run", "holds": []}
    assert record["counts"] == dict.fromkeys(("Listed", "TODO", "DOING", "Okay", "Bad", "Missing"), 0)
    assert record["bytes"] == record["counts"]
    assert (record["oldest"], record["eta"]) == ({}, None)
    assert record["rate"] == {"files_per_hour": 0, "bytes_per_hour": 0}
    assert record["components"]["monitor"]["last_start"] is None
    assert record["components"]["monitor"]["control"] == "run"


def test_counts_bytes_ages_rate_and_forecast(home: Path, ledger: Ledger) -> None:
    now = clock.now()
    for number in range(6):
        put(ledger, number, "Okay", now - timedelta(minutes=10), 2000)
    put(ledger, 6, "Okay", now - timedelta(hours=2), 7)
    put(ledger, 7, "DOING", now - timedelta(minutes=30))
    put(ledger, 8, "DOING", now - timedelta(minutes=20))
    put(ledger, 9, "Bad", now - timedelta(days=3), 0)
    record = monitoring(home)
    assert {state: n for state, n in record["counts"].items() if n} == {"Okay": 7, "DOING": 2, "Bad": 1}
    assert record["bytes"]["Okay"] == 12007
    assert record["oldest"]["DOING"] == pytest.approx(1800, abs=60)
    assert record["oldest"]["Bad"] == pytest.approx(3 * 86400, abs=60)
    assert record["oldest"]["Okay"] == pytest.approx(7200, abs=60)
    assert record["rate"] == {"files_per_hour": 6, "bytes_per_hour": 12000}
    left = (datetime.fromisoformat(record["eta"]) - clock.now()).total_seconds()
    assert 2 / 6 * 600 * 0.8 < left < 2 / 6 * 1200 * 1.2


@pytest.mark.parametrize(
    ("left", "left_bytes", "flow", "seconds"),
    [
        (0, 0, (0, 0, 3600.0), 0),
        (10, 0, (0, 0, 3600.0), None),
        (10, 0, (20, 0, 3600.0), 1800),
        (10, 1000, (20, 500, 3600.0), 7200),
        (10**9, 0, (1, 0, 3600.0), 86400 * 36500),
    ],
)
def test_forecasts(left: int, left_bytes: int, flow: tuple[int, int, float], seconds: float | None) -> None:
    at = clock.now()
    found = figures.forecast(left, left_bytes, flow, at)
    assert found == (None if seconds is None else at + timedelta(seconds=seconds))


def test_holds_and_heartbeats_are_shown(home: Path) -> None:
    run("dm-command", "halt", "migrate/consumer", "--reason", "why not", home=home).ok()
    run("migrate-monitor", home=home).ok()
    record = monitoring(home)
    assert record["control"]["state"] == "run"
    (hold,) = record["control"]["holds"]
    assert set(hold) == {"scope", "state", "by", "reason", "since", "until", "kind"}
    assert record["components"]["consumer"]["control"] == "halt"
    monitor = record["components"]["monitor"]
    assert monitor["last_start"] <= monitor["last_success"] <= clock.iso(clock.now())
    assert monitor["last_error"] is None


def test_servers_away_are_shown_with_since_when(home: Path, ledger: Ledger) -> None:
    sightings.servers(ledger, "migrate", [], {"fts1": "it does not run"}, {})
    first = monitoring(home)["seen"]
    assert [(one["name"], one["what"]) for one in first] == [("server/fts1", "it does not run")]
    sightings.servers(ledger, "migrate", [], {"fts1": "still not"}, {})
    (second,) = monitoring(home)["seen"]
    assert (second["since"], second["what"]) == (first[0]["since"], "still not")
    sightings.servers(ledger, "migrate", ["fts1"], {}, {})
    assert monitoring(home)["seen"] == []


def test_one_pipeline_and_the_near_name(home: Path) -> None:
    assert run("dm-monitoring", "MIGRATE", "--json", home=home).ok().json["pipelines"].keys() == {"migrate"}
    assert "did you mean 'migrate'?" in run("dm-monitoring", "migrat", home=home).gave(2).err
    with (home / "dmtools.toml").open("a") as file:
        file.write('pipelines.gone = "no_such_module.register"\n')
    assert "not installed here" in run("dm-monitoring", "gone", home=home).gave(2).err


def test_a_pipe_gets_one_fact_a_line(home: Path, ledger: Ledger) -> None:
    put(ledger, 1, "Bad", clock.now() - timedelta(hours=3), 1_500_000_000)
    lines = run("dm-monitoring", home=home).ok().out.splitlines()
    assert "migrate control run" in lines
    assert "migrate Bad 1 files 1.5 GB oldest 3 h" in lines
    assert "migrate eta nothing is open" in lines
    assert "migrate duplicates 0" in lines
    assert "\x1b" not in "".join(lines)


def on_a_terminal(home: Path, *words: str) -> str:
    """What a command shows on a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    env = environment(home, {"TERM": "xterm-256color", "COLUMNS": "100"})
    with subprocess.Popen(command(*words), env=env, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:
            pass  # the other end is closed
    os.close(ours)
    assert process.returncode == 0
    return shown.decode()


def test_a_terminal_gets_tables(home: Path, ledger: Ledger) -> None:
    put(ledger, 1, "Bad", clock.now() - timedelta(hours=3))
    run("dm-command", "halt", "--reason", "[red]not a colour[/red]", home=home).ok()
    shown = on_a_terminal(home, "dm-monitoring")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert "[red]not a colour[/red]" in plain
    assert re.search(r"Bad +1 +1 kB +- +3 h", plain)
    assert "Traceback" not in plain


def test_a_third_partys_pipeline_is_counted_like_ours(tiny: Callable[..., Result], home: Path, ledger: Ledger) -> None:
    tiny().ok()
    ledger.transact(lambda c: journal.add_tally(c, "tiny", {"Raw": (3, 30)}))
    record = tiny("tiny", "--json", name="dm-monitoring").ok().json["pipelines"]["tiny"]
    assert record["counts"] == {"Raw": 3, "Ready": 0}
    assert record["components"]["work"]["last_success"]
    assert json.dumps(record["components"]["rest"]["last_start"]) == "null"


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1_536_000, "1.54 MB"), (2e15, "2 PB"), (-5e6, "-5 MB")]
)
def test_sizes(count: float, shown: str) -> None:
    assert display.size(count) == shown
