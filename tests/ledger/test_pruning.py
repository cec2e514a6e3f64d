"""dm-db prune: what is old goes, what is open stays whole; killed anywhere, while others work, at any size."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text

from dmtools import clock, names
from dmtools.ledger import Ledger, open_ledger, pruning, schema, tables
from dmtools.settings import load
from tests.control.million import Numbers, fill
from tests.support import command, environment, run, wait_until

KEEP = {"migrate": ("TODO", "DOING", "Bad", "Missing")}
NOW = clock.now().replace(microsecond=0)


def entry(item: int, state: str | None, days: float, **other: Any) -> dict[str, Any]:
    """A journal entry so many days ago."""
    row = {"pipeline": "migrate", "kind": "file", "item": item, "by": "me", "why": None, "from_state": None, "to_state": state}
    return {**row, "at": NOW - timedelta(days=days), **other}


def journal(ledger: Ledger, *rows: dict[str, Any]) -> None:
    with ledger.write() as connection:
        connection.execute(insert(tables.journal), list(rows))


def left(ledger: Ledger) -> list[tuple[str, int, str | None]]:
    column = tables.journal.c
    with ledger.read() as connection:
        rows = connection.execute(select(column.kind, column.item, column.to_state).order_by(column.id))
        return [(row.kind, row.item, row.to_state) for row in rows]


def test_what_is_old_and_done_goes_and_what_is_open_keeps_its_whole_history(ledger: Ledger) -> None:
    rows = [entry(1, "TODO", 90), entry(1, "DOING", 80), entry(1, "Okay", 70), entry(2, "TODO", 90), entry(2, "DOING", 1)]
    rows += [entry(3, "TODO", 90), entry(3, "Bad", 80), entry(4, "Okay", 90), entry(4, "TODO", 89), entry(4, "Okay", 1)]
    journal(ledger, *rows)
    before = NOW - timedelta(days=30)
    planned = pruning.prune(ledger, before, KEEP, chunk=2, dry_run=True)
    assert len(left(ledger)) == len(rows)
    done = pruning.prune(ledger, before, KEEP, chunk=2)
    assert (done.gone, done.open) == (planned.gone, planned.open) == ({"journal": 5, "flow": 0, "hold": 0}, 3)
    kept = [("file", 2, "TODO"), ("file", 2, "DOING"), ("file", 3, "TODO"), ("file", 3, "Bad"), ("file", 4, "Okay")]
    assert left(ledger) == kept
    with ledger.read() as connection:
        assert pruning.pruned_before(connection) == before
    assert pruning.prune(ledger, NOW - timedelta(days=60), KEEP).gone["journal"] == 0
    with ledger.read() as connection:
        assert pruning.pruned_before(connection) == before


def test_notes_of_a_list_go_when_the_list_is_done(ledger: Ledger) -> None:
    row = {"pipeline": "migrate", "home": "h", "since": NOW, "files": 1, "planned": 1, "attempt": 1}
    with ledger.write() as connection:
        for number, state in ((1, "done"), (2, "DOING")):
            name = {"id": number, "name": f"l{number}", "name_key": names.key(f"l{number}"), "state": state}
            connection.execute(insert(tables.filelist), {**row, **name})
    journal(ledger, *(entry(number, None, 90, kind="list", why="a lease was handed back") for number in (1, 2, 3)))
    assert pruning.prune(ledger, NOW - timedelta(days=30), KEEP).open == 1
    assert left(ledger) == [("list", 2, None)]


def test_the_entries_of_a_pipeline_that_is_not_here_stay(ledger: Ledger) -> None:
    journal(ledger, entry(1, "Okay", 90), entry(1, "Ready", 90, pipeline="tiny", kind="thing"))
    done = pruning.prune(ledger, NOW - timedelta(days=30), KEEP)
    assert (done.gone["journal"], done.strangers) == (1, {"tiny": 1})
    assert "their pipeline tiny is not installed here" in "\n".join(done.sentences(NOW, dry_run=False))


def test_entries_of_one_instant_are_each_looked_at_once(ledger: Ledger) -> None:
    journal(ledger, *(entry(number, "Okay" if number % 3 else "DOING", 90) for number in range(1, 100)))
    done = pruning.prune(ledger, NOW - timedelta(days=30), KEEP, chunk=7)
    assert (done.gone["journal"], done.open) == (66, 33)


def test_rates_and_ended_holds_go_and_those_in_force_stay(ledger: Ledger) -> None:
    old, new = NOW - timedelta(days=90), NOW - timedelta(days=1)
    hold = {"scope": "all", "state": "halt", "kind": "person", "by": "anna", "reason": "r", "since": old}
    with ledger.write() as connection:
        connection.execute(insert(tables.tally), {"pipeline": "migrate", "state": "Okay", "shard": 0, "n": 1, "bytes": 1})
        rates = [{"pipeline": "migrate", "state": "Okay", "bucket": at, "n": 1, "bytes": 1} for at in (old, new)]
        connection.execute(insert(tables.flow), rates)
        connection.execute(insert(tables.hold), [{**hold, "cleared_at": at} for at in (None, old, new)])
    before = NOW - timedelta(days=30)
    assert pruning.prune(ledger, before, KEEP, dry_run=True).gone == {"journal": 0, "flow": 1, "hold": 1}
    assert pruning.prune(ledger, before, KEEP).gone == {"journal": 0, "flow": 1, "hold": 1}
    with ledger.read() as connection:
        assert connection.execute(select(func.count()).select_from(tables.hold)).scalar_one() == 2


# ---- at size -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def large(home: Path) -> Iterator[Ledger]:
    """20,000 files with 100,000 journal entries of a year, in a HOME."""
    found = open_ledger(load(home=home))
    fill(found, "h", Numbers(20_000, 100_000), NOW)
    yield found
    found.close()


def open_and_old(home: Path) -> tuple[int, int]:
    """(entries of files that are open, entries of the others that are older than 90 days), by plain SQL."""
    query = "SELECT SUM(t.state <> 'Okay'), SUM(t.state = 'Okay' AND j.at < ?) FROM journal j JOIN transfer t ON t.id = j.item"
    with sqlite3.connect(home / "dmtools.db") as raw:
        row = raw.execute(query, (f"{NOW - timedelta(days=90):%Y-%m-%d %H:%M:%S}",)).fetchone()
    return int(row[0] or 0), int(row[1] or 0)


def test_killed_again_and_again_it_harms_nothing_and_the_next_ends_it(large: Ledger, home: Path) -> None:
    whole, old = open_and_old(home)
    assert (whole, old > 70_000) == (2_000, True)
    seen = [old]
    while seen[-1]:
        with subprocess.Popen(command("dm-db", "prune", "--older-than", "90d"), env=environment(home)) as process:
            wait_until(lambda: process.poll() is not None or open_and_old(home)[1] < seen[-1], 60, "it prunes")
            process.send_signal(signal.SIGKILL)
        seen.append(open_and_old(home)[1])
        assert open_and_old(home)[0] == whole
        assert len(seen) < 40
    assert len(seen) > 2, "it was killed in the middle"
    with sqlite3.connect(home / "dmtools.db") as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert run("dm-db", "prune", "--json", home=home).ok().json["deleted"]["journal"] == 0


def test_others_write_while_it_works(large: Ledger, home: Path) -> None:
    with subprocess.Popen(command("dm-db", "prune", "--older-than", "1d"), env=environment(home)) as process:
        written = 0
        while process.poll() is None:
            with large.write() as connection:
                connection.execute(insert(tables.journal), entry(10**6 + written, "DOING", 0))
            written += 1
        assert process.returncode == 0
    assert written > 5
    assert len([row for row in left(large) if row[1] >= 10**6]) == written


def test_the_trace_of_a_pruned_file_says_so(large: Ledger, home: Path) -> None:
    def trace(state: str) -> Any:
        with large.read() as connection:
            name = connection.execute(text(f"SELECT name FROM transfer WHERE state = '{state}' ORDER BY id LIMIT 1")).scalar_one()
        return run("dm-trace", name, "--json", home=home).ok().json

    assert [one["to"] for one in trace("Okay")["history"]] == ["DOING"] * 4 + ["Okay"]
    assert run("dm-db", "prune", "--json", home=home).ok().json["kept"]["open"] > 1_000
    (note,) = trace("Okay")["history"]
    assert (note["by"], note["from"], note["to"]) == ("dm-db prune", None, None)
    assert "was pruned" in note["why"]
    assert datetime.fromisoformat(note["at"]) < NOW - timedelta(days=89)
    assert len([one for one in trace("DOING")["history"] if one["to"]]) == 5


def test_on_mariadb_at_size(mariadb: str, home: Path) -> None:
    with (home / "dmtools.toml").open("a") as file:
        file.write(f'[database]\nurl = "{mariadb}"\n')
    ledger = open_ledger(load(home=home), check=False)
    schema.upgrade(ledger)
    fill(ledger, "h", Numbers(20_000, 100_000), NOW)
    with subprocess.Popen(command("dm-db", "prune"), env=environment(home)) as process:
        wait_until(lambda: process.poll() is not None or len(left(ledger)) < 100_000, 60, "it prunes")
        process.send_signal(signal.SIGKILL)
    done = run("dm-db", "prune", "--json", home=home).ok().json
    assert done["deleted"]["journal"] > 1_000
    assert run("dm-db", "prune", "--json", home=home).ok().json["deleted"]["journal"] == 0
    query = "SELECT SUM(t.state <> 'Okay'), SUM(t.state = 'Okay' AND j.at < :old) FROM journal j JOIN transfer t ON t.id = j.item"
    with ledger.read() as connection:
        row = connection.execute(text(query), {"old": (NOW - timedelta(days=90)).replace(tzinfo=None)}).one()
    ledger.close()
    assert (int(row[0]), int(row[1])) == (2_000, 0)
