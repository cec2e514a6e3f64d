"""Changes of state: compare-and-set, journal, counts and rates, all or nothing, on sqlite and on MariaDB."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select

from dmtools import clock, names
from dmtools.ledger import Ledger, Stale, journal, tables
from dmtools.ledger.journal import IllegalMove, Move, State, States
from tests.support import ROOT

STATES = States(
    "test",
    "file",
    (State("New", "just made", "t", ("Going",)), State("Going", "under way", "t", ("New", "Done")), State("Done", "over", "t")),
)


def make(ledger: Ledger, name: str, state: str = "New", size: int | None = 5) -> int:
    row = {
        "pipeline": "test",
        "name": name,
        "name_key": names.key(name),
        "source": f"file://{name}",
        "destination": f"root://h/{name}",
    }
    row |= {"place_key": names.key(f"root://h/{name}"), "state": state, "since": clock.now(), "list_id": 1, "size": size}
    with ledger.write() as connection:
        done = connection.execute(insert(tables.transfer).values(**row))
        journal.add_tally(connection, "test", {state: (1, size or 0)})
    assert done.inserted_primary_key is not None
    return int(done.inserted_primary_key[0])


def advance(ledger: Ledger, *moves: Move, at: datetime | None = None) -> None:
    ledger.transact(lambda c: journal.advance(c, tables.transfer, STATES, moves, by="me", at=at or clock.now()))


def state_of(ledger: Ledger, item: int) -> str:
    with ledger.read() as connection:
        return str(connection.execute(select(tables.transfer.c.state).where(tables.transfer.c.id == item)).scalar_one())


def tally(ledger: Ledger) -> dict[str, tuple[int, int]]:
    column = tables.tally.c
    with ledger.read() as connection:
        query = select(column.state, func.sum(column.n), func.sum(column.bytes)).group_by(column.state)
        return {row[0]: (int(row[1]), int(row[2])) for row in connection.execute(query)}


def entries(ledger: Ledger, item: int) -> list[tuple[str | None, str | None, str | None]]:
    column = tables.journal.c
    with ledger.read() as connection:
        query = select(column.from_state, column.to_state, column.why).where(column.kind == "file", column.item == item)
        return [tuple(row) for row in connection.execute(query.order_by(column.id))]


def test_a_move_writes_state_journal_counts_and_rate_together(ledger: Ledger) -> None:
    item = make(ledger, "/a", size=5)
    at = clock.now()
    advance(ledger, Move(item, "New", "Going", "because", 7, size_before=5, values=(("size", 7), ("reason", "ü"))), at=at)
    with ledger.read() as connection:
        row = connection.execute(select(tables.transfer).where(tables.transfer.c.id == item)).one()
        flow = connection.execute(select(tables.flow)).one()
    assert (row.state, row.size, row.reason, row.since) == ("Going", 7, "ü", at)
    assert entries(ledger, item) == [("New", "Going", "because")]
    assert tally(ledger) == {"New": (0, 0), "Going": (1, 7)}
    assert (flow.state, flow.n, flow.bytes, flow.bucket) == ("Going", 1, 7, journal.bucket_of(at))


def test_one_stale_move_undoes_all(ledger: Ledger) -> None:
    first, second = make(ledger, "/a"), make(ledger, "/b")
    advance(ledger, Move(second, "New", "Going", size=5))
    with pytest.raises(Stale):
        advance(ledger, Move(first, "New", "Going", size=5), Move(second, "New", "Going", size=5))
    assert state_of(ledger, first) == "New"
    assert entries(ledger, first) == []
    assert tally(ledger) == {"New": (1, 5), "Going": (1, 5)}


def test_two_that_read_the_same_only_one_writes(ledger: Ledger, opened: Callable[..., Ledger]) -> None:
    item, other = make(ledger, "/a"), opened()
    advance(ledger, Move(item, "New", "Going"))
    with pytest.raises(Stale):
        advance(other, Move(item, "New", "Going"))
    assert len(entries(ledger, item)) == 1


def test_a_move_that_the_table_of_states_lacks_is_refused_before_anything_is_written(ledger: Ledger) -> None:
    first, second = make(ledger, "/a"), make(ledger, "/b")
    with pytest.raises(IllegalMove, match="New -> Done"):
        advance(ledger, Move(first, "New", "Going"), Move(second, "New", "Done"))
    assert state_of(ledger, first) == "New"


def test_many_moves_in_one_transaction_are_counted_row_by_row(ledger: Ledger) -> None:
    items = [make(ledger, f"/{n}") for n in range(50)]
    advance(
        ledger, *(Move(item, "New", "Going", size=5, values=(("tries", n),) if n % 2 else ()) for n, item in enumerate(items))
    )
    assert tally(ledger) == {"New": (0, 0), "Going": (50, 250)}
    assert {state_of(ledger, item) for item in items} == {"Going"}


def test_uncounted_states_leave_the_tally_alone(ledger: Ledger) -> None:
    item = make(ledger, "/a")
    quiet = States("test", "list", STATES.states, counted=False)
    ledger.transact(lambda c: journal.advance(c, tables.transfer, quiet, [Move(item, "New", "Going")], by="me", at=clock.now()))
    assert tally(ledger) == {"New": (1, 5)}


def test_a_note_changes_no_state(ledger: Ledger) -> None:
    item = make(ledger, "/a")
    ledger.transact(lambda c: journal.note(c, "test", "file", item, by="me", at=clock.now(), why="seen"))
    assert entries(ledger, item) == [(None, None, "seen")]
    assert state_of(ledger, item) == "New"


@pytest.mark.parametrize("at", ["2026-11-24T12:04:59.999999+00:00", "2026-11-24T12:00:00+00:00", "2026-11-24T13:02:03+01:00"])
def test_buckets_are_five_minutes_of_utc(at: str) -> None:
    assert journal.bucket_of(datetime.fromisoformat(at)) == datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


NAMES = ["/a", "/A", "/a%20", "/a%20b", "/%C3%BC", "/u%CC%88", "/%FF%FE", "/a" + "x" * 5000, "/a" + "x" * 4999 + "y"]


def test_names_that_differ_in_case_blanks_or_bytes_stay_apart(ledger: Ledger) -> None:
    ids = {name: make(ledger, name) for name in NAMES}
    column = tables.transfer.c
    with ledger.read() as connection:
        for name, item in ids.items():
            assert connection.execute(select(column.id).where(column.name_key == names.key(name))).scalars().all() == [item]
            assert connection.execute(select(column.id).where(column.name == name)).scalars().all() == [item]
            assert connection.execute(select(column.name).where(column.id == item)).scalar() == name


@pytest.mark.parametrize(("one", "other"), [("word", "Word"), ("word", "word "), ("w\u00fcrd", "wurd"), ("\u00e5", "a\u030a")])
def test_words_are_compared_byte_by_byte(ledger: Ledger, one: str, other: str) -> None:
    with ledger.write() as connection:
        for word in (one, other):
            values = {"resource": word.encode().hex(), "owner": word, "host": word, "machine": "m", "pid": 1, "started": 1}
            connection.execute(insert(tables.lease).values(**values, since=clock.now(), expires=clock.now()))
    with ledger.read() as connection:
        found = connection.execute(select(func.count()).where(tables.lease.c.owner == one)).scalar()
    assert found == 1


@pytest.mark.parametrize(
    "text", ["plain", "ü € 😀", "caf\udce9 of a file name", "line\nbreak\ttab", "'); DROP TABLE journal; --", ""]
)
def test_any_text_can_be_a_reason(ledger: Ledger, text: str) -> None:
    item = make(ledger, "/a")
    ledger.transact(lambda c: journal.note(c, "test", "file", item, by="jürgen@hôst", at=clock.now(), why=text))
    assert entries(ledger, item) == [(None, None, text.replace("\udce9", "\\udce9"))]


def test_instants_keep_their_microseconds_and_come_back_in_utc(ledger: Ledger) -> None:
    at = datetime(2026, 10, 25, 2, 30, 0, 123457, tzinfo=UTC).astimezone()
    item = make(ledger, "/a")
    advance(ledger, Move(item, "New", "Going"), at=at)
    with ledger.read() as connection:
        found = connection.execute(select(tables.transfer.c.since).where(tables.transfer.c.id == item)).scalar_one()
    assert found == at
    assert found.utcoffset() == timedelta(0)


COUNTER = """
import sys
from pathlib import Path
from tests.ledger.conftest import settings_for
from dmtools import clock
from dmtools.ledger import journal, open_ledger
from dmtools.ledger.journal import Move
ledger = open_ledger(settings_for(sys.argv[1], Path(sys.argv[2])))
for _ in range(20):
    moves = [Move(1, "", "New", size=3), Move(1, "New", "Going", size=3)]
    ledger.transact(lambda c: journal.count_moves(c, "test", moves, clock.now()))
"""


def test_counts_of_many_processes_add_up(ledger: Ledger, url: str, tmp_path: object) -> None:
    argv = [sys.executable, "-c", COUNTER, url, str(tmp_path)]
    running = [subprocess.Popen(argv, cwd=ROOT) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0, 0, 0, 0]
    assert tally(ledger) == {"Going": (80, 240)}
    with ledger.read() as connection:
        came = dict(
            connection.execute(select(tables.flow.c.state, func.sum(tables.flow.c.n)).group_by(tables.flow.c.state)).all()
        )
    assert {state: int(n) for state, n in came.items()} == {"New": 80, "Going": 80}
